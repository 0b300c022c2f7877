"""What the suites share: who is alive in this process, and waiting for a condition instead of sleeping for luck."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest

PATIENCE = 60.0
"""Seconds until a condition that must come counts as one that does not come: a slow machine that stalls has many in it."""

LEAVING = 30.0
"""Seconds that a peer has to notice that its client is gone; the client's own leaving has been waited for by then."""


async def eventually(condition: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Wait until the condition holds; fail with `what` when it does not in time."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"did not happen within {patience} s: {what}"
        await asyncio.sleep(0.005)


async def a_while(seconds: float = 0.5) -> None:
    """In hundredths that the loop wakes up for: a machine that stalls for longer has had its turns all the same."""
    for _ in range(round(seconds * 100)):
        await asyncio.sleep(0.01)


def leap(seconds: float) -> None:
    """From here on the event loop's clock is so much further: whatever has a limit of less, such as an answer, is over it.

    For limits that are long enough for the slowest machine, and that nobody wants to wait for.
    """
    loop = asyncio.get_running_loop()
    before = loop.time
    loop.time = lambda: before() + seconds  # type: ignore[method-assign]


def inapplicable(reason: str) -> NoReturn:
    """A law that this peer cannot break: its suite must say so in `CANNOT`, so that no law goes untested by accident."""
    pytest.fail(f"{reason}: name this law in the suite's CANNOT, with the reason")


def sockets() -> set[str]:
    """The open sockets of this process, by inode; empty where the system does not tell (Windows)."""
    found = set()
    folder = Path("/proc/self/fd")
    for entry in folder.iterdir() if folder.is_dir() else ():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


def threads() -> set[threading.Thread]:
    """All but the event loop's own default pool, which lives as long as the loop."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}


@dataclass(slots=True)
class Alive:
    """Tasks, threads and sockets before a session, to be compared with those after it."""

    tasks: set[asyncio.Task[object]] = field(default_factory=asyncio.all_tasks)
    threads: set[threading.Thread] = field(default_factory=threads)
    sockets: set[str] = field(default_factory=sockets)

    def left(self) -> list[str]:
        """What has come since and is still there."""
        present = asyncio.current_task()
        tasks = {task for task in asyncio.all_tasks() if task is not present and not task.done()} - self.tasks
        return [
            *(f"task {task.get_name()}: {task.get_coro()}" for task in tasks),
            *(f"thread {thread.name}" for thread in threads() - self.threads),
            *sorted(sockets() - self.sockets),
        ]

    async def nothing_left(self, grace: float, held: int = 0) -> None:
        """A server in the same process needs a moment to notice that its client is gone: so this waits.

        held: sockets that the rig has opened itself meanwhile.
        """
        deadline = time.monotonic() + grace
        while len(self.left()) > held and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        assert len(left := self.left()) <= held, left
