"""What leaves the buffer unread, and how it says so: a full buffer that drops, a sink that is released; the forecast."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from collector.journal import recovery, schema, setaside
from collector.journal.base import Range, SinkAccount
from collector.journal.forecast import Forecast
from collector.journal.sqlite import SqliteJournal, open_journal
from collector.journal.store import Store
from pipelines.stage import Refusal
from tests.contracts.journal import START, append, noise, seen_by, take
from tests.fakes import FakeClock, eventually

SMALL = 400_000


@asynccontextmanager
async def opened(path: Path, *followers: str, **options: Any) -> AsyncIterator[SqliteJournal]:
    async with open_journal(
        path, followers=followers, clock=FakeClock(), window=0.0, min_free=0, **options
    ) as one:
        yield one


async def fed(journal: SqliteJournal, count: int, *sources: str) -> dict[str, list[float]]:
    """Pieces of 400 values, the sources in turn; what each has sent."""
    numbers, sent = noise(count), dict[str, list[float]]()
    for n in range(0, count, 400):
        source = sources[n // 400 % len(sources)]
        await append(journal, numbers[n : n + 400], source=source)
        sent.setdefault(source, []).extend(numbers[n : n + 400])
    return sent


def times(values: list[float]) -> tuple[int, int]:
    """Of the values that `append` makes: each says its own time."""
    stamps = [START + round(value * 1000) for value in values]
    return min(stamps), max(stamps)


async def test_a_full_buffer_drops_its_oldest_and_says_exactly_what(tmp_path: Path) -> None:
    """D1: what the slow follower gets and what the gap records tell are together all that was sent, per source."""
    async with opened(tmp_path / "j.db", "slow", max_bytes=SMALL, on_full="drop_oldest") as journal:
        sent = await fed(journal, 80_000, "s1", "s2")
        ledger = await journal.ledger()
        account = ledger.sinks["slow"]
        got = await take(journal, "slow", ledger.tail)
        gaps = [told for told in await journal.gaps() if told.gap.reason == "buffer_full"]
        assert account.dropped > 0
        assert account.dropped == sum(told.gap.count or 0 for told in gaps)
        assert account.dropped + account.pending == account.journaled == 80_000
        assert ledger.unaccounted == 0
        seen = set(seen_by(got))
        for source, values in sent.items():
            lost = [value for value in values if value not in seen]
            mine = [told.gap for told in gaps if told.source == source]
            assert sum(gap.count or 0 for gap in mine) == len(lost)
            assert (min(g.begins for g in mine), max(g.ends for g in mine)) == times(lost)
            assert {gap.machines for gap in mine} == {(source,)}
            assert "slow" in mine[0].detail
        assert (ledger.space or None) is not None


async def test_a_drop_passes_over_only_those_who_had_not_read(tmp_path: Path) -> None:
    """Law 4: a follower that keeps up loses nothing by another one's being dead, and its books do not change."""
    async with opened(tmp_path / "j.db", "dead", "live", max_bytes=SMALL, on_full="drop_oldest") as journal:
        seen: list[float] = []
        for n in range(0, 80_000, 400):
            position = await append(journal, noise(80_000)[n : n + 400])
            for one in await take(journal, "live", position):
                seen += seen_by([one])
                await journal.commit("live", one.position)
        assert seen == noise(80_000)
        sinks = (await journal.ledger()).sinks
        assert (sinks["live"].stored, sinks["live"].dropped) == (80_000, 0)
        assert sinks["dead"].dropped > 0
        assert (await journal.ledger()).unaccounted == 0


async def test_what_is_larger_than_the_bound_is_dropped_in_its_turn(tmp_path: Path) -> None:
    """D1: appends of half and more of the bound, and a sink that takes nothing: every one is taken in, with a gap for it."""
    async with opened(tmp_path / "j.db", "dead", max_bytes=SMALL, on_full="drop_oldest") as journal:
        for n in range(8):
            await append(journal, noise(320_000)[n * 40_000 : n * 40_000 + 40_000])
        ledger = await journal.ledger()
        assert ledger.sinks["dead"].journaled == 320_000
        assert ledger.sinks["dead"].pending == 80_000  # the newest, and the one that was when it came
        assert sum(told.gap.count or 0 for told in await journal.gaps()) == 240_000
        assert ledger.unaccounted == 0


async def test_refusals_and_gaps_leave_most_of_a_small_buffer_to_values(tmp_path: Path) -> None:
    """D1: 2 MB of rubbish in a buffer of 400 kB: the oldest goes, the values do not."""
    async with opened(tmp_path / "j.db", "sink", max_bytes=SMALL) as journal:
        for n in range(100):
            await append(journal, [n], refused=[Refusal("p", "why", b"?" * 20_000, START)])
        ledger = await journal.ledger()
        assert ledger.quarantine.rows == SMALL // 4 // 20_004
        assert ledger.quarantine.rows + ledger.quarantine.dropped == 100
        assert ledger.sinks["sink"].pending == 100


