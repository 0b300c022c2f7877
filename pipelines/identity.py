"""Which (point, time) keys are taken: the memory behind the rule "same time, other value: move by one nanosecond".

A value claims its time t as its key. The same value at the same time again is a duplicate; another value at the same
time gets the next free nanosecond after its group's last key. Values are compared by print (pipelines/prints.py).

The memory is a fold over what was journaled: `learn` applied to the stored rows, in order and in any chunks, rebuilds
it, so the journal needs no copy per append: it stores a snapshot now and then and replays the batches behind it. A
stored row tells its base time exactly (Batch.moved), so nothing has to be guessed from neighbouring nanoseconds.

Vectors, not a dictionary per value: the common case (every time newer than all before, of its point) is a gather and a
comparison. Only the points that need it in a batch go through pipelines/crowd.py row by row.

What is remembered per point: the newest base time, the last 7 new base times before it, and its groups of more than one
value (crowd.Limits). A time that is not remembered passes through under its own key: harmless when it is a redelivery
(writing a key twice equals writing it once); another value at a forgotten time overwrites it: more than 7 newer values
late and at the very same nanosecond.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from pipelines.batch import Batch
from pipelines.crowd import Crowd, Limits, Track, crowds_of, table_of
from pipelines.prints import Prints, prints
from pipelines.rings import DUMPED, RING, Ids, Mask, Rings, Times, rising

_SNAPSHOT: Final = 1
_HEAD: Final = struct.Struct(
    "<BBIQQ"
)  # version, ring size, crc32 of the rest, points, bytes of the crowd table


class SnapshotError(ValueError):
    """The bytes are no identity snapshot of a known version, or were damaged: rebuild the memory by replay."""


@dataclass(frozen=True, slots=True)
class Learned:
    """Rows that were given keys, in the order in which they are stored; empty by default. See `Identity.learn`.

    plain: the state of the memory (`Identity.state`) in which every row was found to be new under its own key.
    """

    points: Ids = field(default_factory=lambda: np.zeros(0, np.int32))
    bases: Times = field(default_factory=lambda: np.zeros(0, np.int64))
    keys: Times = field(default_factory=lambda: np.zeros(0, np.int64))
    prints: Prints = field(default_factory=lambda: np.zeros(0, np.uint64))
    plain: object = None

    def __len__(self) -> int:
        return len(self.points)

    @classmethod
    def merge(cls, parts: Sequence[Learned]) -> Learned:
        """All parts as one, in order."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls()
        return cls(
            np.concatenate([part.points for part in parts]),
            np.concatenate([part.bases for part in parts]),
            np.concatenate([part.keys for part in parts]),
            np.concatenate([part.prints for part in parts]),
        )

    def take(self, rows: Mask) -> Learned:
        return Learned(self.points[rows], self.bases[rows], self.keys[rows], self.prints[rows])


@dataclass(frozen=True, slots=True)
class Assigned:
    """keep: bool[n], False = duplicate. at: int64[n], the key (of a duplicate: the key that it is stored under).
    shifted: bool[n], key differs from the time given. learned: the kept rows, for `Identity.learn` once they are durable.
    """

    keep: Mask
    at: Times
    shifted: Mask
    learned: Learned


