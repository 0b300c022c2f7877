"""What a checkpoint keeps of a node: its births, because nobody repeats them; where its sequence stands; what waits for an earlier message.

The births change seldom and are the bulk: they are encoded once and embedded as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from adapters.mqtt.channel import Message
from adapters.mqtt.sparkplug.model import Entity, Known, Packet
from adapters.mqtt.sparkplug.node import Node
from adapters.mqtt.sparkplug.recent import salt

NO_BIRTHS = msgspec.msgpack.encode([])
Reopen = Callable[[str, Message, int], Packet | None]


class _Entity(msgspec.Struct, array_like=True):
    device: str
    alive: bool
    dead: bool
    born_at: int
    metrics: list[tuple[str, int | None, int, str]]


class _Node(msgspec.Struct, array_like=True):
    key: tuple[str, str]
    bd_seq: int | None
    expected: int | None
    dead: bool
    doubts: list[tuple[str, int]]
    recent: list[tuple[str, int]]
    waiting: list[tuple[bytes, bytes, int, int, bool, int, int]]
    births: msgspec.Raw
    former: int | None = None
    aside: tuple[int, int, int] = (0, 0, 0)
    said_at: int = 0
    far: tuple[int, int, int] = (0, 0, 0)
    marks: bytes = b""  # in place of `recent`, which versions before had


def dump_node(key: tuple[str, str], node: Node, births: bytes) -> bytes:
    """births: of `births_of`, or NO_BIRTHS."""
    waiting = [_waiting(packet) for packet in node.held]
    doubts = [(entity.device, entity.doubt) for entity in node.entities.values() if entity.doubt]
    stored = _Node(
        key, node.bd_seq, node.expected, node.dead, doubts, [], waiting, msgspec.Raw(births), node.former, node.aside.held, node.said_at, node.aside.far, node.recent.dump()
    )  # fmt: skip
    return msgspec.msgpack.encode(stored)


def _waiting(packet: Packet) -> Any:
    message, stamp, _ = packet.origin
    return message.topic, message.payload, message.mid, message.qos, message.dup, message.at, stamp


def births_of(node: Node) -> bytes:
    return msgspec.msgpack.encode(
        [
            _Entity(each.device, each.alive, each.dead, each.born_at, _metrics(each))
            for each in node.entities.values()
            if each.alive or each.dead or each.by_name or each.born_at
        ]
    )


def _metrics(entity: Entity) -> list[tuple[str, int | None, int, str]]:
    """With the doubles of an alias: a birth that is read again must find them again."""
    return [(known.name, known.alias, known.datatype, known.unit) for known in entity.by_name.values()]


def load_nodes(blob: bytes) -> Iterator[tuple[tuple[str, str], Callable[[Node, float, Reopen], None]]]:
    """Each node of a checkpoint and what fills it; what cannot be read is as if it had never been seen."""
    place = 0
    while place + 4 <= len(blob):
        size = int.from_bytes(blob[place : place + 4], "big")
        try:
            stored = msgspec.msgpack.decode(blob[place + 4 : place + 4 + size], type=_Node)
            entities = msgspec.msgpack.decode(bytes(stored.births), type=list[_Entity])
        except msgspec.MsgspecError:
            return
        yield stored.key, _filler(stored, entities)
        place += 4 + size


def _filler(stored: _Node, entities: list[_Entity]) -> Callable[[Node, float, Reopen], None]:
    def fill(node: Node, now: float, reopen: Reopen) -> None:
        node.bd_seq, node.expected, node.dead = stored.bd_seq, stored.expected, stored.dead
        node.former, node.aside.held, node.said_at = stored.former, stored.aside, stored.said_at
        node.aside.far = stored.far
        for what, check in stored.recent:
            node.recent.add(check ^ salt(what, ""))
        node.recent.load(stored.marks)
        for each in entities:
            _fill(node, each)
        for device, doubt in stored.doubts:
            entity = node.entity(device)
            if entity is not None:
                entity.doubt = doubt
        node.held = [
            packet for each in stored.waiting if (packet := _reopened(each, now, reopen)) is not None
        ]

    return fill


def _fill(node: Node, stored: _Entity) -> None:
    entity = node.entity(stored.device)
    if entity is not None:
        entity.bear([Known(*metric) for metric in stored.metrics])
        entity.alive, entity.dead, entity.born_at = stored.alive, stored.dead, stored.born_at


def _reopened(stored: Any, now: float, reopen: Reopen) -> Packet | None:
    topic, payload, mid, qos, dup, at, stamp = stored
    message = Message(topic, payload, mid, qos, dup, False, at, len(payload))
    packet = reopen(topic.decode("utf-8", "replace"), message, stamp)
    if packet is not None:
        packet.since = now
    return packet
