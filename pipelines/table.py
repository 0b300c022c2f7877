"""Treatments as arrays by point id, so that a stage asks for a whole batch with one gather instead of per value.

The table follows the registry: a point that appears during a session gets its row with the next batch. The session's
own memory (what was let through last) lives here too, because it grows with the same ids.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import inf, nan
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipelines.batch import Kind
from pipelines.registry import Registry
from pipelines.stage import Reason, Remark, Treatment, Treatments

SOURCE, SERVER, RECEIVE = range(3)
_TIMES: Final = {"source": SOURCE, "server": SERVER, "receive": RECEIVE}
_SCALABLE: Final = (Kind.NUMBER, Kind.INTEGER, Kind.UNSIGNED, Kind.WAVEFORM)
_NUMERIC: Final = (Kind.NUMBER, Kind.INTEGER, Kind.UNSIGNED)
_NEVER: Final = -(2**62)


@dataclass(slots=True)
class Tally:
    """What one refine call left out and remarked on; stages add to it."""

    counts: Counter[Reason] = field(default_factory=Counter)
    remarks: Counter[Remark] = field(default_factory=Counter)


class Table:
    """Columns by point id. What is True of no point lets its stage be skipped: `scales`, `ranges`, `thins`, `ignores`, `times`."""

    def __init__(self, registry: Registry, treatments: Treatments) -> None:
        self._registry, self._treatments = registry, treatments
        self._size = 0
        self.scales = self.ranges = self.thins = self.ignores = self.times = False
        self.kind: NDArray[np.int8] = np.zeros(0, np.int8)
        self.scaled: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self.scale, self.offset = np.zeros(0), np.zeros(0)
        self.low, self.high = np.zeros(0), np.zeros(0)
        self.deadband: NDArray[np.float64] = np.zeros(0)
        self.interval: NDArray[np.int64] = np.zeros(0, np.int64)
        self.ignored: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self.time: NDArray[np.int8] = np.zeros(0, np.int8)
        # Session memory: the last row let through (stages/thin.py) and the last stand-in time (stages/trust.py).
        self.last_value: NDArray[np.float64] = np.zeros(0)
        self.last_at: NDArray[np.int64] = np.zeros(0, np.int64)
        self.last_quality: NDArray[np.int64] = np.zeros(0, np.int64)
        self.last_given: NDArray[np.int64] = np.zeros(0, np.int64)

    def follow(self, points: NDArray[np.int32]) -> None:
        """Takes in what the registry learned since. Raises IndexError for a point that it does not know."""
        if self._registry.version > self._size:
            self._grow()
        if len(points) and not 0 <= int(points.min()) <= int(points.max()) < self._size:
            raise IndexError(f"points {points.min()} to {points.max()}: the registry has {self._size}")

    def _grow(self) -> None:
        new = self._registry.since(self._size)
        first, self._size = self._size, self._size + len(new)
        self._make_room()
        for row, point in enumerate(new, first):
            self._fill(row, point.kind, self._treatments.of(point.machine, point.name))

    def _make_room(self) -> None:
        have = len(self.kind)
        if self._size <= have:
            return
        more = max(self._size, 2 * have) - have
        for name, start in _START.items():
            column: NDArray[Any] = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.full(more, start, column.dtype)]))

    def _fill(self, row: int, kind: Kind, treatment: Treatment) -> None:
        scaled = (treatment.scale, treatment.offset) != (1.0, 0.0) and kind in _SCALABLE
        ranged = kind in _NUMERIC and (treatment.low is not None or treatment.high is not None)
        self.kind[row] = kind
        self.scaled[row], self.scale[row], self.offset[row] = scaled, treatment.scale, treatment.offset
        if ranged:
            self.low[row] = -inf if treatment.low is None else treatment.low
            self.high[row] = inf if treatment.high is None else treatment.high
        self.deadband[row] = treatment.deadband if kind in _NUMERIC else 0.0
        self.interval[row] = treatment.min_interval
        self.ignored[row] = not treatment.keep_retained
        self.time[row] = _TIMES[treatment.time]
        self.scales |= scaled
        self.ranges |= ranged
        self.thins |= bool(self.deadband[row] > 0 or treatment.min_interval > 0)
        self.ignores |= not treatment.keep_retained
        self.times |= treatment.time != "source"


_START: Final = {
    "kind": 0,
    "scaled": False,
    "scale": 1.0,
    "offset": 0.0,
    "low": -inf,
    "high": inf,
    "deadband": 0.0,
    "interval": 0,
    "ignored": False,
    "time": SOURCE,
    "last_value": nan,
    "last_at": _NEVER,
    "last_quality": -1,
    "last_given": _NEVER,
}
