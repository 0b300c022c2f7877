"""Patience that counts the time in which this process was awake.

`asyncio.timeout` counts the clock. Where everything stood still for a while (a paused virtual machine, a computer that
slept, a disk that held all up), its time is over in the very turn of the event loop in which the answer could have been
read: a peer that did answer is called silent. Here a turn counts for at most STEP seconds, however long the world
stood still before it, and what has come is read first.

The simulators have a twin of this file (`simulators/awake.py`): they import nothing of ours, and we nothing of theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

STEP = 0.25  # seconds


@asynccontextmanager
async def patient(seconds: float) -> AsyncIterator[None]:
    """Like `asyncio.timeout(seconds)`: raises TimeoutError when these have passed while somebody looked."""
    async with asyncio.timeout(None) as limit:
        steps = _Steps(limit, seconds)
        try:
            yield
        finally:
            steps.stop()


class _Steps:
    """Counts down, and ends the wait one turn after the last step: what came together with it still counts."""

    def __init__(self, limit: asyncio.Timeout, seconds: float) -> None:
        self._limit, self._left = limit, seconds
        self._loop = asyncio.get_running_loop()
        self._timer = self._next()

    def _next(self) -> asyncio.TimerHandle:
        return self._loop.call_later(min(STEP, self._left), self._passed)

    def _passed(self) -> None:
        self._left -= STEP
        if self._left > 0:
            self._timer = self._next()
        else:
            self._limit.reschedule(self._loop.time())

    def stop(self) -> None:
        self._timer.cancel()
