"""Keeps jobs alive: the only place that retries, and the only broad `except` of the code base.

Jobs are independent: what one raises is logged, shown on the health board and tried again with back-off, and no other
job notices. The one exception is a journal that failed: no acknowledgement may follow, so it ends the process.
The log gets the edges (lost, back), not the level: a machine that is off all weekend is two lines, not 60,000.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from adapters.base import Telling
from adapters.clock import Clock
from adapters.errors import AdapterError, Misconfigured, Throttled
from collector.health import Health, JobHealth, State
from collector.journal.base import JournalFailed
from collector.words import duration_words, with_remedy
from pipelines.registry import KindConflict

log = logging.getLogger("collector")

Connected = Callable[[Telling | None], None]
Edge = Callable[[bool], Awaitable[None]]
Result = TypeVar("Result")

NEWS = 5
"""Different errors that are told while a job is down; what changes with every attempt must not fill the log."""


async def _nobody(_up: bool) -> None:
    """Default edge listener."""


async def _nothing() -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Job:
    """run: connects, calls `connected` once, and works until something is lost. edge: told up (True) and down (False).

    missing: asked when it is back: what was lost meanwhile, in words ("3 values missing"), or nothing.
    """

    name: str
    role: str
    run: Callable[[Connected], Awaitable[None]]
    machines: tuple[str, ...] = ()
    slowest: float = (
        4.0  # seconds between two attempts, at most: a machine that is switched on is back within these
    )
    edge: Edge = field(default=_nobody)
    missing: Callable[[], Awaitable[str]] = field(default=_nothing)


class Supervisor:
    """Runs `keep` once per job, each in a task of its own."""

    def __init__(self, health: Health, clock: Clock, chance: random.Random | None = None) -> None:
        self._health, self._clock = health, clock
        self._chance = chance or random.Random()  # noqa: S311 - jitter, not a secret

    async def keep(self, job: Job) -> None:
        """Run the job for ever. Returns only by cancellation; raises only JournalFailed."""
        self._health.put(
            JobHealth(job.name, job.role, State.STARTING, self._clock.now(), machines=job.machines)
        )
        pauses = self._pauses(job.slowest)
        lost_at: float | None = None
        told: set[str] = set()
        while True:
            life = _Life(self, job, lost_at)
            error = await self._live(job, life)
            if life.up:
                await job.edge(False)
            if life.lasted >= 10.0:
                pauses = self._pauses(job.slowest)
            lost_at = self._clock.monotonic() if life.up or lost_at is None else lost_at
            if life.up:
                told.clear()
            await self._pause(job, error, told, pause=next(pauses))

    async def _live(self, job: Job, life: _Life) -> BaseException:
        """One life of a job, and what ended it."""
        if self._health[job.name].state is not State.NEEDS_ATTENTION:  # a slow retry is no news
            self._health.change(job.name, State.CONNECTING, self._clock.now())
        try:
            error = await attempted(life.lived())
        except asyncio.CancelledError:
            self._health.change(job.name, State.STOPPED, self._clock.now())
            raise
        return AdapterError("it ended by itself") if error is None else cause_of(error)

    async def _pause(self, job: Job, error: BaseException, told: set[str], *, pause: float) -> None:
        """told: what was said since it went down. Refused, then a wrong password: that is news; refused again is not."""
        attention = isinstance(error, (Misconfigured, KindConflict))
        words = f"{type(error).__name__}: {error}"
        if words not in told and len(told) < NEWS:
            told.add(words)
            _log_lost(job, error)
        state = State.NEEDS_ATTENTION if attention else State.WAITING
        self._health.change(
            job.name,
            state,
            self._clock.now(),
            attempts=self._health[job.name].attempts + 1,
            error=str(error) or type(error).__name__,
            remedy=getattr(error, "remedy", ""),
        )
        wait = error.wait if isinstance(error, Throttled) else max(pause, 15.0 if attention else 0.0)
        await self._clock.sleep(wait)

    def _pauses(self, slowest: float) -> Iterator[float]:
        """0.25 s, doubled up to `slowest`, each shortened by up to a half at random so that jobs do not march in step."""
        step = 0.25
        while True:
            yield min(step, slowest) * (0.5 + self._chance.random() / 2)
            step = min(step * 2, slowest)

    def now(self) -> float:
        return self._clock.monotonic()

    def mark_up(self, job: Job, session: Telling | None) -> None:
        facts = {} if session is None else session.facts  # as they are now, and as they become
        self._health.change(
            job.name, State.CONNECTED, self._clock.now(), attempts=0, error="", remedy="", facts=facts
        )


class _Life:
    """One attempt of one job: knows whether it came up and how long that lasted."""

    def __init__(self, supervisor: Supervisor, job: Job, lost_at: float | None) -> None:
        self._supervisor, self._job, self._lost_at = supervisor, job, lost_at
        self._since = 0.0
        self.up = False
        self._edges: asyncio.TaskGroup | None = None

    async def lived(self) -> None:
        """From the attempt to its end."""
        try:
            async with asyncio.TaskGroup() as edges:
                self._edges = edges
                await self._job.run(self.connected)
        finally:
            self._say_back()

    def connected(self, session: Telling | None) -> None:
        self.up, self._since = True, self._supervisor.now()
        self._supervisor.mark_up(self._job, session)
        if self._lost_at is None:
            log.info("%s: connected", self._job.name)
        if self._edges is not None:
            self._edges.create_task(_edge_up(self._job))
            self._edges.create_task(self._back())

    async def _back(self) -> None:
        """The line waits for what the source says of its absence, at most as long as this life."""
        if self._lost_at is not None:
            self._say_back(await self._job.missing())

    def _say_back(self, missing: str = "") -> None:
        """The other edge of the log, once."""
        if not self.up or self._lost_at is None:
            return
        away = duration_words(self._since - self._lost_at)
        log.info("%s: back after %s%s", self._job.name, away, f", {missing}" if missing else "")
        self._lost_at = None

    @property
    def lasted(self) -> float:
        return self._supervisor.now() - self._since if self.up else 0.0


async def _edge_up(job: Job) -> None:
    await job.edge(True)


def cause_of(error: BaseException) -> BaseException:
    """The error that matters in a group: a failed journal first, then an adapter's word, then whatever came first."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [cause_of(inner) for inner in error.exceptions]
    for wanted in (JournalFailed, AdapterError):
        for leaf in leaves:
            if isinstance(leaf, wanted):
                return leaf
    return leaves[0]


