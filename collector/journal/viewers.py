"""Views of what becomes durable: bounded, and holding nothing. A slow viewer skips ahead instead of slowing anybody.

What it skips is not forgotten point by point: the newest row and the newest good row of every point stay, as a `Digest`.
Without that a page would go on showing an old value as the present one, for as long as the machine reports by exception.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
from numpy.typing import NDArray

from collector.journal.base import Digest, Slice
from pipelines.batch import Batch

VIEWER_VALUES: Final = 50_000
VIEWER_SLICES: Final = 256
AHEAD: Final = 10_000_000_000
"""ns; a time that lies further ahead of its reception counts as this, so that a wrong clock does not win for ever. The same
as for the page (collector/page/newest.py)."""


class Viewer:
    """What one viewer has not looked at yet: at most 256 slices of at most 50,000 values, and a digest of what it missed."""

    def __init__(self) -> None:
        self._slices: deque[Slice] = deque()
        self._missed: list[Batch] = []
        self._until = 0
        self._values = 0
        self._filled = asyncio.Event()

    def show(self, new: Slice) -> None:
        self._slices.append(new)
        self._values += _values(new.batches)
        if len(self._slices) > 1 and (self._values > VIEWER_VALUES or len(self._slices) > VIEWER_SLICES):
            self._skip()
        self._filled.set()

    def _skip(self) -> None:
        """Half of what is allowed, so that a digest is made now and then and not for every slice."""
        while len(self._slices) > 1 and (
            self._values > VIEWER_VALUES // 2 or len(self._slices) > VIEWER_SLICES // 2
        ):
            oldest = self._slices.popleft()
            self._values -= _values(oldest.batches)
            self._missed += oldest.batches
            self._until = oldest.position
        self._missed = _newest(self._missed)

    async def slices(self) -> AsyncIterator[Slice]:
        while True:
            await self._filled.wait()
            if self._missed:
                missed, self._missed = self._missed, []
                yield Digest(self._until, missed)
                continue
            oldest = self._slices.popleft()
            self._values -= _values(oldest.batches)
            if not self._slices:
                self._filled.clear()
            yield oldest


class Viewers:
    """All viewers of one journal."""

    def __init__(self) -> None:
        self._viewers: set[Viewer] = set()

    def __bool__(self) -> bool:
        return bool(self._viewers)

    def show(self, new: Slice) -> None:
        for viewer in self._viewers:
            viewer.show(new)

    @contextmanager
    def viewing(self) -> Iterator[Viewer]:
        viewer = Viewer()
        self._viewers.add(viewer)
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)


def _values(batches: Iterable[Batch]) -> int:
    return sum(len(batch) for batch in batches)


def _newest(batches: list[Batch]) -> list[Batch]:
    """Of every point the newest row and the newest good row, in the batches that they came in; equal times: the last."""
    where = np.repeat(np.arange(len(batches)), [len(batch) for batch in batches])
    rows = np.concatenate([np.arange(len(batch)) for batch in batches])
    points = np.concatenate([batch.points for batch in batches])
    at = np.concatenate([np.minimum(batch.at, batch.received + AHEAD) for batch in batches])
    good = np.concatenate([batch.has_value & (batch.quality >> 30 == 0) for batch in batches])
    kept = np.union1d(_last(points, at, np.arange(len(at))), _last(points, at, np.flatnonzero(good)))
    return [
        batch.take(rows[kept[where[kept] == n]])
        for n, batch in enumerate(batches)
        if (where[kept] == n).any()
    ]


def _last(points: NDArray[np.int32], at: NDArray[np.int64], among: NDArray[np.intp]) -> NDArray[np.intp]:
    """Of these rows the newest per point (the sort is stable: of equals the last)."""
    order = among[np.lexsort((at[among], points[among]))]
    ends = np.flatnonzero(np.append(np.diff(points[order]) != 0, len(order) > 0))
    return order[ends]
