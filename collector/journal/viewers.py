"""Views of what becomes durable: bounded, and holding nothing. A slow viewer skips ahead instead of slowing anybody."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

from collector.journal.base import Slice

VIEWER_VALUES: Final = 50_000
VIEWER_SLICES: Final = 256


class Viewer:
    """What one viewer has not looked at yet: at most 256 slices of at most 50,000 values, the oldest forgotten first."""

    def __init__(self) -> None:
        self._slices: deque[Slice] = deque()
        self._values = 0
        self._filled = asyncio.Event()

    def show(self, new: Slice) -> None:
        self._slices.append(new)
        self._values += _values(new)
        while len(self._slices) > 1 and (self._values > VIEWER_VALUES or len(self._slices) > VIEWER_SLICES):
            self._values -= _values(self._slices.popleft())
        self._filled.set()

    async def slices(self) -> AsyncIterator[Slice]:
        while True:
            await self._filled.wait()
            oldest = self._slices.popleft()
            self._values -= _values(oldest)
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


def _values(shown: Slice) -> int:
    return sum(len(batch) for batch in shown.batches)
