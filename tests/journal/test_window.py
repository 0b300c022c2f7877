"""When the SQLite journal commits, on a clock that only the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.clock import SystemClock
from adapters.pressing import Pressing
from collector.journal.base import JournalFailed
from collector.journal.sqlite import SqliteJournal, open_journal
from collector.journal.store import Store
from tests.contracts.journal import append, following, noise, seen_by
from tests.fakes import FakeClock, eventually


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the transactions, as they are committed."""
    sizes: list[int] = []
    group = Store.group

    def counting(self: Store, works: Any) -> list[Any]:
        results = group(self, works)
        sizes.append(len(works))
        return results

    monkeypatch.setattr(Store, "group", counting)
    return sizes


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def journal(tmp_path: Path, clock: FakeClock, groups: list[int]) -> AsyncIterator[SqliteJournal]:
    async with open_journal(tmp_path / "j.db", followers=["sink"], clock=clock, window=0.2) as journal:
        groups.clear()
        yield journal


async def test_the_first_append_is_committed_at_once(journal: SqliteJournal, groups: list[int]) -> None:
    await append(journal, [1.0])
    assert groups == [1]


async def test_appends_within_the_window_share_one_commit(
    journal: SqliteJournal, clock: FakeClock, groups: list[int]
) -> None:
    await append(journal, [1.0])
    async with asyncio.TaskGroup() as tasks:
        jobs = [tasks.create_task(append(journal, [n], source=f"s{n}")) for n in range(5)]
        await eventually(lambda: clock.sleeping == 1)
        clock.advance(0.19)
        await asyncio.sleep(0.02)
        assert not any(job.done() for job in jobs)
        clock.advance(0.02)
    assert groups == [1, 5]


async def test_a_quiet_window_before_means_at_once(
    journal: SqliteJournal, clock: FakeClock, groups: list[int]
) -> None:
    for n in range(3):
        await append(journal, [n])
        clock.advance(0.25)
    assert groups == [1, 1, 1]


async def test_a_pressing_delivery_does_not_wait(journal: SqliteJournal, groups: list[int]) -> None:
    await append(journal, [1.0])
    pressing = Pressing()
    pressing.set()
    await append(journal, [2.0], pressing=pressing)
    assert groups == [1, 1]


async def test_pressing_while_it_waits_commits_all_that_wait(
    journal: SqliteJournal, clock: FakeClock, groups: list[int]
) -> None:
    await append(journal, [1.0])
    pressing = Pressing()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(append(journal, [2.0], source="a"))
        tasks.create_task(append(journal, [3.0], source="b", pressing=pressing))
        await eventually(lambda: clock.sleeping == 1)
        assert groups == [1]
        pressing.set()
    assert groups == [1, 2]


async def test_a_large_delivery_does_not_wait(journal: SqliteJournal, groups: list[int]) -> None:
    await append(journal, [1.0])
    await append(journal, noise(60_000))
    assert groups == [1, 1]


async def test_a_live_follower_shares_the_commit_of_the_next_append(
    journal: SqliteJournal, clock: FakeClock, groups: list[int]
) -> None:
    slices = following(journal, "sink")
    await append(journal, [1.0])
    assert seen_by([await anext(slices)]) == [1.0]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(journal.commit("sink", 1))
        tasks.create_task(append(journal, [2.0]))
        await eventually(lambda: clock.sleeping == 1)
        clock.advance(0.2)
    assert groups == [1, 2]
    await slices.aclose()


async def test_a_follower_with_a_backlog_does_not_wait(journal: SqliteJournal, groups: list[int]) -> None:
    pressing = Pressing()
    pressing.set()
    for n in range(4):
        await append(journal, [n], pressing=pressing)
    slices = following(journal, "sink", values=1)
    groups.clear()
    for n in range(3):
        assert (await anext(slices)).position == n + 1
        await journal.commit("sink", n + 1)
    assert groups == [1, 1, 1]
    await slices.aclose()


async def test_what_waits_is_committed_when_the_journal_is_closed(tmp_path: Path, clock: FakeClock) -> None:
    async with asyncio.TaskGroup() as tasks:
        async with open_journal(tmp_path / "j.db", followers=["sink"], clock=clock) as journal:
            await append(journal, [1.0])
            waiting = tasks.create_task(append(journal, [2.0]))
            await eventually(lambda: clock.sleeping == 1)
        assert await waiting == 2
    async with open_journal(tmp_path / "j.db", followers=["sink"], clock=clock) as journal:
        assert (await journal.ledger()).tail == 2


async def test_a_mistake_of_ours_ends_the_writer_and_leaves_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for a commit is refused, and closing comes to its end."""

    def broken(*_: object) -> None:
        raise TypeError("a bug")

    async def work() -> None:
        async with open_journal(tmp_path / "j", followers=["sink"], clock=SystemClock()) as journal:
            monkeypatch.setattr("collector.journal.writer.flush", broken)
            with pytest.raises(JournalFailed):
                await append(journal, [1.0])

    async with asyncio.timeout(120):
        with pytest.raises((TypeError, ExceptionGroup)):
            await work()


async def test_a_follower_at_the_tail_is_given_much_at_once_and_not_every_commit(
    journal: SqliteJournal, clock: FakeClock
) -> None:
    """A source that presses commits at once, every time; the sink still writes once per window."""
    slices = following(journal, "sink")
    pressing = Pressing()
    pressing.set()
    await append(journal, [0.0], pressing=pressing)
    assert seen_by([await anext(slices)]) == [0.0]  # after a quiet time nothing waits
    async with asyncio.TaskGroup() as tasks:
        for n in range(1, 6):
            await append(journal, [n], pressing=pressing)
        waiting = tasks.create_task(anext(slices))
        await eventually(lambda: clock.sleeping >= 1)
        clock.advance(0.19)
        await asyncio.sleep(0.02)
        assert not waiting.done()
        await append(journal, [6.0], pressing=pressing)
        clock.advance(0.02)
        assert seen_by([await waiting]) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    await slices.aclose()


async def test_a_follower_does_not_wait_for_more_when_there_is_enough_or_the_end_is_near(
    journal: SqliteJournal,
) -> None:
    """Without any time passing: as many values as a slice takes, and everything after `hurry`."""
    slices = following(journal, "sink", values=3)
    pressing = Pressing()
    pressing.set()
    await append(journal, [0.0], pressing=pressing)
    await anext(slices)
    await append(journal, [1.0, 2.0, 3.0], pressing=pressing)
    assert seen_by([await asyncio.wait_for(anext(slices), 60)]) == [1.0, 2.0, 3.0]
    await append(journal, [4.0], pressing=pressing)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(anext(slices))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        journal.hurry()
        assert seen_by([await asyncio.wait_for(waiting, 60)]) == [4.0]
    await asyncio.wait_for(append(journal, [5.0]), 60)  # the window does not hold it up either
    assert seen_by([await asyncio.wait_for(anext(slices), 60)]) == [5.0]
    await asyncio.wait_for(journal.commit("sink", journal.tail.position), 60)
    await slices.aclose()
