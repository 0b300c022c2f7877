"""A whole message in one step: an edge says the same metrics again and again, and then only times, values and seq differ.

A layout is what messages of one topic and one length looked like: one `struct` takes out times, values, and everything between them,
which must stand as it stood. It is made of the shapes (`skim.py`) that a message was just read by, so that both read the same; what does
not fit is read metric by metric. Metrics that come and go make other layouts all the time: learning one costs credit, and being of use earns it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

TIME: Final = 0x08
SEQ: Final = 0x18
STAMP: Final = 6  # bytes of a time in ms from 1971 to 2109
LENGTHS: Final = 8  # layouts of a topic: seq has one byte or two, and integers have more or fewer
LONGEST: Final = 1000  # metrics of one
MOST: Final = 200_000  # metrics of all of them: some 50 MB
FULL, COST, MISS, HIT = 160, 40, 1, 4  # learning is as dear as reading four messages
_ENDS: Final = 0x8080_8080_80  # how six bytes of a varint are marked: all but the last go on
_MARKS: Final = 0x8080_8080_8080

Key = tuple[int, int, int]
"""Alias, field of the value, data type (0: not said)."""


class Strange(Exception):
    """Not of the hot shape."""


class Shape(NamedTuple):
    """Of one metric, behind its first five bytes. before, between: what must stand around the time. size: of all of it.

    form: `struct`'s, of these four: before, time, between, value.
    """

    size: int
    unpack: Callable[[bytes, int], tuple[Any, ...]]
    before: bytes
    between: bytes
    key: Key
    decode: Callable[[Any], Any] | None
    form: tuple[int, int, int, str]


class Skim(NamedTuple):
    """What a message says, in columns. time: ms, of the message. times: ns. seq: None where it has none. layout: by which it was read, if by one."""

    time: int
    seq: int | None
    keys: Sequence[Key]
    times: Sequence[int]
    values: Sequence[Any]
    layout: Layout | None = None


class Layout:
    """Of messages of one length. Equal only to itself."""

    __slots__ = ("_befores", "_betweens", "_decodes", "_unpack", "keys")

    def __init__(self, raw: bytes, shapes: Sequence[Shape]) -> None:
        """raw: was read by these shapes, one after the other."""
        place, befores = 1 + STAMP, []
        for shape in shapes:
            befores.append(raw[place : place + 5] + shape.before)
            place += shape.size
        forms = "".join(
            f"{5 + before}s{stamp}s{between}s{value}"
            for before, stamp, between, value in (shape.form for shape in shapes)
        )
        self._unpack = struct.Struct(f"<x{STAMP}s{forms}{len(raw) - place}s").unpack
        self._befores, self._betweens = tuple(befores), tuple(shape.between for shape in shapes)
        self._decodes = [(n, shape.decode) for n, shape in enumerate(shapes) if shape.decode is not None]
        self.keys = [shape.key for shape in shapes]

    def read(self, raw: bytes) -> Skim:
        """Raises Strange. raw: of the length that the layout is for."""
        fields = self._unpack(raw)
        if fields[1:-1:4] != self._befores or fields[3:-1:4] != self._betweens or raw[0] != TIME:
            raise Strange
        last, stamps = fields[0], fields[2:-1:4]
        values: Sequence[Any] = fields[4:-1:4]
        time = moment(last)
        alike = stamps.count(last) == len(stamps)
        times = [time * 1_000_000] * len(stamps) if alike else _moments(time, last, stamps)
        if self._decodes:
            values = list(values)
            for place, decode in self._decodes:
                values[place] = decode(values[place])
        return Skim(time, seq_of(fields[-1]), self.keys, times, values, self)


def _moments(time: int, last: bytes, stamps: Sequence[bytes]) -> list[int]:
    """Of metrics, ns. time: ms, of the message, which `last` says; it counts for metrics without one."""
    times = []
    own = at = time * 1_000_000
    for stamp in stamps:
        if stamp != last:
            at, last = (moment(stamp) * 1_000_000, stamp) if stamp else (own, stamp)
        times.append(at)
    return times


def moment(raw: bytes) -> int:
    """A varint of exactly STAMP bytes. A time of 0 is none, and there are other rules for it."""
    n = int.from_bytes(raw, "little")
    if n & _MARKS != _ENDS:
        raise Strange
    at = (
        n & 0x7F
        | n >> 1 & 0x3F80
        | n >> 2 & 0x1FC000
        | n >> 3 & 0xFE00000
        | n >> 4 & 0x7F0000000
        | n >> 5 & 0x3F800000000
    )
    if not at:
        raise Strange
    return at


def unsigned(raw: bytes) -> int:
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


def seq_of(tail: bytes) -> int | None:
    """What stands behind the metrics: a seq or nothing."""
    if not tail:
        return None
    if tail[0] != SEQ or not 1 < len(tail) < 4:
        raise Strange
    seq = unsigned(tail[1:]) if tail[1] > 127 or len(tail) > 2 else tail[1]
    return seq if seq < 256 else None


class Habit:
    """What the messages of one topic looked like lately."""

    __slots__ = ("_credit", "_layouts")

    def __init__(self) -> None:
        self._layouts: dict[int, Layout] = {}
        self._credit = FULL

    def read(self, raw: bytes) -> Skim | None:
        """None: it looks like none of them."""
        layout = self._layouts.get(len(raw))
        if layout is None:
            return None
        try:
            said = layout.read(raw)
        except Strange:
            return None
        self._credit += HIT
        return said

    def learn(self, raw: bytes, shapes: Sequence[Shape]) -> int:
        """Of a message that was read by these shapes; how many metrics it remembers now."""
        self._credit = min(FULL, self._credit + MISS)
        if not 0 < len(shapes) <= LONGEST or self._credit < COST:
            return 0
        self._credit -= COST
        if len(self._layouts) >= LENGTHS:
            self._layouts.clear()
        self._layouts[len(raw)] = Layout(raw, shapes)
        return len(shapes)

    def forget(self) -> None:
        self._layouts.clear()
