"""The jobs at work, by name: each is a task of its own that ends without any other noticing, for reload and for stop.

Not tasks in a list: a reload ends and begins single ones, and what was connected must be told as lost, which a cancelled
task cannot do for itself when the whole process ends because the journal failed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from collector.health import Health, State
from collector.supervisor import Job, Supervisor

log = logging.getLogger("collector")

AGAIN = 15.0
"""Seconds after which a job that still goes on is told again to end; longer than a session takes to be closed."""

TELLING = 5.0
"""Seconds in which it must be stored that a source is lost: a full buffer must not hold up an end."""


class Crew:
    """Lives in the task group that it is given. After `close` nobody begins any more."""

    def __init__(self, supervisor: Supervisor, health: Health, tasks: asyncio.TaskGroup) -> None:
        self._supervisor, self._health, self._group = supervisor, health, tasks
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._jobs: dict[str, Job] = {}
        self._closed = False

    def begin(self, jobs: Iterable[Job]) -> None:
        for job in () if self._closed else jobs:
            self._jobs[job.name] = job
            self._tasks[job.name] = self._group.create_task(self._supervisor.keep(job), name=job.name)

    def named(self, *roles: str) -> list[str]:
        return [name for name, job in self._jobs.items() if job.role in roles]

    def close(self) -> None:
        self._closed = True

    async def end(self, names: Iterable[str]) -> None:
        """Cancel, wait until the sessions are closed, then tell the edge of those that were connected."""
        jobs = [self._jobs.pop(name) for name in names if name in self._jobs]
        connected = {known.name for known in self._health.all() if known.state is State.CONNECTED}
        up = [job for job in jobs if job.name in connected]
        tasks = [self._tasks.pop(job.name) for job in jobs]
        await _ended(tasks)
        async with asyncio.TaskGroup() as telling:
            for job in up:
                telling.create_task(_told_as_lost(job))

    def forget(self, names: Iterable[str]) -> None:
        """Off the board: these are no longer configured."""
        for name in names:
            if name not in self._jobs:
                self._health.remove(name)


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancelled, and again where that is not heard: what a library waits with may swallow a cancellation that meets an answer."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN)


async def _told_as_lost(job: Job) -> None:
    try:
        async with asyncio.timeout(TELLING):
            await job.edge(False)
    except TimeoutError:
        log.warning(
            "%s: the buffer took no word about its being closed; it is full, or the disk slow", job.name
        )
