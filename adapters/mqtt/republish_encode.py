"""Batches to messages: one per value, or one per machine; a pure function of the batches and the registry.

A value is `{"t": time, "v": value, "q": quality}`, with `unit` where it has one, and `tags` where it has some that the topic and the
location do not tell. q is the OPC UA status code; what is not good has no value (`"v":null`), as everywhere behind the collector.
What JSON cannot say (NaN, infinity, texts that are not Unicode) is refused value by value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from adapters.mqtt.republish_settings import MqttSink
from adapters.mqtt.republish_topics import META, segment, topic_of
from pipelines import quality as q
from pipelines.batch import FIELD, Batch, Kind, Point
from pipelines.registry import Registry
from pipelines.stage import Refusal

TOLD = frozenset(("enterprise", "site", "area", "line", "type", "label", FIELD))
TOGETHER = 500  # values of one message, where it has all of a machine
Key = tuple[int, int]


class Outgoing(NamedTuple):
    """One message. keys: (point, time) of the values in it; none: it is metadata."""

    topic: bytes
    payload: bytes
    retain: bool
    keys: tuple[Key, ...] = ()
    where: str = ""


class Slot(NamedTuple):
    """What is the same for all values of a point. problem: why it cannot be published."""

    topic: bytes
    head: bytes
    tail: bytes
    meta: Outgoing
    where: str
    problem: str


class Encoder:
    """Keeps what it found out about points. now: ns, for refusals."""

    def __init__(self, registry: Registry, settings: MqttSink, now: Callable[[], int]) -> None:
        self._registry, self._settings, self._now = registry, settings, now
        self._template = settings.template
        self._alone = "signal" in self._template.names
        self._slots: dict[int, Slot] = {}
        self._owners: dict[str, tuple[str, str]] = {}
        self._newest: dict[bytes, int] = {}

    def metadata(self, point: int) -> Outgoing:
        return self.slot(point).meta

    def slot(self, point: int) -> Slot:
        found = self._slots.get(point)
        if found is None:
            found = self._slots[point] = self._made(self._registry[point])
        return found

    def encode(self, batches: Sequence[Batch]) -> tuple[list[Outgoing], list[Refusal]]:
        """Messages in the order of the values of each signal, and what cannot be one."""
        refused: list[Refusal] = []
        rows = (row for batch in batches for row in self._rows(batch, refused))
        if self._alone:
            return [
                Outgoing(slot.topic, text, self._is_last(slot.topic, (key,)), (key,), slot.where)
                for slot, text, key in rows
            ], refused
        return list(self._together(rows)), refused

    def _is_last(self, topic: bytes, keys: Sequence[Key]) -> bool:
        """Whether the broker is to keep the message: it asks for retained ones, and nothing newer was published there."""
        if not self._settings.retain:
            return False
        newest = max(at for _, at in keys)
        if newest < self._newest.get(topic, newest):
            return False
        self._newest[topic] = newest
        return True

    def _rows(self, batch: Batch, refused: list[Refusal]) -> Iterator[tuple[Slot, bytes, Key]]:
        good = q.is_good(batch.quality) & batch.has_value
        times = _TIMES[self._settings.time](batch.at)
        cells = zip(
            batch.points.tolist(),
            batch.at.tolist(),
            times,
            _texts(batch, good),
            batch.quality.tolist(),
            strict=True,
        )
        for point, at, time, text, quality in cells:
            slot = self.slot(point)
            if text is None or slot.problem:
                reason = slot.problem or UNFIT
                refused.append(Refusal(slot.where, reason, time, self._now(), keys=((point, at),)))
                continue
            yield (
                slot,
                b'%b"t":%b,"v":%b,"q":%d%b' % (slot.head, time, text, quality, slot.tail),
                (point, at),
            )

    def _together(self, rows: Iterator[tuple[Slot, bytes, Key]]) -> Iterator[Outgoing]:
        """A list per machine, at most TOGETHER values and half of the largest packet each."""
        held: dict[bytes, list[tuple[Slot, bytes, Key]]] = {}
        sizes: dict[bytes, int] = {}
        for row in rows:
            slot, text, _ = row
            if slot.topic in held and (
                len(held[slot.topic]) >= TOGETHER
                or sizes[slot.topic] + len(text) > self._settings.max_packet // 2
            ):
                yield self._list(held.pop(slot.topic))
            if slot.topic not in held:
                held[slot.topic], sizes[slot.topic] = [], 0
            held[slot.topic].append(row)
            sizes[slot.topic] += len(text)
        for group in held.values():
            yield self._list(group)

    def _list(self, group: Sequence[tuple[Slot, bytes, Key]]) -> Outgoing:
        payload = b"[" + b",".join(text for _, text, _ in group) + b"]"
        slot = group[0][0]
        keys = tuple(key for _, _, key in group)
        return Outgoing(slot.topic, payload, self._is_last(slot.topic, keys), keys, slot.where)

    def _made(self, point: Point) -> Slot:
        topic = topic_of(self._template, point)
        name = (point.machine, point.name if self._alone else "")
        owner = self._owners.setdefault(topic, name)
        problem = ""
        if owner != name:
            problem = f"its topic {topic} is that of {'/'.join(filter(None, owner))} already: put what tells them apart into topic"
        elif len(topic.encode()) > 60_000:
            problem = "its topic is longer than MQTT allows"
        extra = {k: v for k, v in point.tags.items() if k not in TOLD and k not in self._template.names}
        more = {"unit": point.unit} if point.unit else {}
        tail = _members({**more, **({"tags": extra} if extra else {})})
        head = b"{" if self._alone else b'{"s":%b,' % _json(point.name)
        where = f"{point.machine}/{point.name}"
        return Slot(topic.encode(), head, tail + b"}", self._metadata(topic, point), where, problem)

    def _metadata(self, topic: str, point: Point) -> Outgoing:
        place = f"{topic}/{META}" if self._alone else f"{topic}/{META}/{segment(point.name)}"
        said = {
            "machine": point.machine,
            "signal": point.name,
            "kind": point.kind.name.lower(),
            **({"unit": point.unit} if point.unit else {}),
            "tags": {name: text for name, text in point.tags.items() if name != FIELD},
        }
        return Outgoing(place.encode(), _json(said), retain=True)


UNFIT = "JSON has no NaN, infinity or texts that are not Unicode: such a value cannot be published"


def _json(value: Any) -> bytes:
    """Names may hold lone surrogates, which UTF-8 does not have."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(repr(value))


