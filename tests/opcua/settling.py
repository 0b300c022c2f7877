"""Waiting until everything has happened that needs no time: for tests in which time is a clock that the test moves.

So many turns of the event loop after each step are a guess that a busy machine proves wrong: it takes fewer turns per millisecond,
and the clock runs away from both ends of the wire. So this looks at what could still move: sockets, threads, the loop itself.
"""

from __future__ import annotations

import asyncio
import fcntl
import select
import stat
import struct
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.contracts.rig import PATIENCE

_SIOCOUTQNSD = 0x894B  # linux/sockios.h: bytes that are not yet sent


async def settled() -> None:
    """Nothing is in a socket of this process, no thread works for the loop, and no turn of it brings anything."""
    jobs = watched()
    quiet, deadline = 0, time.monotonic() + PATIENCE
    while quiet < 2:
        assert time.monotonic() < deadline, f"something moves all the time: {jobs or 'sockets or the loop'}"
        await asyncio.sleep(0)
        quiet = 0 if _moving(jobs) else quiet + 1
        if quiet == 1:  # the kernel may hand over a moment later what is on its way to another socket of ours
            await asyncio.sleep(0.001)
            quiet = 0 if _moving(jobs) else 1


def watched() -> set[asyncio.Future[Any]]:
    """What threads do for this loop, from the first call on."""
    loop: Any = asyncio.get_running_loop()
    known: set[asyncio.Future[Any]] | None = getattr(loop, "given_to_threads", None)
    if known is not None:
        return known
    jobs: set[asyncio.Future[Any]] = set()
    hand_over = loop.run_in_executor

    def counted(*work: Any) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = hand_over(*work)
        jobs.add(future)
        future.add_done_callback(jobs.discard)
        return future

    loop.run_in_executor, loop.given_to_threads = counted, jobs
    return jobs


def _moving(jobs: set[asyncio.Future[Any]]) -> bool:
    loop: Any = asyncio.get_running_loop()
    return bool(jobs or loop._ready or any(_busy(number) for number in _sockets()))


def _sockets() -> Iterator[int]:
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if stat.S_ISSOCK(entry.stat().st_mode):
                yield int(entry.name)
        except OSError:
            continue  # the folder's own, which is closed by now


def _busy(number: int) -> bool:
    """Bytes that were not yet read or sent; somebody who has not been let in."""
    try:
        return any(_count(number, what) for what in (termios.FIONREAD, _SIOCOUTQNSD))
    except OSError:  # it listens
        waiting = select.poll()
        waiting.register(number, select.POLLIN)
        return bool(waiting.poll(0))


def _count(number: int, what: int) -> int:
    found: tuple[int] = struct.unpack("i", fcntl.ioctl(number, what, b"\0\0\0\0"))
    return found[0]
