"""One running collector, from open to closed: the order in which things start, and the order in which they stop.

Start: lock and open the buffer, state the downtime, then every job at once. Stop: sources first (nothing new comes in),
then the sinks get a grace period to drain, then the history seals the rest; what is left stays in the buffer for next time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from adapters.base import Archive, Sink, Source
from adapters.clock import Clock, SystemClock
from collector.assembly import Line, assemble, followers
from collector.facts import Edges, Facts, Watching
from collector.health import Health
from collector.journal.base import Journal
from collector.line import archival, archive_rest, intake, outflow
from collector.supervisor import Connected, Job, Supervisor
from config.settings import Settings

log = logging.getLogger("collector")

DRAIN = 10.0
"""Seconds that the sinks have to store what is in the buffer when the collector stops."""


@dataclass(frozen=True, slots=True)
class Running:
    """A collector at work: what views and commands may look at."""

    line: Line
    journal: Journal
    health: Health
    clock: Clock
    state_dir: Path


class Plant:
    """Runs the jobs of a line under one supervisor and stops them in the order of the flow."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._supervisor = Supervisor(running.health, running.clock)
        self._facts = Facts(running.journal, running.clock, running.line.refine())

    async def work(self, stop: asyncio.Event) -> None:
        """Until `stop` is set and everything is drained or the grace period is over. Raises JournalFailed."""
        await self._facts.started()
        line, journal = self._running.line, self._running.journal
        async with asyncio.TaskGroup() as tasks:
            keep = self._supervisor.keep
            sources = [tasks.create_task(keep(self._source_job(source))) for source in line.sources]
            sources.append(tasks.create_task(self._facts.alive()))
            sinks = [tasks.create_task(keep(_sink_job(journal, sink))) for sink in line.sinks]
            if line.archive is not None:
                sinks.append(tasks.create_task(keep(_archive_job(journal, line.archive))))
            await stop.wait()
            await _cancel(sources)
            await self._drained()
            await _cancel(sinks)
            if line.archive is not None:
                await archive_rest(journal, line.archive)

    def _source_job(self, source: Source) -> Job:
        edges = Edges(source.name, self._facts)
        version = partial(getattr, self._running.line.registry, "version")

        async def run(connected: Connected) -> None:
            refine = Watching(self._running.line.refine(), edges.seen, version)
            await intake(source, refine, self._running.journal, connected)

        return Job(source.name, "source", run, machines=source.machines, edge=edges)

    async def _drained(self) -> None:
        """Returns when every connected sink has everything, or after the grace period with a word about the rest."""
        names = [sink.name for sink in self._running.line.sinks]
        deadline = self._running.clock.monotonic() + DRAIN
        while names and self._running.clock.monotonic() < deadline:
            ledger = await self._running.journal.ledger()
            names = [name for name in names if ledger.sinks[name].pending]
            if names:
                await self._running.clock.sleep(0.05)
        for name in names:
            log.warning(
                "%s: not everything is stored yet; the rest stays in the buffer for the next start", name
            )


def _sink_job(journal: Journal, sink: Sink) -> Job:
    return Job(sink.name, "sink", partial(outflow, journal, sink), slowest=15.0)


def _archive_job(journal: Journal, archive: Archive) -> Job:
    async def run(connected: Connected) -> None:
        connected(None)
        await archival(journal, archive)

    return Job(archive.name, "archive", run, slowest=15.0)


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks) if tasks else None


@asynccontextmanager
async def open_running(settings: Settings, clock: Clock | None = None) -> AsyncIterator[Running]:
    """The buffer opened and everything built; nothing connects before `Plant.work`."""
    from collector.journal.sqlite import open_journal

    clock = clock or SystemClock()
    state_dir = _private_folder(Path(settings.state))
    async with AsyncExitStack() as stack:
        journal = await stack.enter_async_context(
            open_journal(
                settings.buffer_file,
                followers=followers(settings),
                clock=clock,
                window=settings.buffer.window,
                max_bytes=settings.buffer.max,
                min_free=settings.buffer.min_free,
            )
        )
        line = assemble(settings, journal.registry, clock, state_dir)
        yield Running(line, journal, Health(), clock, state_dir)


def _private_folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path