class Identity:
    """The keys of one source. `assign` leaves it as it is; `learn` and `replay` are the fold. Times within ±2^62 ns."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._rings = Rings()
        self._crowds: dict[int, Crowd] = {}  # the one that grew longest ago first
        self._crowded = np.zeros(0, np.bool_)
        self._total = 0
        self.state = object()
        """Another one after every change."""

    def assign(self, batch: Batch) -> Assigned:
        """Keys for the rows of one batch. See `assign_rows` for several batches of one delivery."""
        return self.assign_rows(batch.points, batch.at, prints(batch))

    def assign_rows(self, points: Ids, at: Times, marks: Prints) -> Assigned:
        """Keys for rows in the order in which they will be stored; rows of several batches are simply concatenated."""
        self._make_room(points)
        new, slow = self._classify(points, at, marks)
        if slow is None:
            learned = Learned(points, at, at, marks)
            learned = replace(learned, plain=self.state) if new.all() else learned.take(new)
            return Assigned(new, at, np.zeros(len(at), np.bool_), learned)
        keys = at.copy()
        self._resolve(np.flatnonzero(slow), Learned(points, at, keys, marks), new)
        return Assigned(new, keys, keys != at, Learned(points, at, keys, marks).take(new))

    def newer(self, points: Ids, at: Times) -> Mask:
        """Whether the times lie behind every key that their point has."""
        self._make_room(points)
        return at > self._rings.high[points]

    def learn(self, learned: Learned) -> None:
        """Remembers stored rows. Any chunking of the same rows gives the same memory; rows known already change nothing."""
        if not len(learned):
            return
        self._make_room(learned.points)
        known, self.state = learned.plain is self.state, object()
        if known:  # nothing has changed since they were looked at
            self._rings.push(learned.points, learned.bases, learned.prints)
            return
        moved = learned.keys != learned.bases
        new, slow = self._classify(
            learned.points, learned.bases, learned.prints, moved if moved.any() else None
        )
        plain = learned if new.all() else learned.take(new)
        self._rings.push(plain.points, plain.bases, plain.prints)
        if slow is not None:
            self._learn_rows(learned.take(slow))

    def replay(self, batches: Sequence[Batch]) -> None:
        """The fold over stored batches; equals `learn` of what was learned when they were refined."""
        self.learn(Learned.merge([_stored(batch) for batch in batches]))

    def snapshot(self) -> bytes:
        """The memory as bytes, equal for equal memories."""
        points, rows = self._rings.dump()
        crowds = np.array(table_of(self._crowds), dtype="<u8").tobytes()
        rest = rows + crowds
        return _HEAD.pack(_SNAPSHOT, RING, zlib.crc32(rest), points, len(crowds)) + rest

    @classmethod
    def restore(cls, blob: bytes) -> Self:
        """The memory that `snapshot` gave. Raises SnapshotError."""
        if len(blob) < _HEAD.size:
            raise SnapshotError(f"an identity snapshot of {len(blob)} bytes is too short")
        version, ring, crc, points, crowds = _HEAD.unpack_from(blob)
        rest = blob[_HEAD.size :]
        if (version, ring, crc) != (_SNAPSHOT, RING, zlib.crc32(rest)) or len(
            rest
        ) != points * DUMPED + crowds:
            raise SnapshotError(f"identity snapshot of version {version}: damaged, or of another release")
        identity = cls()
        identity._rings = Rings.load(rest, points)
        identity._crowds = crowds_of(np.frombuffer(rest, "<u8", offset=points * DUMPED))
        identity._crowded = np.zeros(len(identity._rings.high), np.bool_)
        identity._crowded[list(identity._crowds)] = True
        identity._total = sum(crowd.values for crowd in identity._crowds.values())
        return identity

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self.snapshot() == other.snapshot()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def _make_room(self, points: Ids) -> None:
        self._rings.make_room(points)
        more = len(self._rings.high) - len(self._crowded)
        if more:
            self._crowded = np.concatenate([self._crowded, np.zeros(more, np.bool_)])

    def _classify(
        self, points: Ids, bases: Times, marks: Prints, moved: Mask | None = None
    ) -> tuple[Mask, Mask | None]:
        """(new under its own key, to be taken row by row or None). The rest are duplicates of a base in the ring.

        Row by row go all rows of a point of which one repeats a time of the batch, moves, meets another value in the
        memory, lies among the keys of a crowd, or is known while others could push it out of the ring.
        """
        fresh: Mask = bases > self._rings.high[points]
        repeated = _repeated(points, bases)
        if moved is None and repeated is None and fresh.all():
            return fresh, None
        known = self._rings.bases[points] == bases[:, None]
        hit: Mask = known.any(axis=1)
        same = (known & (self._rings.prints[points] == marks[:, None])).any(axis=1)
        hard: Mask = (hit & (~same | _in_company(points))) | (~fresh & self._crowded[points])
        for more in (repeated, moved):
            hard |= False if more is None else more
        if not hard.any():
            return ~hit, None
        slow = np.isin(points, points[hard])
        return ~hit & ~slow, slow

    def _resolve(self, rows: NDArray[np.int64], batch: Learned, keep: Mask) -> None:
        """Fills `keep` and the keys of the rows that the vectors could not decide, on copies of their points' memory."""
        of_point: dict[int, list[int]] = {}
        for row, point in zip(rows.tolist(), batch.points[rows].tolist(), strict=True):
            of_point.setdefault(point, []).append(row)
        for point, mine in of_point.items():
            bases = batch.bases[mine].tolist()
            track = self._track(point, (self._crowds.get(point) or Crowd()).fork(bases))
            for row, base, mark in zip(mine, bases, batch.prints[mine].tolist(), strict=True):
                key, new = track.resolve(base, mark)
                keep[row], batch.keys[row] = new, key
                if new:
                    track.add(base, mark, key)

    def _learn_rows(self, rows: Learned) -> None:
        tracks: dict[int, Track] = {}
        pushed: list[tuple[int, int, int]] = []
        table = (rows.points.tolist(), rows.bases.tolist(), rows.keys.tolist(), rows.prints.tolist())
        for point, base, key, mark in zip(*table, strict=True):
            if point not in tracks:
                tracks[point] = self._track(point, self._crowds.get(point) or Crowd())
            self._learn_row(tracks[point], point, (base, mark, key))
        for point, track in tracks.items():
            pushed += ((point, base, mark) for base, mark in track.pushed)
        ids, bases, marks = zip(*pushed, strict=True) if pushed else ((), (), ())
        self._rings.push(np.array(ids, np.int32), np.array(bases, np.int64), np.array(marks, np.uint64))
        np.maximum.at(self._rings.high, rows.points, rows.keys)

    def _learn_row(self, track: Track, point: int, row: tuple[int, int, int]) -> None:
        before = track.crowd.values
        if not track.add(*row):
            return
        self._crowds.pop(point, None)
        self._crowds[point] = track.crowd
        self._crowded[point] = True
        self._total += track.crowd.values - before
        while self._total > self._limits.total_values:
            self._forget()

    def _forget(self) -> None:
        point, crowd = next(iter(self._crowds.items()))
        self._total -= crowd.drop_oldest()
        if not crowd.groups:
            del self._crowds[point]
            self._crowded[point] = False

    def _track(self, point: int, crowd: Crowd) -> Track:
        ring, top = self._rings.recent(point)
        return Track(ring, RING, top, crowd, self._limits)


def _repeated(points: Ids, bases: Times) -> Mask | None:
    """Rows whose (point, time) occurs more than once in the batch; None if there are none."""
    if rising(points) or rising(bases):
        return None
    cells = np.sort(bases.view(np.uint64) + points.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    if not (cells[1:] == cells[:-1]).any():  # equal pairs have equal cells; the reverse is checked below
        return None
    order = np.lexsort((bases, points))
    equal = (points[order][1:] == points[order][:-1]) & (bases[order][1:] == bases[order][:-1])
    mask = np.zeros(len(points), np.bool_)
    mask[order[1:][equal]] = mask[order[:-1][equal]] = True
    return mask


def _in_company(points: Ids) -> Mask:
    """Rows whose point has other rows in the batch."""
    if rising(points):
        return np.zeros(len(points), np.bool_)
    _, inverse, sizes = np.unique(points, return_inverse=True, return_counts=True)
    return np.greater(sizes[inverse], 1, dtype=np.bool_)


def _stored(batch: Batch) -> Learned:
    bases = batch.at if batch.moved is None else batch.at - batch.moved
    return Learned(batch.points, bases, batch.at, prints(batch))
