"""One running collector, from open to closed: the order in which things start, and the order in which they stop.

Start: lock and open the buffer, state the downtime, then every job at once. Stop: sources first (nothing new comes in),
then the sinks get a grace period to drain, then the history seals the rest; what is left stays in the buffer for next time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from adapters.base import Archive, Losing, Sink, Source, Telling
from adapters.clock import Clock, SystemClock
from collector.assembly import Line, assemble, followers
from collector.configured import ConfigState, state_of
from collector.crew import Crew
from collector.derive import Build, derive
from collector.facts import ALIVE_EVERY, Edges, Facts, believed_from
from collector.health import Health
from collector.journal.base import Journal
from collector.journal.waiting import first_of
from collector.jumps import Jumps
from collector.line import archival, archive_rest, intake, outflow
from collector.seen import Watching
from collector.stopping import at_once
from collector.supervisor import Connected, Job, Supervisor
from collector.system import private_folder
from config.settings import Settings
from pipelines.stage import Gap
from pipelines.stages.trust import Limits

log = logging.getLogger("collector")

DRAIN = 10.0
"""Seconds from the wish to stop until the sinks must have stored what is in the buffer, or leave it for the next start."""

LAST_WORDS = 5.0
"""Seconds for what the collector still has to say of itself then: a full disk must not hold up its end."""

SEALING = 5.0
"""Seconds that the history has after that to seal the rest; what it does not seal stays in the buffer too."""


STANDSTILL = 5.0
"""Seconds of standstill that become a gap record: longer than any peer queues for us by default."""


@dataclass(slots=True)
class Running:
    """A collector at work: what views and commands may look at. A reload exchanges `line` and `config`."""

    line: Line
    journal: Journal
    health: Health
    clock: Clock
    state_dir: Path
    config: ConfigState | None = None
    jumps: Jumps | None = None


class Plant:
    """Runs the jobs of a line under one supervisor and stops them in the order of the flow."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._supervisor = Supervisor(running.health, running.clock)
        every = alive_every(running.config)
        refine = running.line.refine()
        self._facts = Facts(
            running.journal,
            running.clock,
            refine,
            every,
            jumps=running.jumps,
            losses=partial(_losses, running),
        )
        self._crew: Crew | None = None
        self._exchanging = asyncio.Lock()
        self.working = asyncio.Event()
        self.stopping = asyncio.Event()

    async def work(self, stop: asyncio.Event) -> None:
        """Until `stop` is set and everything is drained or the grace period is over. Raises JournalFailed."""
        async with asyncio.TaskGroup() as tasks:
            crew = self._crew = Crew(self._supervisor, self._running.health, tasks)
            # Before anything is appended: where no word fits into the buffer any more, these make room.
            crew.begin(job for job in self._jobs() if job.role != "source")
            await first_of(self._lived(crew), stop.wait())
            self.stopping.set()
            crew.close()
            async with self._exchanging:  # whose sessions an exchange is closing are told as lost by it
                await self._end(crew, at_once(stop))

    async def _lived(self, crew: Crew) -> None:
        """The sources at work, and what the collector says of itself, until cancelled."""
        await self._facts.started()
        crew.begin(job for job in self._jobs() if job.role == "source")
        self.working.set()
        await self._facts.alive()

    async def exchange(self, ended: Iterable[str], line: Line, begun: Iterable[str]) -> None:
        """Close the sessions of these, make `line` the line at work, open those. Nobody else notices."""
        if self._crew is None:
            return
        async with self._exchanging:
            await self._crew.end(ended)
            self._running.line = line
            self._crew.begin(job for job in self._jobs() if job.name in set(begun))
            self._crew.forget(ended)

    def keep_time(self) -> None:
        """Another configuration is at work: its signals may be stale sooner, or later."""
        self._facts.alive_every = alive_every(self._running.config)

    def stood(self, seconds: float) -> None:
        """The process stood still for so long: what the machines did meanwhile may be missing, and that is a fact."""
        if seconds >= STANDSTILL and self.working.is_set():
            self._facts.stood(seconds)

    def _jobs(self) -> list[Job]:
        line = self._running.line
        archive = [] if line.archive is None else [_archive_job(self._running.journal, line.archive)]
        sinks = [_sink_job(self._running.journal, sink) for sink in line.sinks]
        derived = [self._derivation_job(name, build) for name, build in line.derivations.items()]
        return [*(self._source_job(source) for source in line.sources), *derived, *sinks, *archive]

    def _derivation_job(self, name: str, build: Build) -> Job:
        run = partial(derive, self._running.journal, build, self._running.clock)
        return Job(name, "derivation", run, slowest=15.0)

    def _source_job(self, source: Source) -> Job:
        edges = Edges(source.name, self._facts)
        version = partial(getattr, self._running.line.registry, "version")

        async def run(connected: Connected) -> None:
            refine = Watching(self._running.line.refine(), edges.seen, version)

            def up(session: Telling | None) -> None:
                edges.back(session)
                connected(session)

            await intake(source, refine, self._running.journal, up)

        missing = partial(self._facts.missing, source.name)
        return Job(source.name, "source", run, machines=source.machines, edge=edges, missing=missing)

    async def _end(self, crew: Crew, hurry: asyncio.Event) -> None:
        deadline = self._running.clock.monotonic() + DRAIN
        await crew.end(crew.named("source"))
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                await first_of(self._facts.ended(), hurry.wait())
        self._running.journal.hurry()
        await first_of(self._drained(deadline), hurry.wait())
        await crew.end(crew.named("derivation", "sink", "archive"))
        archive = self._running.line.archive
        if archive is not None and not hurry.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(SEALING):
                    await first_of(archive_rest(self._running.journal, archive), hurry.wait())

    async def _drained(self, deadline: float) -> None:
        """Returns when every connected sink has everything, or at the deadline with a word about the rest.

        First what is derived: it is something to store too.
        """
        line = self._running.line
        for names in ([*line.derivations], [sink.name for sink in line.sinks]):
            await self._passed(names, deadline)

    async def _passed(self, names: list[str], deadline: float) -> None:
        while names and self._running.clock.monotonic() < deadline:
            ledger = await self._running.journal.ledger()
            names = [name for name in names if name in ledger.sinks and ledger.sinks[name].pending]
            if names:
                await self._running.clock.sleep(0.05)
        for name in names:
            log.warning(
                "%s: not everything is stored yet; the rest stays in the buffer for the next start", name
            )


