"""Simulated time: integer nanoseconds, whole milliseconds, stepping evenly whatever the real clock does.

A step's time is computed, never measured: two runs of one seed differ in no time stamp. The real clock only decides
how long to wait before a step.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

MILLISECOND = 1_000_000
SECOND = 1_000_000_000


def wall_ns() -> int:
    """UTC now, rounded down to a millisecond: faces speak in milliseconds, and the truth must say the same."""
    return time.time_ns() // MILLISECOND * MILLISECOND


class Clock(Protocol):
    """Decides when a simulated moment has come."""

    def start(self, origin_ns: int) -> None:
        """From now on `origin_ns` is the present."""

    async def reached(self, moment_ns: int, stop: asyncio.Event) -> bool:
        """Wait for the moment; False when `stop` came first."""


class RealClock:
    """`speed` simulated seconds pass per second; a simulation that is too slow falls behind, it never skips a step."""

    def __init__(self, speed: float = 1.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._speed = speed
        self._monotonic = monotonic
        self._origin = (0, 0.0)
        self.behind_s = 0.0

    def start(self, origin_ns: int) -> None:
        self._origin = (origin_ns, self._monotonic())

    async def reached(self, moment_ns: int, stop: asyncio.Event) -> bool:
        delay = self._due(moment_ns) - self._monotonic()
        self.behind_s = max(0.0, -delay)
        if delay <= 0:
            await asyncio.sleep(0)  # the sockets get their turn even when every step is late
            return not stop.is_set()
        try:
            async with asyncio.timeout(delay):
                await stop.wait()
        except TimeoutError:
            return True
        return False

    def _due(self, moment_ns: int) -> float:
        origin_ns, origin = self._origin
        return origin + (moment_ns - origin_ns) / SECOND / self._speed


class FreeClock:
    """Every moment has come already: hours pass as fast as the machine room allows, for tests."""

    def start(self, origin_ns: int) -> None:
        """Nothing to anchor."""

    async def reached(self, moment_ns: int, stop: asyncio.Event) -> bool:
        await asyncio.sleep(0)
        return not stop.is_set()


class DrivenClock:
    """Time stands still until somebody lets it pass: `advance` returns when all steps of that time are done."""

    def __init__(self) -> None:
        self._limit_ns = 0
        self._started = asyncio.Event()
        self._allowed = asyncio.Event()
        self._waiting = asyncio.Event()
        self._over = False

    def start(self, origin_ns: int) -> None:
        self._limit_ns = origin_ns
        self._started.set()

    async def reached(self, moment_ns: int, stop: asyncio.Event) -> bool:
        while moment_ns > self._limit_ns and not stop.is_set():
            self._allowed.clear()
            self._waiting.set()
            await self._until_allowed(stop)
        await asyncio.sleep(0)  # the sockets get their turn
        return not stop.is_set()

    async def advance(self, seconds: float) -> int:
        """Let so much simulated time pass; the time it is then, ns. Nobody waits for it any more when the run has ended."""
        await self._started.wait()
        await self._waiting.wait()
        self._limit_ns += round(seconds * 1000) * MILLISECOND
        if self._over:
            return self._limit_ns
        self._waiting.clear()
        self._allowed.set()
        await self._waiting.wait()
        return self._limit_ns

    def release(self) -> None:
        """Whoever waits for time to pass is told that none will, now and later: the run has ended."""
        self._over = True
        self._waiting.set()

    async def _until_allowed(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            either = [group.create_task(event.wait()) for event in (self._allowed, stop)]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            for task in either:
                task.cancel()
