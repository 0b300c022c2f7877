"""A message as the node's state wants to see it, and the one command that a host may send."""

from __future__ import annotations

import zlib
from typing import Any, Final

from adapters.mqtt.channel import Message
from adapters.mqtt.sparkplug.model import Known, Packet
from adapters.mqtt.sparkplug.payload import opened
from adapters.mqtt.sparkplug.properties import unit_of
from adapters.mqtt.sparkplug.reading import LATEST_MS
from adapters.mqtt.sparkplug.schema import Metric, Payload

REBIRTH: Final = "Node Control/Rebirth"


def packet_of(kind: str, device: str, message: Message, stamp: int) -> Packet | str:
    """What the bytes say, or why they say nothing."""
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
        origin=(message, stamp, message.topic.decode("utf-8", "backslashreplace")),
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