def _members(wanted: dict[str, Any]) -> bytes:
    return b"".join(b",%b:%b" % (_json(name), _json(value)) for name, value in wanted.items())


def _texts(batch: Batch, good: NDArray[np.bool_]) -> list[bytes | None]:
    """One JSON text per row: null where there is no good value; None where JSON has no word for it."""
    values = batch.values.tolist()
    write = _WRITERS[batch.kind]
    return [write(value) if fine else b"null" for value, fine in zip(values, good.tolist(), strict=True)]


def _number(value: float) -> bytes | None:
    return msgspec.json.encode(value) if math.isfinite(value) else None


def _text(value: str) -> bytes | None:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return None


def _wave(value: Any) -> bytes | None:
    return msgspec.json.encode(value.tolist()) if np.isfinite(value).all() else None


_WRITERS: dict[Kind, Callable[[Any], bytes | None]] = {
    Kind.NUMBER: _number,
    Kind.INTEGER: lambda value: b"%d" % value,
    Kind.UNSIGNED: lambda value: b"%d" % value,
    Kind.FLAG: lambda value: b"true" if value else b"false",
    Kind.TEXT: _text,
    Kind.WAVEFORM: _wave,
}


def _rfc3339(at: NDArray[np.int64]) -> list[bytes]:
    texts = np.datetime_as_string(at.astype("datetime64[ns]"), unit="ns").tolist()
    return [b'"%bZ"' % text.encode() for text in texts]


_TIMES: dict[str, Callable[[NDArray[np.int64]], list[bytes]]] = {
    "rfc3339": _rfc3339,
    "ns": lambda at: [b"%d" % ns for ns in at.tolist()],
    "ms": lambda at: [b"%d" % (ns // 10**6) for ns in at.tolist()],
}
