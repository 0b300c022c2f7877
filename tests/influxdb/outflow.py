"""The real way out: journal on disk, `outflow` and supervisor, into whatever sinks a test wants. No sources: rows are appended."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from adapters.base import Delivery, Sink
from adapters.clock import Clock, SystemClock
from collector.health import Health, State
from collector.journal.base import Quarantined, SinkAccount
from collector.journal.sqlite import SqliteJournal, open_journal
from collector.line import outflow
from collector.supervisor import Job, Supervisor
from pipelines.batch import Batch
from pipelines.refinery import refinery
from pipelines.stage import Treatments
from tests.fakes import FakeClock

SOURCE = "press"


@dataclass(frozen=True, slots=True)
class Line:
    """A journal and who empties it."""

    journal: SqliteJournal
    health: Health
    tasks: asyncio.TaskGroup
    supervisor: Supervisor
    running: list[asyncio.Task[None]] = field(default_factory=list)

    async def append(self, batches: Sequence[Batch]) -> None:
        refine = refinery(self.journal.registry, Treatments())
        refined = refine(batches, self.journal.identity(SOURCE))
        await self.journal.append(SOURCE, Delivery(batches, sum(map(len, batches))), refined)

    def start(self, sink: Sink) -> asyncio.Task[None]:
        job = Job(sink.name, "sink", lambda connected: outflow(self.journal, sink, connected))
        task = self.tasks.create_task(self.supervisor.keep(job))
        self.running.append(task)
        return task

    async def account(self, name: str) -> SinkAccount:
        return (await self.journal.ledger()).sinks[name]

    async def drained(self, name: str, patience: float = 120.0) -> SinkAccount:
        """Waits until the sink has everything."""
        async with asyncio.timeout(patience):
            while (account := await self.account(name)).pending:
                await asyncio.sleep(0.005)
        assert account.unaccounted == 0
        return account

    async def drained_after(self, name: str, pauses: FakeClock, step: float = 4.0) -> float:
        """As `drained`, letting the supervisor's time pass: how much of it, in s."""
        passed = 0.0
        async with asyncio.timeout(120):
            while (await self.account(name)).pending:
                if pauses.sleeping:
                    pauses.advance(step)
                    passed += step
                await asyncio.sleep(0.005)
        return passed

    async def quarantined(self) -> Sequence[Quarantined]:
        return await self.journal.quarantined()

    def state(self, name: str) -> State:
        return self.health[name].state


@asynccontextmanager
async def line(folder: Path, followers: Sequence[str], pauses: Clock | None = None) -> AsyncIterator[Line]:
    """pauses: the clock of the supervisor alone."""
    health = Health()
    clock = SystemClock()
    supervisor = Supervisor(health, pauses or clock, random.Random(1))
    async with (
        open_journal(folder / "journal.db", followers=followers, clock=clock, window=0.0) as journal,
        asyncio.TaskGroup() as tasks,
    ):
        running = Line(journal, health, tasks, supervisor)
        try:
            yield running
        finally:
            for task in running.running:
                task.cancel()
