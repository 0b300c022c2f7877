"""The queues of a subscription's monitored items, as OPC 10000-4, 5.12.1.5 has them: bounded, dropping, and saying so.

What waits is kept by tick: of every tick the items that still have it, in the order in which they go out. A full queue that
discards the oldest takes its item out of its oldest tick and marks the next one; one that discards the newest takes it out
of the last tick and marks the present one. A queue of one value is replaced without a mark. Nothing is encoded before it
is sent, and an item costs nothing while its client keeps up.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int32]


class Notice(NamedTuple):
    """One notification. items: in its order. after_drop: bool[items], or None if nothing was dropped before any of them.

    whole: all items of that tick, in their order. first: where these stand in it, -1 when some between them are missing.
    """

    tick: int
    items: Indices
    after_drop: NDArray[np.bool_] | None
    whole: Indices
    first: int

    @property
    def values(self) -> int:
        return len(self.items)


@dataclass(slots=True)
class Waiting:
    """The items that still have the value of one tick. whole, first: as in Notice. marked: bool[all items], made when needed."""

    items: Indices
    whole: Indices
    first: int = 0
    marked: NDArray[np.bool_] | None = None

    def remove(self, gone: Indices, total: int) -> None:
        mask = np.zeros(total, np.bool_)
        mask[gone] = True
        self.items, self.first = self.items[~mask[self.items]], -1

    def mark(self, after: Indices, total: int) -> None:
        if self.marked is None:
            self.marked = np.zeros(total, np.bool_)
        self.marked[after] = True

    def take(self, tick: int, most: int) -> Notice:
        items, first = self.items[:most], self.first
        self.items = self.items[most:]
        self.first = first + len(items) if first >= 0 else -1
        marked = None if self.marked is None else self.marked[items]
        clean = marked is None or not marked.any()
        return Notice(tick, items, None if clean else marked, self.whole, first if clean else -1)


@dataclass(slots=True)
class Queues:
    """sizes: int32[items], values each item keeps. oldest: bool[items], whether a full queue discards the oldest."""

    sizes: Indices = field(default_factory=lambda: np.zeros(0, np.int32))
    oldest: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    dropped: int = 0
    queued: int = 0
    _counts: Indices = field(default_factory=lambda: np.zeros(0, np.int32))
    _waiting: dict[int, Waiting] = field(default_factory=dict)

    def add(self, sizes: Indices, oldest: NDArray[np.bool_]) -> None:
        """More items; they count on from those that there are."""
        self.sizes, self.oldest = np.append(self.sizes, sizes), np.append(self.oldest, oldest)
        self._counts = np.append(self._counts, np.zeros(len(sizes), np.int32))
        for waiting in self._waiting.values():
            if waiting.marked is not None:
                waiting.marked = np.append(waiting.marked, np.zeros(len(sizes), np.bool_))

    def remove(self, gone: Indices) -> None:
        """These items are over, with what waits in their queues."""
        for waiting in self._waiting.values():
            waiting.remove(gone, len(self.sizes))
        self._lose(int(self._counts[gone].sum()))
        self._counts[gone] = 0

    def tick(self, tick: int, order: Indices) -> None:
        """These items have a new value; ticks come one after the other."""
        present = self._waiting[tick] = Waiting(order, order)
        full = np.flatnonzero(self._counts[order] >= self.sizes[order])
        if len(full):
            self._overflow(tick, order[full], present)
        self._counts[order] += 1
        self.queued += len(order)

    def _overflow(self, tick: int, full: Indices, present: Waiting) -> None:
        total, oldest = len(self.sizes), self.oldest[full]
        for count in np.unique(self._counts[full[oldest]]).tolist():
            group = full[oldest & (self._counts[full] == count)]
            self._waiting[tick - count].remove(group, total)
            self._mark(self._waiting[tick - count + 1], group)
        if not oldest.all():
            self._waiting[tick - 1].remove(full[~oldest], total)
            self._mark(present, full[~oldest])
        self._counts[full] -= 1
        self._lose(len(full))

    def _mark(self, waiting: Waiting, group: Indices) -> None:
        several = group[self.sizes[group] > 1]
        if len(several):
            waiting.mark(several, len(self.sizes))

    def take(self, most: int) -> Notice:
        """The next notification, of one tick, the oldest. There must be something."""
        tick = next(iter(self._waiting))
        while not len(self._waiting[tick].items):
            del self._waiting[tick]
            tick = next(iter(self._waiting))
        notice = self._waiting[tick].take(tick, most)
        self._counts[notice.items] -= 1
        self.queued -= len(notice.items)
        return notice

    def _lose(self, values: int) -> None:
        self.dropped += values
        self.queued -= values
