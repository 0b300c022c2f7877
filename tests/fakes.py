"""Stand-ins that several test folders share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class FakeClock:
    """Time that stands still until `advance`: sleeps end when the time they wait for has come, in its order."""

    def __init__(self, now: int = 1_700_000_000_000_000_000) -> None:
        self._now, self._monotonic, self._ticks = now, 0.0, 0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> int:
        self._ticks += 1
        return self._now + self._ticks

    def wall_now(self) -> int:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._monotonic + seconds, len(self._sleepers), woken))
        await woken

    def later(self, seconds: float, call: Callable[[], object]) -> Callable[[], object]:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        woken.add_done_callback(lambda ended: None if ended.cancelled() else call())
        self._sleepers.append((self._monotonic + seconds, len(self._sleepers), woken))
        return woken.cancel

    @property
    def sleeping(self) -> int:
        return sum(not woken.done() for _, _, woken in self._sleepers)

    def advance(self, seconds: float, *, wall: float | None = None) -> None:
        """Let time pass. wall: by how much the wall clock moves, if differently (a jump)."""
        self._monotonic += seconds
        self._now += round((seconds if wall is None else wall) * 1e9)
        due = sorted((s for s in self._sleepers if s[0] <= self._monotonic), key=lambda sleeper: sleeper[:2])
        self._sleepers = [sleeper for sleeper in self._sleepers if sleeper not in due]
        for _, _, woken in due:
            if not woken.done():
                woken.set_result(None)


async def eventually(holds: Callable[[], bool], timeout: float = 60.0) -> None:
    """Returns as soon as it holds; fails with the condition's name after `timeout` real seconds."""
    async with asyncio.timeout(timeout):
        while not holds():
            await asyncio.sleep(0.001)
