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

Times = NDArray[np.int64]
Ids = NDArray[np.int32]
Mask = NDArray[np.bool_]


class Rings:
    """bases: int64[points, 8], prints: uint64[points, 8]; high: int64[points], the highest key ever, NEVER if none."""

    __slots__ = ("_count", "bases", "high", "prints")

    def __init__(self) -> None:
        self.bases = np.full((0, _WIDTH), NEVER, np.int64)
        self.prints = np.zeros((0, _WIDTH), np.uint64)
        self.high = np.full(0, NEVER, np.int64)
        self._count = np.zeros(0, np.int64)  # pushes, kept below 2 x RING

    def make_room(self, points: NDArray[np.int32] | NDArray[np.int64]) -> None:
        need, have = int(points.max(initial=-1)) + 1, len(self.high)
        if need <= have:
            return
        more = max(need, 2 * have) - have
        self.bases = np.concatenate([self.bases, np.full((more, _WIDTH), NEVER, np.int64)])
        self.prints = np.concatenate([self.prints, np.zeros((more, _WIDTH), np.uint64)])
        self.high = np.concatenate([self.high, np.full(more, NEVER, np.int64)])
        self._count = np.concatenate([self._count, np.zeros(more, np.int64)])

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
        nth: NDArray[np.int64] | int = 0
        last: NDArray[np.int64] | slice = slice(None)
        newest: NDArray[np.int64] | slice = slice(None)
        if not rising(points):
            order = np.argsort(points, kind="stable")
            points, bases, marks = points[order], bases[order], marks[order]
            starts = np.flatnonzero(np.diff(points, prepend=points[0] - 1))
            sizes = np.diff(starts, append=len(points))
            nth = np.arange(len(points)) - np.repeat(starts, sizes)
            last = starts + sizes - 1
            newest = last if _rising_within(points, bases) else np.lexsort((bases, points))[last]
        place = self._count[points] + nth
        self.bases[points, place % RING] = bases  # of repeated indices the last one stays: the later arrival
        self.prints[points, place % RING] = marks
        self._advance(points[last], place[last] + 1)
        self._raise_top(points[newest], bases[newest], marks[newest])

    def _advance(self, points: Ids, count: NDArray[np.int64]) -> None:
        self._count[points] = np.where(count < 2 * RING, count, RING + count % RING)

    def _raise_top(self, points: Ids, bases: Times, marks: Prints) -> None:
        higher = bases > self.bases[points, _TOP]
        points, bases = points[higher], bases[higher]
        self.bases[points, _TOP] = bases
        self.prints[points, _TOP] = marks[higher]
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


def rising(column: NDArray[np.int32] | NDArray[np.int64]) -> bool:
    return bool((column[1:] > column[:-1]).all())


def _rising_within(points: Ids, bases: Times) -> bool:
    """Whether the times of every point rise, in rows that are sorted by point."""
    return bool(((bases[1:] > bases[:-1]) | (points[1:] != points[:-1])).all())