def _log_lost(job: Job, error: BaseException) -> None:
    if isinstance(error, (AdapterError, KindConflict)):
        remedy = getattr(error, "remedy", "")
        log.warning("%s: %s", job.name, with_remedy(error, remedy))
    else:
        log.error(
            "%s: stopped by an error that nobody foresaw; it is started again", job.name, exc_info=error
        )


async def attempted(work: Coroutine[Any, Any, Result]) -> Result | Exception:
    """What `work` returned or raised: for one life of a job, which ends no other, and for a change to a running collector.

    A journal that failed is raised, as everywhere.
    """
    try:
        return await work
    except Exception as error:  # the one place: see the module's docstring
        if isinstance(cause := cause_of(error), JournalFailed):
            raise cause from error
        _heed()
        return error
    except BaseExceptionGroup as group:
        if not _only_cancelled(group):
            raise
        _heed()
        return TimeoutError("an answer came in the moment in which the wait for it ended")


def _only_cancelled(group: BaseExceptionGroup[BaseException]) -> bool:
    """The wait_for of asyncua raises a subclass of CancelledError when an answer and a cancellation meet; a task group takes that for
    an error of its task, because it looks for CancelledError itself.
    """
    return group.split(asyncio.CancelledError)[1] is None


def _heed() -> None:
    """Raises CancelledError if this task was cancelled: a task group that is ending because of an error and waits for its
    tasks swallows that (Python 3.11 and 3.12), and whoever stops the job would wait for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
