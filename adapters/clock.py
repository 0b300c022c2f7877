"""Time as a thing that is handed in: tests of hours take milliseconds, and a wall clock that jumps breaks no wait.

Waits use the monotonic clock, stamps the wall clock; `received` stamps rise strictly whatever the wall clock does
(invariant I16), so that two values without a time of their own never get the same one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """now: ns since 1970 UTC, strictly rising per clock. wall_now: what the computer's clock says, ns: it may jump, and nothing
    is stamped with it. monotonic: s, arbitrary origin. sleep: s, cancellable. later: calls on the event loop after so many
    seconds, and returns what takes that back: for who waits for other things too, and would need a task to sleep.
    """

    def now(self) -> int: ...
    def wall_now(self) -> int: ...
    def monotonic(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...
    def later(self, seconds: float, call: Callable[[], object]) -> Callable[[], object]: ...


class SystemClock:
    """The computer's clocks. After a step backwards `now` goes on one nanosecond at a time until the wall catches up."""

    def __init__(self) -> None:
        self._last = 0

    def now(self) -> int:
        self._last = max(self._last + 1, time.time_ns())
        return self._last

    def wall_now(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def later(self, seconds: float, call: Callable[[], object]) -> Callable[[], object]:
        return asyncio.get_running_loop().call_later(seconds, call).cancel