def _losses(running: Running) -> list[Gap]:
    """Of the sinks at work now."""
    losing = [sink for sink in running.line.sinks if isinstance(sink, Losing)]
    return [gap for sink in losing for gap in sink.take_losses()]


def alive_every(config: ConfigState | None) -> float:
    """Seconds between two ticks: so often that a stale signal is told within half its patience, and within a second."""
    patience = [] if config is None else config.settings.stale_after().values()
    return max(1.0, min([ALIVE_EVERY, *(seconds / 2 for seconds in patience)]))


def _sink_job(journal: Journal, sink: Sink) -> Job:
    return Job(sink.name, "sink", partial(outflow, journal, sink), slowest=15.0)


def _archive_job(journal: Journal, archive: Archive) -> Job:
    async def run(connected: Connected) -> None:
        connected(None)
        await archival(journal, archive)

    return Job(archive.name, "archive", run, slowest=15.0)


@asynccontextmanager
async def open_running(settings: Settings, clock: Clock | None = None) -> AsyncIterator[Running]:
    """The buffer opened and everything built; nothing connects before `Plant.work`."""
    from collector.journal.sqlite import open_journal

    clock = clock or SystemClock()
    state_dir = private_folder(Path(settings.state))
    async with AsyncExitStack() as stack:
        journal = await stack.enter_async_context(
            open_journal(
                settings.buffer_file,
                followers=followers(settings),
                clock=clock,
                window=settings.buffer.window,
                **settings.buffer.bounds(),
            )
        )
        limits = Limits(believed=believed_from(journal))
        line = replace(assemble(settings, journal.registry, clock, state_dir), limits=limits)
        state = state_of(settings, clock.now())
        yield Running(line, journal, Health(), clock, state_dir, state, Jumps(clock))
