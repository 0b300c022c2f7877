"""When to commit: the queue before the writer's thread, and the window in which several changes share one flush.

The window is kept here, on the event loop and on the injected clock, and not on the thread: the thread only ever runs
one step at a time and is idle in between, so that whatever it owns may be looked at while it is.
The queue holds one job per caller that waits for it, so it is bounded by the number of sources and followers.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from adapters.clock import Clock
from collector.journal import housekeeping
from collector.journal.base import JournalFailed
from collector.journal.flushing import Job, flush, tidy
from collector.journal.recovery import suspect_path
from collector.journal.store import BUFFER_FULL, Store

log = logging.getLogger("collector.journal")

LARGE: Final = 50_000
"""Values that are committed without waiting for the window: by then the flush costs nothing per value."""

AGAIN: Final = 600.0
"""Seconds between two words on dropping: a full buffer drops with every append."""

RETRY: Final = 1.0
"""Seconds between two looks at a full disk that nobody here can make room on."""


class Writer:
    """Runs in the journal's task group until closed. After a disk error everything fails and nothing is tried again."""

    def __init__(self, store: Store, thread: ThreadPoolExecutor, clock: Clock, window: float) -> None:
        self._store, self._thread, self._clock, self._window = store, thread, clock, window
        self._jobs: deque[Job] = deque()
        self._came = asyncio.Event()
        self._last = -window
        self._dropped = -AGAIN  # when it was last said that values are dropped
        self._full = False
        self.pressed = asyncio.Event()  # set while something waits for space that tidying did not make
        self._hurrying = False
        self._closing = False
        self._failure: str | None = None

    async def submit(self, job: Job) -> Any:
        """Returns what the job's work returned, when it is durable. Raises JournalFailed."""
        self._check()
        self._jobs.append(job)
        if job.pressing is not None:
            job.pressing.told = self._came.set
        self._came.set()
        try:
            return await asyncio.shield(job.done)
        except asyncio.CancelledError:
            await self._withdraw(job)
            raise

    async def _withdraw(self, job: Job) -> None:
        """Not begun: it never happens. Under way: wait, so that the next session of this source sees what was learned."""
        job.withdrawn = True
        if not job.taken and job in self._jobs:
            self._jobs.remove(job)
            job.done.cancel()
        await asyncio.wait([job.done])
        if not job.done.cancelled():
            job.done.exception()

    def _check(self) -> None:
        if self._failure is not None or self._closing:
            raise JournalFailed(self._failure or "the buffer is closed")

    def hurry(self) -> None:
        """From now on without the window."""
        self._hurrying = True
        self._came.set()

    def close(self) -> None:
        """Commit what waits, without the window, and end."""
        self._closing = True
        self._came.set()

    async def run(self) -> None:
        try:
            while not self._closing:
                await self._reason()
                await self._flush()
                await self._tidy()
                if self._full:
                    self.pressed.set()
            await self._flush()
        except (sqlite3.Error, OSError) as error:
            self._fail(error)
        finally:  # also when a mistake of ours ends it: whoever waits is told, or closing would wait for ever
            self._closing = True
            self._refuse_rest(JournalFailed(self._failure or "the buffer is closed"))

    async def _reason(self) -> None:
        """Returns when there is something to commit and no reason to wait for more."""
        while not self._now():
            self._came.clear()
            if self._full:
                await self._wait(RETRY)
                return
            await self._wait(self._last + self._window - self._clock.monotonic() if self._waiting() else None)

    async def _wait(self, seconds: float | None) -> None:
        """For whatever may be a reason; a pressing source calls, and the clock."""
        take_back = None if seconds is None else self._clock.later(seconds, self._came.set)
        try:
            await self._came.wait()
        finally:
            if take_back is not None:
                take_back()

    def _waiting(self) -> list[Job]:
        """What a commit could do something about now: appends that found no space wait for followers, or for time."""
        return [job for job in self._jobs if not job.held]

    def _now(self) -> bool:
        if self._closing:
            return True
        jobs = self._waiting()
        if not jobs:
            return False
        overdue = self._clock.monotonic() - self._last >= self._window
        return (
            overdue
            or self._full
            or self._hurrying
            or any(_hurries(job) for job in jobs)
            or sum(j.values for j in jobs) >= LARGE
        )

    async def _flush(self) -> None:
        """One transaction with all that waits and fits. What did not fit stays, in order."""
        jobs = list(self._jobs)
        for job in jobs:
            job.taken = True
        durable = await self._on_thread(flush, self._store, jobs)
        self._last = self._clock.monotonic()
        settled = {id(job) for job, _ in durable}
        left = [job for job in jobs if id(job) not in settled]
        self._jobs = deque(job for job in self._jobs if id(job) not in settled and not job.withdrawn)
        for job in left:
            job.taken, job.held = False, job.append is not None
            if job.withdrawn:
                job.done.cancel()
        self._turn_full(any(job.append for job in left))
        for job, result in durable:
            self._settle(job, result)

    def _turn_full(self, full: bool) -> None:
        room, now = self._store.room, self._clock.monotonic()
        drops = room.drops and (room.condition or "").startswith(BUFFER_FULL)
        if full and not self._full and not drops:
            log.warning("%s. The sources wait until the sinks have taken something", room.condition)
        elif full and drops and now - self._dropped >= AGAIN:
            self._dropped = now
            log.warning("%s. The oldest values go, with a gap record", room.condition)
        elif self._full and not full and not room.drops:
            log.info("the buffer has space again")
        if not full:
            self._store.room.condition = None
        self._full = full
        if not full:
            self.pressed.clear()

    def _settle(self, job: Job, result: Any) -> None:
        if job.then is not None:
            job.then(result)
        if not job.done.done():
            job.done.set_result(result)

    async def _tidy(self) -> None:
        """Steps of housekeeping while nobody waits; when appends wait for space, until there is none left to free."""
        while housekeeping.due(self._store) or self._full:
            kept = {
                # Taken on the loop: refining looks at the same memory, and may make room in it.
                name: self._store.identities[name].snapshot()
                for name in housekeeping.wanted(self._store, pressed=self._full)
            }
            deleted = await self._on_thread(tidy, self._store, kept, self._full)
            if (
                not self._full
            ):  # the disk is full for the tidying alone: nobody waits, and the next append says it
                self._store.room.condition = None
            if self._full and deleted:
                await self._flush()
            elif self._jobs or not deleted:
                return

    async def _on_thread(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """A step on the writer's thread. Never abandoned: what was begun on the disk must be known to its end."""
        running = asyncio.get_running_loop().run_in_executor(self._thread, step, *arguments)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            raise

    def _fail(self, error: Exception) -> None:
        self._failure = (
            f"{self._store.path}: the disk failed under the buffer ({error}). Nothing more is acknowledged; "
            "check the disk and start again: what was acknowledged is decided by what reads back."
        )
        log.critical(self._failure)
        if isinstance(error, sqlite3.DatabaseError) and _corrupt(error):
            suspect_path(self._store.path).touch()
        self._refuse_rest(JournalFailed(self._failure))

    def _refuse_rest(self, error: JournalFailed) -> None:
        for job in self._jobs:
            if not job.done.done():
                job.done.set_exception(JournalFailed(*error.args))
        self._jobs.clear()


def _hurries(job: Job) -> bool:
    return job.urgent or (job.pressing is not None and job.pressing.is_set())


def _corrupt(error: sqlite3.Error) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
