"""The runner (collector/derive.py): what it stores when, what it does after a restart, and what it says when it cannot."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest

from adapters.base import Delivery
from collector.derive import IDLE, PRESSED, Build, derive, recalled
from collector.journal.base import Journal, Standing
from collector.journal.memory import MemoryJournal
from pipelines.batch import Batch, Flag, Kind, Point, batch_of
from pipelines.derivation import Derivation, Derived, Made, Reads, rows_of
from pipelines.derivations.counter import Counter, Counters
from pipelines.registry import Registry
from pipelines.stage import Remark
from tests.contracts.journal import NOTHING, append, take
from tests.fakes import FakeClock, eventually

NAME = "derived.counter"
S = 1_000_000_000
T0 = 1_700_000_000 * S


def counter(journal: Journal) -> Build:
    return partial(Counters, journal.registry, [Counter("m1", "count", "made")])


async def count(journal: Journal, *readings: tuple[int, int]) -> None:
    """Readings (second, value) as one append of the source `plc`."""
    point = journal.registry.intern(Point("m1", "count", Kind.INTEGER))
    for second, value in readings:
        batch = batch_of(Kind.INTEGER, [point], T0 + second * S, [value], received=T0)
        await journal.append("plc", Delivery([batch], 1), NOTHING._replace(batches=[batch]))


@asynccontextmanager
async def at_work(journal: Journal, *builds: Build, every: int = 1000) -> AsyncIterator[None]:
    clock = journal.clock if isinstance(journal, MemoryJournal) else FakeClock()
    async with asyncio.TaskGroup() as tasks:
        jobs = [tasks.create_task(derive(journal, build, clock, lambda _: None, every)) for build in builds]
        yield
        for job in jobs:
            job.cancel()


async def made(journal: Journal, name: str = "made") -> list[int]:
    tail = (await journal.ledger()).tail
    found = await take(journal, "sink", tail)
    rows = [row for one in found for batch in one.batches for row in rows_of(batch)]
    return [row.value for row in rows if journal.registry[row.point].name == name]


def passed(journal: MemoryJournal, name: str = NAME) -> Callable[[], bool]:
    return lambda: journal._cursors[name].position >= journal.tail.position


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal(followers=["sink", NAME, "derived.total"], clock=FakeClock())


@pytest.mark.parametrize("every", [1, 3, 1000])
async def test_a_restart_goes_on_where_it_was(journal: MemoryJournal, every: int) -> None:
    expected = []
    for life in range(4):
        await count(journal, *((life * 10 + k, life * 100 + k * k) for k in range(5)))
        expected += [*([100 - 16] if life else []), 1, 3, 5, 7]
        async with at_work(journal, counter(journal), every=every):
            await eventually(passed(journal))
    assert await made(journal) == expected
    assert (await journal.ledger()).unaccounted == 0


async def test_the_first_step_stores_a_snapshot_and_then_one_now_and_then(journal: MemoryJournal) -> None:
    """Every 30 values here, or as many as there are bytes in the last one by four, whichever is more."""
    covered: set[int] = set()
    async with at_work(journal, counter(journal), every=30):
        for k in range(100):
            await count(journal, (k, 5))  # nothing is made: only the cursor moves
            await eventually(passed(journal))
            covered.add((await journal.standing(NAME)).covered)
    size = len((await journal.standing(NAME)).snapshot or b"")
    assert covered == set(range(1, 101, max(30, size // 4)))


async def test_a_snapshot_is_stored_when_nothing_new_comes(journal: MemoryJournal) -> None:
    clock = journal.clock
    assert isinstance(clock, FakeClock)
    async with at_work(journal, counter(journal)):
        await count(journal, (0, 1), (1, 2))
        await eventually(passed(journal))
        await count(journal, (2, 2))
        await eventually(passed(journal))
        before = await journal.standing(NAME)
        await eventually(lambda: clock.sleeping > 0)
        clock.advance(IDLE)
        await eventually(lambda: journal._cursors[NAME].covered == before.cursor)
    assert before.covered < before.cursor


async def test_a_full_buffer_that_waits_for_us_gets_a_snapshot() -> None:
    """Long before the next one is due: everything that it holds is behind our last one."""
    clock = FakeClock()
    journal = MemoryJournal(followers=[NAME], clock=clock, max_values=40)
    async with asyncio.TaskGroup() as tasks, at_work(journal, counter(journal), every=1_000_000):
        feeding = tasks.create_task(count(journal, *((k, k % 7) for k in range(400))))
        while not feeding.done():
            await eventually(lambda: feeding.done() or (journal.pressed.is_set() and clock.sleeping > 1))
            clock.advance(PRESSED)
    assert (await journal.ledger()).unaccounted == 0


async def test_a_snapshot_that_does_not_read_back_is_made_anew(
    journal: MemoryJournal, caplog: pytest.LogCaptureFixture
) -> None:
    await count(journal, (0, 1), (1, 4))
    await journal.append_derived(NAME, 2, Delivery((), 0), NOTHING, b"junk")
    await count(journal, (2, 9))
    with caplog.at_level(logging.WARNING):
        async with at_work(journal, counter(journal)):
            await eventually(passed(journal))
    assert await made(journal) == [5]
    assert "does not read back" in caplog.text


async def test_a_memory_whose_beginning_was_dropped_is_not_trusted(caplog: pytest.LogCaptureFixture) -> None:
    """An old memory would count again what was counted already: better nothing than twice."""
    journal = MemoryJournal(followers=[NAME], clock=FakeClock())
    build = counter(journal)
    await count(journal, (0, 0))
    old = build()
    old.feed([])
    await count(journal, *((k, k) for k in range(1, 9)))
    await journal.commit(NAME, 6)  # without a snapshot nothing is held: 1 to 6 are gone
    with caplog.at_level(logging.WARNING):
        derivation = await recalled(journal, build, Standing(8, 2, old.snapshot()))
    assert "was dropped from the buffer" in caplog.text
    fresh = build()
    fresh.feed([entry.batch for entry in (await journal.behind(NAME, 0, last=8)).entries])
    assert derivation.snapshot() == fresh.snapshot()


async def test_late_rows_are_counted_in_the_account(journal: MemoryJournal) -> None:
    async with at_work(journal, counter(journal)):
        await count(journal, (5, 10), (3, 8), (6, 11))
        await eventually(passed(journal))
    account = (await journal.ledger()).sources[NAME]
    assert account.remarks == {Remark.LATE: 1}
    assert (account.decoded, account.journaled) == (1, 1)


async def test_what_others_append_is_passed_over(journal: MemoryJournal) -> None:
    async with at_work(journal, counter(journal)):
        await append(journal, [1.0, 2.0], source="s1")
        await count(journal, (0, 1), (1, 3))
        await append(journal, [3.0], source="s1")
        await eventually(passed(journal))
    assert await made(journal) == [2]


class Total:
    """A derivation of a derivation: the running sum of the increments."""

    def __init__(self, registry: Registry) -> None:
        self._registry, self._sum = registry, 0
        self.name, self.reads = "total", Reads(frozenset(), frozenset({"counter"}))

    def feed(self, batches: Sequence[Batch]) -> Derived:
        made = Made(self._registry)
        point = self._registry.intern(Point("m1", "total", Kind.INTEGER))
        for row in (row for batch in batches if batch.kind is Kind.INTEGER for row in rows_of(batch)):
            assert row.flags & Flag.DERIVED
            self._sum += row.value
            made.put(point, row.at, self._sum, received=row.received)
        return Derived(made.batches() if self._sum else (), {})

    def snapshot(self) -> bytes:
        return str(self._sum).encode()

    def restore(self, snapshot: bytes) -> None:
        self._sum = int(snapshot)


async def test_a_derivation_may_read_another(journal: MemoryJournal) -> None:
    def total() -> Derivation:
        return Total(journal.registry)

    async with at_work(journal, counter(journal), total):
        await count(journal, (0, 1), (1, 3), (2, 7))
        await eventually(lambda: passed(journal)() and passed(journal, "derived.total")())
        await eventually(lambda: journal.registry.latest("m1", "total") is not None)
    async with at_work(journal, counter(journal), total):
        await count(journal, (3, 8))
        await eventually(lambda: passed(journal)() and passed(journal, "derived.total")())
    assert await made(journal) == [2, 4, 1]
    assert await made(journal, "total") == [2, 6, 7]
