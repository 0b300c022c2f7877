"""What the suites share: who is alive in this process, and waiting for a condition instead of sleeping for luck."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest

PATIENCE = 15.0
"""Seconds until a condition that must come counts as one that does not come."""


async def eventually(condition: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Wait until the condition holds; fail with `what` when it does not in time."""
    deadline = asyncio.get_running_loop().time() + patience
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"did not happen within {patience} s: {what}"
        await asyncio.sleep(0.005)


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

    async def nothing_left(self, grace: float) -> None:
        """A server in the same process needs a moment to notice that its client is gone: so this waits."""
        deadline = asyncio.get_running_loop().time() + grace
        while self.left() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)
        assert self.left() == []
