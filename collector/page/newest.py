"""The newest row per signal, folded from batches in columns.

Not a dictionary updated value by value: at full load that would cost the page more than the line costs the product.
Per batch one sort, then one assignment per signal that appears in it.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipelines.batch import Batch
from pipelines.registry import Registry

AHEAD: Final = 10_000_000_000
"""ns that a value's time may lie before its reception for the order: a clock that ran an hour ahead and was put right
must not freeze the page for an hour."""
NEVER: Final = int(np.iinfo(np.int64).min)

_COLUMNS: Final[dict[str, tuple[Any, Any]]] = {
    "rank": (np.int64, NEVER),
    "at": (np.int64, NEVER),
    "received": (np.int64, NEVER),
    "point": (np.int32, -1),
    "quality": (np.uint32, 0),
    "flags": (np.uint8, 0),
    "value": (object, None),
}


def rank_of(batch: Batch) -> NDArray[np.int64]:
    """What newer means: the time of the value, yet never more than AHEAD after its reception."""
    return np.minimum(batch.at, np.int64(batch.received + AHEAD))


class Rows:
    """One row per slot: the newest that was offered. Equal times: the one offered last."""

    def __init__(self) -> None:
        self._columns = {name: np.full(0, fill, dtype) for name, (dtype, fill) in _COLUMNS.items()}

    def __getattr__(self, name: str) -> NDArray[Any]:
        try:
            return self.__dict__["_columns"][name]  # type: ignore[no-any-return]
        except KeyError:
            raise AttributeError(name) from None

    def grow(self, size: int) -> None:
        """Room for at least `size` slots, doubling."""
        have = len(self._columns["at"])
        if size > have:
            more = max(size, 2 * have) - have
            for name, (dtype, fill) in _COLUMNS.items():
                self._columns[name] = np.append(self._columns[name], np.full(more, fill, dtype))

    def offer(self, batch: Batch, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Take the rows of the batch that are newer than what is here; returns the slots that changed."""
        rank = rank_of(batch)
        rows = _last_of_each(slots, rank, batch.at)
        held = self._columns["rank"][slots[rows]]
        newer = (rank[rows] > held) | ((rank[rows] == held) & (batch.at[rows] >= self.at[slots[rows]]))
        rows = rows[newer]
        changed: NDArray[np.int64] = slots[rows]
        self._take(batch, rank, rows, changed)
        return changed

    def _take(
        self, batch: Batch, rank: NDArray[np.int64], rows: NDArray[np.int64], to: NDArray[np.int64]
    ) -> None:
        into = self._columns
        into["rank"][to] = rank[rows]
        into["at"][to] = batch.at[rows]
        into["received"][to] = batch.received
        into["point"][to] = batch.points[rows]
        into["quality"][to] = batch.quality[rows]
        into["flags"][to] = batch.flags[rows]
        into["value"][to] = batch.values[rows]


def _last_of_each(
    slots: NDArray[np.int64], rank: NDArray[np.int64], at: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Per slot the row with the highest (rank, at), the last of equals (the sort is stable)."""
    order = np.lexsort((at, rank, slots))
    ends = np.flatnonzero(np.append(np.diff(slots[order]) != 0, len(order) > 0))
    return order[ends]


class Newest:
    """The newest row and the newest good row of every signal; a signal (machine, name) is one slot for life.

    A slot and not a point id: when a signal's unit changes it gets another id, and on the page it stays one line.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.signals: list[tuple[str, str]] = []
        self.rows, self.good = Rows(), Rows()
        self._slots: dict[tuple[str, str], int] = {}
        self._slot_of_point = np.zeros(0, dtype=np.int64)

    def fold(self, batch: Batch) -> NDArray[np.int64]:
        """Returns the slots whose newest or newest good row changed."""
        self._learn()
        slots = self._slot_of_point[batch.points]
        changed = self.rows.offer(batch, slots)
        good = batch.has_value & np.equal(batch.quality >> 30, 0)
        if good.all():
            return np.union1d(changed, self.good.offer(batch, slots))
        if good.any():
            changed = np.union1d(changed, self.good.offer(batch.take(good), slots[good]))
        return changed

    def _learn(self) -> None:
        fresh = self.registry.since(len(self._slot_of_point))
        if fresh:
            slots = [self._slot(point.machine, point.name) for point in fresh]
            self._slot_of_point = np.append(self._slot_of_point, np.asarray(slots, dtype=np.int64))
            self.rows.grow(len(self.signals))
            self.good.grow(len(self.signals))

    def _slot(self, machine: str, name: str) -> int:
        key = (machine, name)
        if key not in self._slots:
            self._slots[key] = len(self.signals)
            self.signals.append(key)
        return self._slots[key]
