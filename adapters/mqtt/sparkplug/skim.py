"""The hot shape of data, read without protobuf: metrics of an alias, a time of six bytes, perhaps a data type, and a number or a boolean.

protobuf makes an object per metric and answers for every field (2 µs); most data are a handful of shapes again and again. The first five
bytes of a metric (its length, its alias, the next tag) tell which: what follows is one `struct` and two comparisons. What is not exactly
of a known shape sends the whole message to protobuf, so that nothing is read here that it would read otherwise
(tests/mqtt/sparkplug/test_skim.py compares both over recorded, generated and broken messages).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from adapters.mqtt.sparkplug.schema import MOST

SHAPES: Final = 20_000  # that are remembered
_METRICS, _SEQ, _TIME = 0x12, 0x18, 0x08
_STAMP: Final = 6  # bytes of a time in ms from 1971 to 2109
_FIXED: Final = {0x69: ("d", 13), 0x65: ("f", 12), 0x70: ("B", 14)}
_VARINTS: Final = {0x50: (10, 5), 0x58: (11, 9)}  # field, bytes at most
Key = tuple[int, int, int]
"""Alias, field of the value, data type (0: not said)."""


class Skim(NamedTuple):
    """What a message says, in columns. times: ms. seq: None where it has none."""

    time: int
    seq: int | None
    keys: list[Key]
    times: list[int]
    values: list[Any]


class Shape(NamedTuple):
    """Of one metric, behind its first five bytes. before, between: what must stand around the time. size: of all of it."""

    size: int
    unpack: Callable[[bytes, int], tuple[Any, ...]]
    before: bytes
    between: bytes
    key: Key
    decode: Callable[[Any], Any] | None


class Strange(Exception):
    """Not of the hot shape."""


def _boolean(byte: int) -> bool:
    if byte > 1:
        raise Strange
    return byte == 1


def _narrow(raw: bytes) -> int:
    number = _unsigned(raw)
    if number >> 32:
        raise Strange
    return number


def _unsigned(raw: bytes) -> int:
    """A varint that fills these bytes; its last byte is not checked to be needed, as protobuf does not."""
    if raw[-1] > 127:
        raise Strange
    number = shift = 0
    for byte in raw[:-1]:
        if byte < 128:
            raise Strange
        number |= (byte & 127) << shift
        shift += 7
    return number | raw[-1] << shift


def _moment(raw: bytes) -> int:
    """A time of 0 is none, and there are other rules for it."""
    return _unsigned(raw) or _strange()


def _strange() -> int:
    raise Strange


class Skimmer:
    """Knows the shapes that came before; one for a source."""

    def __init__(self) -> None:
        self._shapes: dict[bytes, Shape] = {}

    def read(self, raw: bytes) -> Skim | None:
        """None: let protobuf read it."""
        try:
            return self._read(raw)
        except (Strange, IndexError, struct.error):
            return None

    def _read(self, raw: bytes) -> Skim:
        place, end, last = 1 + _STAMP, len(raw), raw[1 : 1 + _STAMP]
        if raw[0] != _TIME:
            raise Strange
        time = at = _moment(last)
        keys, times, values = [], [], []
        shapes = self._shapes
        while place < end and raw[place] == _METRICS:
            shape = shapes.get(raw[place : place + 5]) or self._learn(raw, place)
            before, stamp, between, value = shape.unpack(raw, place + 5)
            if between != shape.between or before != shape.before:
                raise Strange
            if stamp != last:
                at, last = (_moment(stamp), stamp) if stamp else (time, stamp)
            keys.append(shape.key)
            times.append(at)
            values.append(value if shape.decode is None else shape.decode(value))
            place += shape.size
        if len(keys) > MOST:
            raise Strange
        return Skim(time, _seq(raw, place, end), keys, times, values)

    def _learn(self, raw: bytes, start: int) -> Shape:
        size, place = raw[start + 1], start + 2
        stop = place + size
        if size > 127 or stop > len(raw):
            raise Strange
        alias, place = _field(raw, place, 0x10, stop)
        stamped = raw[place] == _SEQ
        before = raw[start + 5 : place + stamped]
        place += 1 + _STAMP if stamped else 0
        after = place if stamped else max(place, start + 5)
        datatype = 0
        if raw[place] == 0x20:
            datatype, place = _field(raw, place, 0x20, stop)
        form, field, decode = _value(raw[place], stop - place - 1)
        between = raw[after : place + 1] if stamped else b""
        if not stamped:
            before = raw[start + 5 : place + 1]
        packed = struct.Struct(f"<{len(before)}s{_STAMP if stamped else 0}s{len(between)}s{form}")
        if 5 + packed.size != 2 + size:
            raise Strange
        shape = Shape(2 + size, packed.unpack_from, before, between, (alias, field, datatype), decode)
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
    return _unsigned(raw[place + 1 : last + 1]), last + 1


def _value(tag: int, size: int) -> tuple[str, int, Callable[[Any], Any] | None]:
    """How `struct` writes it, its field, and what is still to do."""
    if tag in _FIXED:
        form, field = _FIXED[tag]
        return form, field, _boolean if field == 14 else None
    field, most = _VARINTS.get(tag, (0, 0))
    if not 0 < size <= most:
        raise Strange
    return f"{size}s", field, _narrow if field == 10 else _unsigned


def _seq(raw: bytes, place: int, end: int) -> int | None:
    """What stands behind the metrics: a seq or nothing."""
    if place == end:
        return None
    if raw[place] != _SEQ or not 1 < end - place < 4:
        raise Strange
    seq = _unsigned(raw[place + 1 :])
    return seq if seq < 256 else None
