"""The hot shape of data, read without protobuf: metrics of an alias, a time of six bytes, perhaps a data type, and a number or a boolean.

protobuf makes an object per metric and answers for every field (2 µs); most data are a handful of shapes again and again. The first five
bytes of a metric (its length, its alias, the next tag) tell which: what follows is one `struct` and two comparisons. What is not exactly
of a known shape sends the whole message to protobuf, so that nothing is read here that it would read otherwise
(tests/mqtt/sparkplug/test_skim.py compares both over recorded, generated and broken messages).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

from adapters.mqtt.sparkplug.layouts import MOST as REMEMBERED
from adapters.mqtt.sparkplug.layouts import (
    STAMP,
    TIME,
    Habit,
    Shape,
    Skim,
    Strange,
    moment,
    seq_of,
    unsigned,
)
from adapters.mqtt.sparkplug.schema import MOST

SHAPES: Final = 20_000  # that are remembered
_METRICS, _STAMPED = 0x12, 0x18
_FIXED: Final = {0x69: ("d", 13), 0x65: ("f", 12), 0x70: ("B", 14)}
_VARINTS: Final = {0x50: (10, 5), 0x58: (11, 9)}  # field, bytes at most


def _boolean(byte: int) -> bool:
    if byte > 1:
        raise Strange
    return byte == 1


def _narrow(raw: bytes) -> int:
    number = unsigned(raw)
    if number >> 32:
        raise Strange
    return number


class Skimmer:
    """Knows the shapes that came before; one for a source."""

    def __init__(self) -> None:
        self._shapes: dict[bytes, Shape] = {}
        self._habits: set[Habit] = set()
        self._metrics = 0  # of all layouts

    def read(self, raw: bytes, habit: Habit | None = None) -> Skim | None:
        """None: let protobuf read it. habit: of its topic; learns what the message looks like."""
        try:
            said, shapes = self._read(raw)
        except (Strange, IndexError, struct.error):
            return None
        if habit is not None:
            self._teach(habit, raw, shapes)
        return said

    def _read(self, raw: bytes) -> tuple[Skim, list[Shape]]:
        place, end, last = 1 + STAMP, len(raw), raw[1 : 1 + STAMP]
        if end < place or raw[0] != TIME:
            raise Strange
        time = moment(last)
        own = at = time * 1_000_000
        met, times, values = [], [], []
        shapes = self._shapes
        while place < end and raw[place] == _METRICS:
            shape = shapes.get(raw[place : place + 5]) or self._learn(raw, place)
            before, stamp, between, value = shape.unpack(raw, place + 5)
            if between != shape.between or before != shape.before:
                raise Strange
            if stamp != last:
                at, last = (moment(stamp) * 1_000_000, stamp) if stamp else (own, stamp)
            met.append(shape)
            times.append(at)
            values.append(value if shape.decode is None else shape.decode(value))
            place += shape.size
        if len(met) > MOST:
            raise Strange
        return Skim(time, seq_of(raw[place:]), [shape.key for shape in met], times, values), met

    def _teach(self, habit: Habit, raw: bytes, shapes: list[Shape]) -> None:
        """All layouts together are bounded: beyond it they are learnt anew."""
        learnt = habit.learn(raw, shapes)
        if learnt:
            self._metrics += learnt
            self._habits.add(habit)
        if self._metrics > REMEMBERED:
            for each in self._habits:
                each.forget()
            self._habits.clear()
            self._metrics = 0

    def _learn(self, raw: bytes, start: int) -> Shape:
        size, place = raw[start + 1], start + 2
        stop = place + size
        if size > 127 or stop > len(raw):
            raise Strange
        alias, place = _field(raw, place, 0x10, stop)
        stamped = raw[place] == _STAMPED
        before = raw[start + 5 : place + stamped]
        place += 1 + STAMP if stamped else 0
        after = place if stamped else max(place, start + 5)
        datatype = 0
        if raw[place] == 0x20:
            datatype, place = _field(raw, place, 0x20, stop)
        form, field, decode = _value(raw[place], stop - place - 1)
        between = raw[after : place + 1] if stamped else b""
        if not stamped:
            before = raw[start + 5 : place + 1]
        parts = len(before), STAMP if stamped else 0, len(between), form
        packed = struct.Struct("<{}s{}s{}s{}".format(*parts))
        if 5 + packed.size != 2 + size:
            raise Strange
        key = alias, field, datatype
        shape = Shape(2 + size, packed.unpack_from, before, between, key, decode, parts)
        if len(self._shapes) >= SHAPES:
            self._shapes.clear()
        self._shapes[raw[start : start + 5]] = shape
        return shape


def _field(raw: bytes, place: int, tag: int, stop: int) -> tuple[int, int]:
    """The varint behind this tag, and the place behind it."""
    if raw[place] != tag:
        raise Strange
    last = place + 1
    while raw[last] > 127:
        last += 1
    if last >= stop or last - place > 5:
        raise Strange
    return unsigned(raw[place + 1 : last + 1]), last + 1


def _value(tag: int, size: int) -> tuple[str, int, Callable[[Any], Any] | None]:
    """How `struct` writes it, its field, and what is still to do."""
    if tag in _FIXED:
        form, field = _FIXED[tag]
        return form, field, _boolean if field == 14 else None
    field, most = _VARINTS.get(tag, (0, 0))
    if not 0 < size <= most:
        raise Strange
    return f"{size}s", field, _narrow if field == 10 else unsigned
