"""One source over MQTT and the whole line behind it: broker -> adapter -> refinement -> journal, under the supervisor.

What was stored is read back from the journal's file, by another reader than the one that wrote it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from adapters.base import Delivery
from adapters.clock import Clock, SystemClock
from adapters.errors import AdapterError
from adapters.mqtt.source import MqttBroker
from collector.health import Health
from collector.journal.reader import JournalReader
from collector.journal.sqlite import SqliteJournal, open_journal
from collector.line import intake
from collector.supervisor import Job, Supervisor
from pipelines.batch import Flag
from pipelines.refinery import refinery
from pipelines.stage import Gap, Refined, Treatments
from tests.contracts.rig import eventually
from tests.mqtt.peers import Shop


class Cell(NamedTuple):
    """One stored row."""

    signal: str
    at: int
    value: Any
    flags: int


class Line:
    """The running line of one source `b`. `gate`: cleared, nothing is journaled, as with a full disk."""

    def __init__(self, journal: SqliteJournal, source: MqttBroker, path: Path, pauses: Clock) -> None:
        self.journal, self.source, self.health = journal, source, Health()
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0  # deliveries before the gate
        self.attempts: list[float] = []
        self.ends: list[AdapterError] = []
        self._path, self._pauses = path, pauses
        self._supervisor = Supervisor(self.health, pauses, random.Random(7))

    async def run(self) -> None:
        await self._supervisor.keep(Job("b", "source", self._live, self.source.machines))

    async def _live(self, connected: Any) -> None:
        self.attempts.append(self._pauses.monotonic())
        journal: Any = _Gated(self)
        try:
            await intake(self.source, refinery(self.journal.registry, Treatments()), journal, connected)
        except AdapterError as error:
            self.ends.append(error)
            raise

    async def block(self) -> None:
        """From now on nothing is journaled but what the session began with."""
        await eventually(lambda: self.journal.checkpoint("b") is not None, "the beginning is stored")
        self.gate.clear()

    @property
    def state(self) -> str:
        return self.health["b"].state.value

    @property
    def facts(self) -> dict[str, str]:
        return dict(self.health["b"].facts)

    @property
    def error(self) -> str:
        return self.health["b"].error

    def rows(self) -> list[Cell]:
        with JournalReader(self._path) as reader:
            entries = list(reader.entries())
            registry = reader.registry_of(entry.batch for entry in entries)
            return [
                Cell(registry[point].name, *cells)
                for entry in entries
                for point, *cells in zip(
                    *(
                        column.tolist()
                        for column in (
                            entry.batch.points,
                            entry.batch.at,
                            entry.batch.values,
                            entry.batch.flags,
                        )
                    ),
                    strict=True,
                )
            ]

    def values(self) -> list[Any]:
        """What a database holds after all of it was written: one value per signal and time; in their order there."""
        held = {(row.signal, row.at): row.value for row in self.rows() if not row.flags & Flag.NO_VALUE}
        return [held[key] for key in sorted(held)]

    async def has(self, n: int) -> None:
        async with asyncio.timeout(300):
            while len(self.values()) < n:
                await asyncio.sleep(0.02 + n / 10_000)

    async def gaps(self) -> list[Gap]:
        return [stored.gap for stored in await self.journal.gaps()]

    async def unaccounted(self) -> int:
        return (await self.journal.ledger()).unaccounted


class _Gated:
    def __init__(self, line: Line) -> None:
        self._line = line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._line.journal, name)

    async def append(self, source: str, delivery: Delivery, refined: Refined) -> int:
        self._line.waiting += bool(delivery.decoded)
        await self._line.gate.wait()
        self._line.waiting = 0
        return await self._line.journal.append(source, delivery, refined)


@asynccontextmanager
async def line(
    folder: Path,
    port: int,
    *reads: Mapping[str, Any],
    pauses: Clock | None = None,
    up: bool = True,
    **settings: Any,
) -> AsyncIterator[Line]:
    """The line, running; at the end stopped, and its books balanced. pauses: the supervisor's clock."""
    clock, path = SystemClock(), folder / f"{settings.get('client_id', 'b')}.sqlite"
    async with open_journal(path, followers=["database"], clock=clock, window=0.0) as journal:
        shop = Shop(port, journal.registry, clock)
        running = Line(journal, shop.source(*reads, **settings), path, pauses or clock)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(running.run())
            await asyncio.sleep(0)  # it is on the health board now
            try:
                if up:
                    await eventually(lambda: running.state == "connected", "the source connects")
                yield running
            finally:
                task.cancel()
        assert await running.unaccounted() == 0
