"""A message as the node's state wants to see it, and the one command that a host may send."""

from __future__ import annotations

import zlib
from typing import Any, Final

from adapters.mqtt.channel import Message
from adapters.mqtt.sparkplug.layouts import Skim
from adapters.mqtt.sparkplug.model import Known, Packet
from adapters.mqtt.sparkplug.payload import opened
from adapters.mqtt.sparkplug.properties import unit_of
from adapters.mqtt.sparkplug.schema import Metric, Payload

REBIRTH: Final = "Node Control/Rebirth"
LATEST_MS: Final = (2**63 - 1) // 10**6


def packet_of(kind: str, device: str, message: Message, stamp: int, said: Skim | None = None) -> Packet | str:
    """What the bytes say, or why they say nothing. said: what was skimmed of them already."""
    if said is not None:
        return Packet(kind, device, None, said.seq, said.time, zlib.crc32(message.payload), message.retain,
                      size=len(message.payload), origin=_origin(message, stamp), said=said)  # fmt: skip
    payload = opened(message.payload)
    if isinstance(payload, str):
        return payload
    seq = payload.seq if payload.HasField("seq") and payload.seq < 256 else None
    packet = Packet(
        kind=kind,
        device=device,
        payload=payload,
        seq=seq,
        time=payload.timestamp if payload.timestamp < LATEST_MS else 0,
        check=zlib.crc32(message.payload),
        retain=message.retain,
        size=len(message.payload),
        origin=_origin(message, stamp),
    )
    if kind.endswith("BIRTH"):
        packet.metrics = [
            Known(metric.name, metric.alias if metric.HasField("alias") else None, metric.datatype,
                  unit_of(metric.properties) if metric.properties else "")
            for metric in payload.metrics
            if metric.name and isinstance(metric.name, str)
        ]  # fmt: skip
    if kind in ("NBIRTH", "NDEATH"):
        packet.bd_seq = _bd_seq(payload)
    return packet


def _origin(message: Message, stamp: int) -> tuple[Message, int, str]:
    return message, stamp, message.topic.decode("utf-8", "backslashreplace")


def metrics_of(packet: Packet) -> Any:
    """Of the schema; what was skimmed is parsed now, and can be."""
    if packet.payload is None:
        packet.payload = opened(packet.origin[0].payload)
    return packet.payload.metrics


def _bd_seq(payload: Any) -> int | None:
    for metric in payload.metrics:
        if metric.name == "bdSeq":
            field = metric.WhichOneof("value")
            return getattr(metric, field) if field in ("int_value", "long_value") else None
    return None


def rebirth(at: int) -> bytes:
    """6.4.21: the command by its name, a Boolean that is true."""
    ms = at // 1_000_000
    metric = Metric(name=REBIRTH, timestamp=ms, datatype=11, boolean_value=True)
    raw: bytes = Payload(timestamp=ms, metrics=[metric]).SerializeToString()
    return raw
