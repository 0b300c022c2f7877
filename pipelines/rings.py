"""The newest base times of every point, as arrays by point id: what lets the identity rule ask about a batch in one gather.

A row per point: the last 7 base times in order of arrival (a ring), and in one more column the newest of all. Arrays
grow with the highest point id seen and are never copied per call.
"""

from __future__ import annotations

from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from pipelines.prints import Prints

RING: Final = 7
NEVER: Final = int(np.iinfo(np.int64).min)
_TOP: Final = RING
_WIDTH: Final = RING + 1
ROUNDS: Final = 3


def _kept(count: NDArray[np.int64]) -> NDArray[np.int64]:
    """A number of pushes that says as much, below 2 x RING."""
    return np.where(count < 2 * RING, count, RING + count % RING)


_NEXT: Final = _kept(np.arange(2 * RING, dtype=np.int64) + 1)
_SLOT: Final = np.arange(2 * RING, dtype=np.int64) % RING

Times = NDArray[np.int64]
Ids = NDArray[np.int32]
Mask = NDArray[np.bool_]


class Rings:
    """bases: int64[points, 8], prints: uint64[points, 8]; high: int64[points], the highest key ever, NEVER if none."""

    __slots__ = ("_count", "_row", "bases", "high", "prints")

    def __init__(self) -> None:
        self.bases = np.full((0, _WIDTH), NEVER, np.int64)
        self.prints = np.zeros((0, _WIDTH), np.uint64)
        self.high = np.full(0, NEVER, np.int64)
        self._count = np.zeros(0, np.int64)  # pushes, kept below 2 x RING
        self._row = np.zeros(0, np.int64)  # room to work in

    def make_room(self, points: NDArray[np.int32] | NDArray[np.int64]) -> None:
        need, have = int(points.max(initial=-1)) + 1, len(self.high)
        if need <= have:
            return
        more = max(need, 2 * have) - have
        self.bases = np.concatenate([self.bases, np.full((more, _WIDTH), NEVER, np.int64)])
        self.prints = np.concatenate([self.prints, np.zeros((more, _WIDTH), np.uint64)])
        self.high = np.concatenate([self.high, np.full(more, NEVER, np.int64)])
        self._count = np.concatenate([self._count, np.zeros(more, np.int64)])
        self._row = np.zeros(len(self._count), np.int64)

    def recent(self, point: int) -> tuple[list[tuple[int, int]], tuple[int, int] | None]:
        """The (base, print) pairs of one point, oldest first, and the newest of all."""
        count = int(self._count[point])
        slots = [place % RING for place in range(count - min(count, RING), count)]
        bases, marks = self.bases[point].tolist(), self.prints[point].tolist()
        top = (bases[_TOP], marks[_TOP]) if count else None
        return [(bases[slot], marks[slot]) for slot in slots], top

    def push(self, points: Ids, bases: Times, marks: Prints) -> None:
        """New bases, each under its own key: into the ring in order of arrival, and as the newest where they are."""
        if not len(points):
            return
        rows = points.astype(np.intp)
        for _ in range(ROUNDS):  # a scan or two of all points: cheaper than to sort them
            first = self._firsts(rows)
            if first is None:
                self._push_once(rows, bases, marks)
                return
            self._push_once(rows[first], bases[first], marks[first])
            again = ~first
            rows, bases, marks = rows[again], bases[again], marks[again]
        self._push_often(rows, bases, marks)

    def _firsts(self, points: NDArray[np.intp]) -> Mask | None:
        """Which rows are the first of their point; None if all are."""
        if rising(points):
            return None
        rows = np.arange(len(points))
        self._row[points[::-1]] = rows[::-1]  # of repeated indices the last one stays
        first: Mask = self._row[points] == rows
        return None if first.all() else first

    def _push_once(self, points: NDArray[np.intp], bases: Times, marks: Prints) -> None:
        """Each point once."""
        count = self._count[points]
        self._put(points, _SLOT[count], bases, marks)
        self._count[points] = _NEXT[count]
        self._raise_top(points, bases, marks)

    def _push_often(self, points: NDArray[np.intp], bases: Times, marks: Prints) -> None:
        """Points with any number of rows each."""
        order = np.argsort(points, kind="stable")
        points, bases, marks = points[order], bases[order], marks[order]
        starts = np.flatnonzero(np.diff(points, prepend=points[0] - 1))
        sizes = np.diff(starts, append=len(points))
        place = self._count[points] + np.arange(len(points)) - np.repeat(starts, sizes)
        last = starts + sizes - 1
        newest = last if _rising_within(points, bases) else np.lexsort((bases, points))[last]
        self._put(points, place % RING, bases, marks)
        self._count[points[last]] = _kept(place[last] + 1)
        self._raise_top(points[newest], bases[newest], marks[newest])

    def _put(self, points: NDArray[np.intp], slots: NDArray[np.int64], bases: Times, marks: Prints) -> None:
        """Into the ring; of rows that fall into one place the later one stays."""
        cells = points * _WIDTH + slots
        self.bases.reshape(-1)[cells] = bases
        self.prints.reshape(-1)[cells] = marks

    def _raise_top(self, points: NDArray[np.intp], bases: Times, marks: Prints) -> None:
        """Each point once, with its newest."""
        tops = points * _WIDTH + _TOP
        higher = bases > self.bases.reshape(-1)[tops]
        if not higher.all():
            points, bases, marks, tops = points[higher], bases[higher], marks[higher], tops[higher]
        self.bases.reshape(-1)[tops] = bases
        self.prints.reshape(-1)[tops] = marks
        self.high[points] = np.maximum(self.high[points], bases)

    def dump(self) -> tuple[int, bytes]:
        """How many points, and their rows as bytes."""
        used = np.flatnonzero(self.high != NEVER)
        columns = (
            used,
            self.bases[used],
            self.prints[used].view(np.int64),
            self.high[used],
            self._count[used],
        )
        return len(used), b"".join(column.astype("<i8").tobytes() for column in columns)

    @classmethod
    def load(cls, blob: bytes, points: int) -> Self:
        rings = cls()
        cells = np.frombuffer(blob, "<i8", points * (3 + 2 * _WIDTH)).astype(np.int64)
        used, bases, marks, high, count = np.split(
            cells, points * np.array([1, 1 + _WIDTH, 1 + 2 * _WIDTH, 2 + 2 * _WIDTH])
        )
        rings.make_room(used)
        rings.bases[used] = bases.reshape(points, _WIDTH)
        rings.prints[used] = marks.view(np.uint64).reshape(points, _WIDTH)
        rings.high[used], rings._count[used] = high, count
        return rings


DUMPED: Final = 8 * (3 + 2 * _WIDTH)  # bytes per point in `Rings.dump`


def rising(column: NDArray[np.int32] | NDArray[np.int64] | NDArray[np.intp]) -> bool:
    return bool((column[1:] > column[:-1]).all())


def _rising_within(points: NDArray[np.intp], bases: Times) -> bool:
    """Whether the times of every point rise, in rows that are sorted by point."""
    return bool(((bases[1:] > bases[:-1]) | (points[1:] != points[:-1])).all())
