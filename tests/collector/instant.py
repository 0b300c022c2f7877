"""A clock on which every sleep is over at once: tests of minutes of back-off take milliseconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class InstantClock:
    def __init__(self) -> None:
        self.seconds = 1000.0
        self.slept: list[float] = []

    def now(self) -> int:
        self.seconds += 1e-6
        return int(self.seconds * 1e9)

    def wall_now(self) -> int:
        return int(self.seconds * 1e9)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
        await asyncio.sleep(0)

    def later(self, seconds: float, call: Callable[[], object]) -> Callable[[], object]:
        self.seconds += seconds
        return asyncio.get_running_loop().call_soon(call).cancel
