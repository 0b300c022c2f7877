"""A clock on which every sleep is over at once: tests of minutes of back-off take milliseconds."""

from __future__ import annotations

import asyncio


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
