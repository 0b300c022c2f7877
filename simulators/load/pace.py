"""Something to do at even intervals, for as long as it takes: late turns are made up for, never skipped."""

import asyncio
import time
from collections.abc import Callable

TOO_LATE = 0.05  # s


async def paced(
    turns: int, period: float, begin: float, stop: asyncio.Event, act: Callable[[int], None]
) -> None:
    """`act(turn)` at `begin + turn * period` (monotonic, s). Ends early at `stop`."""
    for turn in range(turns):
        delay = begin + turn * period - time.monotonic()
        if delay > 0:
            await asyncio.sleep(delay)
        elif delay < -TOO_LATE:
            await asyncio.sleep(0)  # the sockets get their turn even when every turn is late
        if stop.is_set():
            return
        act(turn)


async def settled(
    done: Callable[[], bool], moved: asyncio.Event, seconds: float, stop: asyncio.Event
) -> None:
    """Wait until `done()`, looking whenever something moved; no longer than `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            while not done() and not stop.is_set():
                moved.clear()
                await moved.wait()
    except TimeoutError:
        return
