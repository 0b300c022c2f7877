"""What the identity memory holds of one point, one row at a time: the exact rule that the vectors of identity.py shorten.

A group is a base time with the values that claimed it, each under its own key: {print: key}, keys rising. A base with
one value costs only a place in the ring; a crowd is the point's groups with more than one value (or with a first value
that found its own time taken). Everything is bounded: what is forgotten first is what grew longest ago.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Group = dict[int, int]


class Limits(NamedTuple):
    """How much is remembered of collisions. A group always keeps its newest values, so its next key never goes back."""

    groups: int = 128  # per point
    group_values: int = 1024  # per group: a machine whose clock stands still
    point_values: int = 4096  # per point, all groups together
    total_values: int = 262_144  # per source


class Crowd:
    """The groups of one point, the one that grew longest ago first, and the keys that they occupy."""

    __slots__ = ("groups", "taken", "values")

    def __init__(self) -> None:
        self.groups: dict[int, Group] = {}
        self.taken: set[int] = set()
        self.values = 0

    def fork(self, bases: Iterable[int]) -> Crowd:
        """A copy to try rows on; the groups of `bases` may grow in it, the others are shared."""
        copy = Crowd()
        copy.groups, copy.taken, copy.values = dict(self.groups), set(self.taken), self.values
        for base in bases:
            if base in copy.groups:
                copy.groups[base] = dict(copy.groups[base])
        return copy

    def grow(self, base: int, start: Group, mark: int, key: int, limits: Limits) -> None:
        """One more value of a base time; `start` is the group so far if it was not a crowd yet."""
        group = self.groups.pop(base, None)
        if group is None:
            group = dict(start)
            self.values += len(start)
            self.taken.update(start.values())
        self.groups[base] = group
        group[mark] = key
        self.taken.add(key)
        self.values += 1
        self._hold(group, limits)

    def _hold(self, group: Group, limits: Limits) -> None:
        if len(group) > limits.group_values:
            self.taken.discard(group.pop(next(iter(group))))
            self.values -= 1
        while len(self.groups) > limits.groups or (
            self.values > limits.point_values and len(self.groups) > 1
        ):
            self.drop_oldest()

    def drop_oldest(self) -> int:
        """Forgets the group that grew longest ago; returns how many values that were."""
        group = self.groups.pop(next(iter(self.groups)))
        self.taken.difference_update(group.values())
        self.values -= len(group)
        return len(group)


class Track:
    """One point's memory while rows are taken in order: recent bases (ring, oldest first), the newest time, the crowd."""

    __slots__ = ("_limits", "_ring", "_size", "_top", "crowd", "pushed")

    def __init__(
        self,
        ring: list[tuple[int, int]],
        size: int,
        top: tuple[int, int] | None,
        crowd: Crowd,
        limits: Limits,
    ) -> None:
        self._ring, self._size, self._top, self._limits = dict(ring), size, top, limits
        self.crowd = crowd
        self.pushed: list[tuple[int, int]] = []

    def resolve(self, base: int, mark: int) -> tuple[int, bool]:
        """The key of this value at this base time, and whether it is new (else: a duplicate stored under that key)."""
        group = self._group(base)
        if mark in group:
            return group[mark], False
        key = next(reversed(group.values())) + 1 if group else base
        while self._is_taken(key):
            key += 1
        return key, True

    def add(self, base: int, mark: int, key: int) -> bool:
        """Remembers a stored row; True if that changed the crowd. What is known already changes nothing."""
        group = self._group(base)
        if mark in group:
            return False
        if not group and key == base:
            self._push(base, mark)
            return False
        self.crowd.grow(base, group, mark, key, self._limits)
        return True

    def _group(self, base: int) -> Group:
        known = self.crowd.groups.get(base)
        if known is not None:
            return known
        if base in self._ring:
            return {self._ring[base]: base}
        return {self._top[1]: base} if self._top is not None and self._top[0] == base else {}

    def _is_taken(self, key: int) -> bool:
        return key in self.crowd.taken or key in self._ring or (self._top is not None and key == self._top[0])

    def _push(self, base: int, mark: int) -> None:
        self.pushed.append((base, mark))
        self._ring[base] = mark
        if len(self._ring) > self._size:
            del self._ring[next(iter(self._ring))]
        if self._top is None or base > self._top[0]:
            self._top = (base, mark)


def table_of(crowds: dict[int, Crowd]) -> list[int]:
    """The crowds as one list of unsigned numbers: point, groups; per group base, size, then print and key per value."""
    table: list[int] = []
    for point, crowd in crowds.items():
        table += (point, len(crowd.groups))
        for base, group in crowd.groups.items():
            table += (base % 2**64, len(group))
            for mark, key in group.items():
                table += (mark, key % 2**64)
    return table


def crowds_of(table: NDArray[np.uint64]) -> dict[int, Crowd]:
    cells = iter(table.tolist())
    crowds: dict[int, Crowd] = {}
    for point in cells:
        crowd = crowds[point] = Crowd()
        for _ in range(next(cells)):
            base, size = _signed(next(cells)), next(cells)
            group = crowd.groups[base] = {next(cells): _signed(next(cells)) for _ in range(size)}
            crowd.taken.update(group.values())
            crowd.values += size
    return crowds


def _signed(cell: int) -> int:
    return cell - 2**64 if cell >= 2**63 else cell