async def test_a_buffer_that_one_append_fills_says_what_it_needs(tmp_path: Path) -> None:
    """D1: `wait` and a sink that takes nothing: not before more than one append fits."""
    async with opened(tmp_path / "j.db", "dead", max_bytes=SMALL) as journal, asyncio.TaskGroup() as tasks:
        await append(journal, noise(40_000))
        waiting = tasks.create_task(append(journal, [1.0]))
        await eventually(lambda: journal.condition is not None)
        assert "one append only" in (journal.condition or "")
        assert "buffer: max" in (journal.condition or "")
        waiting.cancel()


async def test_a_bound_that_holds_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least"):
        async with opened(tmp_path / "j.db", "sink", max_bytes=100_000):
            pass


async def test_nothing_is_dropped_while_the_buffer_has_what_everybody_read(tmp_path: Path) -> None:
    async with opened(tmp_path / "j.db", "sink", max_bytes=SMALL, on_full="drop_oldest") as journal:
        for n in range(0, 80_000, 400):
            await journal.commit("sink", await append(journal, noise(80_000)[n : n + 400]))
        assert await journal.gaps() == []
        assert (await journal.ledger()).sinks["sink"] == SinkAccount(80_000, 80_000, 0, 0, 200)


async def test_the_gap_is_durable_together_with_the_drop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D2: at every commit, the file as another process sees it balances: held + told = all."""
    path, checked = tmp_path / "j.db", 0
    group = Store.group

    def looked_at(self: Any, works: Any) -> Any:
        nonlocal checked
        done = group(self, works)
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as looking:
            held, told = looking.execute(
                "SELECT (SELECT coalesce(sum(count), 0) FROM entries), (SELECT coalesce(sum(count), 0) FROM gaps)"
            ).fetchone()
        assert held + told == self.standing.total
        checked += bool(told)
        return done

    async with opened(path, "slow", max_bytes=SMALL, on_full="drop_oldest") as journal:
        monkeypatch.setattr(Store, "group", looked_at)
        await fed(journal, 60_000, "s1")
        monkeypatch.undo()
    assert checked > 10


async def test_a_released_sink_lets_go_and_its_books_balance(tmp_path: Path) -> None:
    """D9: the cursor is at the tail, a gap says what is missing there, the others keep everything."""
    async with opened(tmp_path / "j.db", "dead", "live") as journal:
        await fed(journal, 4000, "s1", "s2")
        await journal.commit("dead", 3)
        assert await journal.release("dead") == 2800
        assert (await journal.ledger()).sinks["dead"] == SinkAccount(4000, 1200, 0, 0, 10, 2800)
        (told,) = await journal.gaps()
        assert (told.gap.reason, told.gap.count) == ("sink_released", 2800)
        assert "dead was released: positions 4 to 10" in told.gap.detail
        assert told.gap.begins < told.gap.ends
        assert len(seen_by(await take(journal, "live", 10))) == 4000
        assert await journal.release("dead") == 0  # nothing more, and nothing told
        assert len(await journal.gaps()) == 1
        await append(journal, [5.0])
        assert seen_by(await take(journal, "dead", 11)) == [5.0]
        await journal.commit("dead", 11)
        assert (await journal.ledger()).unaccounted == 0
        with pytest.raises(ValueError, match="not a follower"):
            await journal.release("nobody")


async def test_a_release_of_what_a_reload_lets_go_of_in_the_same_moment_ends_nothing(tmp_path: Path) -> None:
    """Both reach the disk in one transaction, in this order."""
    async with opened(tmp_path / "j.db", "dead", "live") as journal:
        await append(journal, [1.0])
        _, released = await asyncio.gather(journal.enrol(["live"]), journal.release("dead"))
        assert released == 0
        assert [told.gap.reason for told in await journal.gaps()] == ["sink_released"]
        await append(journal, [2.0])
        assert seen_by(await take(journal, "live", 2)) == [1.0, 2.0]


async def test_a_release_makes_room_for_the_sources(tmp_path: Path) -> None:
    """D1: the one sink that holds a full buffer is let go, and the sources go on."""
    async with opened(tmp_path / "j.db", "dead", "live", max_bytes=SMALL, on_full="wait") as journal:
        async with asyncio.TaskGroup() as tasks:
            feeding = tasks.create_task(fed(journal, 80_000, "s1"))
            while journal.condition is None:
                await asyncio.sleep(0.01)
            while not feeding.done():
                # Not the tail of the ledger: the file may be ahead of what has been told.
                await journal.commit("live", journal.tail.position)
                await journal.release("dead")
                await asyncio.sleep(0.01)
        ledger = await journal.ledger()
        assert ledger.unaccounted == 0
        assert ledger.sinks["live"].dropped == 0


async def test_the_sources_stop_before_the_others_do(tmp_path: Path) -> None:
    """D1: cursors, quarantine and derived values still have a sixteenth when the sources wait."""
    async with opened(tmp_path / "j.db", "sink", max_bytes=SMALL) as journal:
        store = journal._store
        room = SMALL - store.size()
        assert store.fits(room, derived=True)
        assert not store._empty() or store.fits(room)
        await append(journal, [1.0])
        room = SMALL - store.size()
        assert not store.fits(room)
        assert store.fits(room, derived=True)
        assert store.fits(room - SMALL // 16)
        assert (store.room.condition or "").startswith("buffer full")


async def test_the_buffer_says_who_holds_it_and_when_it_is_full(tmp_path: Path) -> None:
    """D1: a forecast from measured growth, once somebody is a minute behind; none while everybody keeps up."""
    clock = FakeClock()
    async with open_journal(
        tmp_path / "j.db",
        followers=["dead", "live"],
        clock=clock,
        window=0.0,
        min_free=0,
        max_bytes=100_000_000,
    ) as journal:
        for n in range(30):
            await journal.commit("live", await append(journal, noise(30_000)[n * 1000 : n * 1000 + 1000]))
            clock.advance(10.0)
        space = (await journal.ledger()).space
        assert space is not None
        assert (space.held_by, space.condition, space.max_bytes) == (("dead",), None, 100_000_000)
        assert space.full_in is not None
        # 100 values/s of noise, some 8 to 24 bytes each: 94 MB last for half a day to a day and a half.
        assert 39_000 < space.full_in < 120_000
        await journal.commit("dead", 30)
        space = (await journal.ledger()).space
        assert space is not None
        assert (space.held_by, space.full_in) == ((), None)


async def test_who_waits_for_more_on_purpose_holds_nothing_up(tmp_path: Path) -> None:
    """A history that seals every five minutes is healthy for five minutes, and named a minute later."""
    clock, found = FakeClock(), []
    journal_file = open_journal(tmp_path / "j.db", followers=["history"], clock=clock, window=0.0)
    async with journal_file as journal, asyncio.TaskGroup() as tasks:
        await append(journal, [1.0])
        waiting = tasks.create_task(_follow(journal.ranges("history", values=1000, seconds=300.0)))
        while not journal.pace.waits:
            await asyncio.sleep(0)
        for _ in range(5):
            clock.advance(89.0)
            space = (await journal.ledger()).space
            found.append(space and space.held_by)
        waiting.cancel()
    assert found == [(), (), (), (), ("history",)]


async def _follow(ranges: AsyncIterator[Range]) -> None:
    async for _ in ranges:
        return


def test_a_forecast_of_what_does_not_grow() -> None:
    seen = Forecast()
    assert seen.full_in(0.0, 10, 100) is None
    for second in range(0, 60, 5):
        seen.note(float(second), 1000 + second)
    assert seen.full_in(60.0, 1060, 2060) == pytest.approx(1000.0)
    assert seen.full_in(60.0, 900, 2000) is None
    assert seen.full_in(60.0, 3000, 2000) == 0.0


async def test_a_start_costs_the_same_with_any_backlog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P1: counted in steps of SQLite's machine while opening, with 100 and with 3,000 appends that nobody has read."""
    monkeypatch.setattr("collector.journal.housekeeping.SNAPSHOT_APPENDS", 20)
    steps: list[int] = []
    connected = schema.connect_writer

    def counting(path: Path) -> sqlite3.Connection:
        connection = connected(path)
        steps.append(0)

        def step() -> None:
            steps[-1] += 1

        connection.set_progress_handler(step, 10)
        return connection

    monkeypatch.setattr(recovery, "connect_writer", counting)
    taken: list[int] = []
    for name, appends in (("few", 100), ("many", 3000)):
        async with opened(tmp_path / name, "dead") as journal:
            for n in range(appends):
                await append(journal, [n])
        steps.clear()
        async with opened(tmp_path / name, "dead"):
            pass
        taken.append(steps[0])
    assert 0 < taken[1] < 3 * taken[0]


async def test_what_waits_to_be_written_again_is_bounded(tmp_path: Path) -> None:
    """32 MiB may wait; what does not fit stays in quarantine and goes when there is room again. Above 1 MiB nothing is kept."""
    async with opened(tmp_path / "j.db", "sink") as journal:
        for n in range(40):
            await append(journal, [n])
            size = setaside.LARGEST + (n == 0)  # the first is one byte too large
            refused = Refusal("p", "why", b"", START, 1, batch=b"x" * size)
            await journal.commit("sink", n + 1, [refused])
            (one,) = await journal.quarantined(1)
            assert await journal.quarantine.write_again("sink", [one.number]) == (0 < n <= 32)
        left = [one.refusal.values for one in await journal.quarantined()]
        assert len(left) == 8
        account = (await journal.ledger()).sinks["sink"]
        assert (account.pending, account.quarantined, account.replayed) == (32, 8, 32)
        first = (await journal.quarantine.waiting("sink", 1))[0]
        await journal.quarantine.settle("sink", [first.number], [])
        (one,) = await journal.quarantined(1)
        assert await journal.quarantine.write_again("sink", [one.number]) == 1
        assert (await journal.ledger()).unaccounted == 0
