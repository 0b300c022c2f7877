"""One source, and somebody beside it who appends under its name: what both say at once is stored once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from adapters.base import Delivery
from collector.backfill import backfill
from collector.journal.base import Journal
from collector.journal.sqlite import open_journal
from collector.line import intake
from collector.quarantine import Keeper
from pipelines.batch import Kind, Point, batch_of
from pipelines.refinery import refinery
from pipelines.stage import Gap, Reason, Refusal, Treatments
from tests.fakes import FakeClock

START = 1_790_000_000_000_000_000


class Machine:
    """Says one value, remembers it, and has it in a message that was once refused; `said`: it was handed over."""

    name = "plc"
    signals = done = 1
    troubles: Mapping[str, str] = {}

    def __init__(self, journal: Journal) -> None:
        point = journal.registry.intern(Point("m", "a", Kind.NUMBER))
        batch = batch_of(Kind.NUMBER, [point], [START], [1.0], received=START)
        self.delivery = Delivery([batch], 1)

    async def _once(self) -> AsyncIterator[Delivery]:
        yield self.delivery

    @asynccontextmanager
    async def session(self, _resume: bytes | None) -> AsyncIterator[Any]:
        yield self._once()

    @asynccontextmanager
    async def recall(self, _begins: int, _ends: int) -> AsyncIterator[Any]:
        yield _Recall(self._once())

    def reread(self, _where: str, _raw: bytes, _at: int) -> Delivery:
        return self.delivery


class _Recall:
    signals = done = 1
    troubles: Mapping[str, str] = {}

    def __init__(self, deliveries: AsyncIterator[Delivery]) -> None:
        self._deliveries = deliveries

    def __aiter__(self) -> AsyncIterator[Delivery]:
        return self._deliveries


async def test_what_comes_live_and_from_the_history_at_once_is_stored_once(tmp_path: Path) -> None:
    """Between the look at what is known and the commit lies the window of the buffer: a quarter of a second."""
    async with open_journal(
        tmp_path / "buffer.sqlite", followers=["sink"], clock=FakeClock(), window=0.0
    ) as journal:
        machine: Any = Machine(journal)
        refine = refinery(journal.registry, Treatments())
        refusal = Refusal("topic", "not to be read then", b"1", START)
        await journal.append("plc", Delivery((), 1, [refusal]), refine((), journal.identity("plc")))
        keeper = Keeper(journal, {"plc": machine}, refine)

        async def recalled() -> None:
            async for _ in backfill(machine, refine, journal, START, START + 1):
                pass

        async def replayed() -> None:
            (one,) = await journal.quarantined()
            await keeper._read_again("plc", [one], {"read_again": 0, "stored": 0, "refused": 0})

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(intake(machine, refine, journal, lambda _: None))
            tasks.create_task(recalled())
            tasks.create_task(replayed())
        account = (await journal.ledger()).sources["plc"]
    assert (account.journaled, account.filtered[Reason.DUPLICATE]) == (1, 2), account
    assert account.unaccounted == 0


async def test_gaps_are_told_as_repaired_however_many_came_since(tmp_path: Path) -> None:
    async with open_journal(
        tmp_path / "buffer.sqlite", followers=["sink"], clock=FakeClock(), window=0.0
    ) as journal:
        machine: Any = Machine(journal)
        refine = refinery(journal.registry, Treatments())
        lost = [Gap(START - 1 - n, START - n, "connection_lost") for n in range(1200)]
        nothing = refine((), journal.identity("plc"))
        await journal.append(
            "plc", Delivery((), 0, gaps=(Gap(START, START + 1, "connection_lost"), *lost)), nothing
        )
        *_, last = [done async for done in backfill(machine, refine, journal, START, START + 2)]
        *_, verdict = await journal.gaps()
    assert (last.repaired, verdict.gap.reason, verdict.gap.count) == (1, "repaired", 1)
