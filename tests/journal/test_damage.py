"""What the disk can do to the file, and what the start makes of it: exact gaps, no invented value, never a refusal to start."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from adapters.clock import SystemClock
from collector.journal import housekeeping, queries, recent
from collector.journal.base import JournalFailed, SinkAccount
from collector.journal.lock import JournalInUse
from collector.journal.recovery import suspect_path
from collector.journal.schema import FORMAT, NotAJournal
from collector.journal.sqlite import SqliteJournal, open_journal
from tests.contracts.journal import (
    append,
    fed,
    following,
    next_range,
    noise,
    presses,
    seen_by,
    take,
    taken_in,
)
from tests.journal.starting import memory
from tests.journal.test_formats import written_by


def opened(path: Path, *followers: str, **options: Any) -> AbstractAsyncContextManager[SqliteJournal]:
    return open_journal(path, followers=followers or ("sink",), clock=SystemClock(), window=0.0, **options)


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="damage-", dir=memory()) as folder:
        yield Path(folder) / "journal.db"


async def filled(path: Path, count: int = 10) -> None:
    """Positions 1..count of three values each: 10 n, 10 n + 1, 10 n + 2."""
    async with opened(path) as journal:
        for n in range(1, count + 1):
            await append(journal, [10 * n, 10 * n + 1, 10 * n + 2], source=f"s{n % 2}")


def edit(path: Path, statement: str, arguments: Sequence[Any] = ()) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, arguments)


def flip_a_bit(path: Path, position: int) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        (blob,) = connection.execute("SELECT blob FROM entries WHERE position = ?", (position,)).fetchone()
        bad = bytearray(blob)
        bad[len(bad) // 2] ^= 0x10
        connection.execute("UPDATE entries SET blob = ? WHERE position = ?", (bytes(bad), position))


@pytest.mark.parametrize("what", ["blob = zeroblob(length(blob))", "source = 's9'"])
async def test_damage_to_all_that_a_source_has_said_holds_up_no_housekeeping(
    path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D7: a source that speaks no more, and nothing of which reads back; or its name is one that nobody ever had."""
    await filled(path, 2)
    edit(path, f"UPDATE entries SET {what} WHERE source = 's1'")
    monkeypatch.setattr(housekeeping, "SNAPSHOT_APPENDS", 2)
    async with opened(path) as journal:
        for n in (3, 4, 5, 6):
            assert await append(journal, [10.0 * n], source="s0") == n
        assert seen_by(await take(journal, "sink", 6)) == [20, 21, 22, 30, 40, 50, 60]
        await journal.commit("sink", 6)
        assert (await journal.ledger()).unaccounted == 0
    async with opened(path) as journal:
        assert await append(journal, [70.0], source="s0") == 7


async def test_a_damaged_blob_is_set_aside_and_the_rest_goes_on(path: Path) -> None:
    await filled(path)
    flip_a_bit(path, 4)
    async with opened(path) as journal:
        seen = seen_by(await take(journal, "sink", 10))
        assert seen == [10 * n + i for n in range(1, 11) if n != 4 for i in range(3)]
        (gap,) = await journal.gaps()
        assert (gap.source, gap.position, gap.gap.reason, gap.gap.count) == ("s0", 4, "journal_damaged", 3)
        assert "position 4" in gap.gap.detail
        (kept,) = await journal.quarantined()
        assert (kept.origin, kept.refusal.values) == ("journal", 3)
        await journal.commit("sink", 10)
        ledger = await journal.ledger()
        assert ledger.sinks["sink"] == SinkAccount(30, 27, 3, 0, 10)
        assert ledger.unaccounted == 0


async def test_damage_that_comes_while_it_is_open_is_found_when_it_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "VALUES", 0)  # else the file need not be read so soon
    async with opened(path) as journal:
        for n in range(3):
            await append(journal, [n])
        flip_a_bit(path, 2)
        assert seen_by(await take(journal, "sink", 3)) == [0.0, 2.0]
        assert [stored.position for stored in await journal.gaps()] == [2]
        await journal.commit("sink", 3)
        assert (await journal.ledger()).sinks["sink"] == SinkAccount(3, 2, 1, 0, 3)


async def test_damage_is_told_once_however_many_meet_it(path: Path) -> None:
    await filled(path)
    flip_a_bit(path, 4)
    for _ in range(2):
        async with opened(path, "sink", "other") as journal:
            await take(journal, "sink", 10)
            await take(journal, "other", 10)
            assert len(await journal.gaps()) == len(await journal.quarantined()) == 1


async def test_nothing_but_damage_does_not_hold_a_follower(path: Path) -> None:
    await filled(path, 2)
    flip_a_bit(path, 1)
    flip_a_bit(path, 2)
    async with opened(path) as journal, asyncio.TaskGroup() as tasks:
        slices = following(journal, "sink")
        waiting = tasks.create_task(anext(slices))
        while (await journal.ledger()).sinks["sink"].cursor < 2:
            await asyncio.sleep(0.001)
        assert (await journal.ledger()).sinks["sink"] == SinkAccount(6, 0, 6, 0, 2)
        await append(journal, [99.0])
        assert seen_by([await waiting]) == [99.0]
        await slices.aclose()


async def test_a_damaged_blob_is_left_out_of_a_range(path: Path) -> None:
    await filled(path, 3)
    flip_a_bit(path, 2)
    async with opened(path) as journal:
        span = await next_range(journal, "sink", values=9, seconds=0.0)
        assert (span.first, span.last, [entry.position for entry in span.entries]) == (1, 3, [1, 3])


async def test_a_hole_in_the_middle_is_counted_and_skipped(path: Path) -> None:
    await filled(path)
    edit(path, "DELETE FROM entries WHERE position IN (4, 5)")
    async with opened(path) as journal:
        assert seen_by(await take(journal, "sink", 10)) == [
            10 * n + i for n in (1, 2, 3, 6, 7, 8, 9, 10) for i in range(3)
        ]
        (gap,) = await journal.gaps()
        assert (gap.gap.reason, gap.gap.count) == ("journal_damaged", 6)
        assert "positions 4 to 5" in gap.gap.detail
        await journal.commit("sink", 10)
        assert (await journal.ledger()).sinks["sink"] == SinkAccount(30, 24, 6, 0, 10)
    async with opened(path) as journal:
        assert len(await journal.gaps()) == 1


async def test_what_the_mark_has_seen_and_the_file_lacks_is_a_gap_with_its_range(path: Path) -> None:
    await filled(path)
    edit(path, "DELETE FROM entries WHERE position > 7")
    async with opened(path) as journal:
        (gap,) = await journal.gaps()
        assert (gap.source, gap.gap.count) == ("journal", 9)
        assert "positions 8 to 10" in gap.gap.detail
        assert await append(journal, [99.0]) == 11
        assert seen_by(await take(journal, "sink", 11))[-2:] == [72.0, 99.0]
        await journal.commit("sink", 11)
        assert (await journal.ledger()).sinks["sink"] == SinkAccount(31, 22, 9, 0, 11)
    async with opened(path) as journal:
        assert len(await journal.gaps()) == 1


async def test_a_loss_at_the_end_does_not_stay_pending(path: Path) -> None:
    await filled(path)
    async with opened(path) as journal:
        await journal.commit("sink", 7)
    edit(path, "DELETE FROM entries WHERE position > 7")
    async with opened(path) as journal, asyncio.TaskGroup() as tasks:
        assert (await journal.ledger()).sinks["sink"] == SinkAccount(30, 21, 0, 9, 7)
        waiting = tasks.create_task(anext(following(journal, "sink")))
        while (await journal.ledger()).sinks["sink"].pending:
            await asyncio.sleep(0.001)
        assert (await journal.ledger()).sinks["sink"] == SinkAccount(30, 21, 9, 0, 10)
        waiting.cancel()


@pytest.mark.parametrize("damage", ["garbage", "zeroed", "truncated", "missing", "empty"])
async def test_a_file_that_cannot_be_read_is_set_aside(path: Path, damage: str) -> None:
    await filled(path, 40)
    size = path.stat().st_size
    match damage:
        case "garbage":
            path.write_bytes(os.urandom(size))
        case "zeroed":
            path.write_bytes(bytes(size))
        case "truncated":
            os.truncate(path, size // 2)
        case "missing":
            path.unlink()
        case "empty":
            os.truncate(path, 0)
    async with opened(path) as journal:
        (gap,) = await journal.gaps()
        assert (gap.source, gap.gap.reason) == ("journal", "journal_damaged")
        assert "1 to 40" in gap.gap.detail
        assert await append(journal, [1.0]) == 41  # never a position that a history file may already bear
        assert seen_by(await take(journal, "sink", 41)) == [1.0]
        assert (await journal.ledger()).unaccounted == 0
    aside = list(path.parent.glob("journal.db.damaged-*[0-9]Z"))
    assert len(aside) == (damage in ("garbage", "zeroed", "truncated"))
    async with opened(path) as journal:
        assert len(await journal.gaps()) == 1


async def test_damage_met_at_work_is_looked_into_at_the_next_start(path: Path) -> None:
    await filled(path, 400)
    async with opened(path) as journal:
        with path.open("r+b") as file:
            for page in range(12, path.stat().st_size // 2048):
                file.seek(page * 2048)
                file.write(b"\xa5" * 2048)
        with pytest.raises(JournalFailed, match="does not read back"):
            await take(journal, "sink", 400)
    assert suspect_path(path).exists()
    async with opened(path) as journal:
        assert await append(journal, [1.0]) == 401
        assert (await journal.gaps())[-1].gap.reason == "journal_damaged"
    assert not suspect_path(path).exists()
    assert len(list(path.parent.glob("*.damaged-*"))) >= 1


async def test_a_mistake_in_our_own_code_never_sets_a_good_file_aside(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(path, 3)

    def broken(*_: Any) -> None:
        raise TypeError("a mistake")

    with monkeypatch.context() as patch:
        patch.setattr("collector.journal.recovery._rebuild", broken)
        with pytest.raises(TypeError):
            async with opened(path):
                pass
    assert list(path.parent.glob("*.damaged-*")) == []
    async with opened(path) as journal:
        assert (await journal.ledger()).tail == 3


async def test_another_programs_file_is_left_alone(path: Path) -> None:
    edit(path, "CREATE TABLE theirs (a)")
    before = path.read_bytes()
    with pytest.raises(NotAJournal, match="another program"):
        async with opened(path):
            pass
    assert path.read_bytes() == before


async def test_a_newer_format_is_left_alone(path: Path) -> None:
    await filled(path, 1)
    written_by(path, 99)
    with pytest.raises(NotAJournal, match="update the collector"):
        async with opened(path):
            pass
    written_by(path, FORMAT)
    async with opened(path) as journal:
        assert (await journal.ledger()).tail == 1


async def test_a_second_instance_is_refused_and_told_who_has_it(path: Path) -> None:
    async with opened(path):
        with pytest.raises(JournalInUse, match=rf"process {os.getpid()}\b"):
            async with opened(path):
                pass
    async with opened(path):
        pass


async def test_an_unreadable_disk_says_so(tmp_path: Path) -> None:
    (tmp_path / "journal.db").mkdir()
    with pytest.raises(JournalFailed, match="cannot be opened"):
        async with opened(tmp_path / "journal.db"):
            pass


class Failing:
    """A connection whose commits fail with the given SQLite error from a moment on."""

    def __init__(self, connection: sqlite3.Connection, code: int) -> None:
        self._connection, self._code = connection, code
        self.commits = 0

    def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
        if statement == "COMMIT":
            self.commits += 1
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = self._code
            raise error
        return self._connection.execute(statement, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


async def test_after_an_io_error_nothing_is_acknowledged_and_nothing_retried(path: Path) -> None:
    async with opened(path) as journal:
        await append(journal, [1.0], source="before")
        memory = journal.identity("before").snapshot()
        failing = Failing(journal._store.connection, sqlite3.SQLITE_IOERR_FSYNC)
        journal._store.connection = failing  # type: ignore[assignment]  # a stand-in
        jobs = [append(journal, [n], source=f"s{n}") for n in range(3)]
        for result in await asyncio.gather(*jobs, return_exceptions=True):
            assert isinstance(result, JournalFailed)
        with pytest.raises(JournalFailed, match="Nothing more is acknowledged"):
            await append(journal, [5.0], source="before")
        with pytest.raises(JournalFailed):
            await journal.commit("sink", 1)
        assert failing.commits == 1
        assert journal.identity("before").snapshot() == memory
    async with opened(path) as journal:
        assert (await journal.ledger()).tail == 1


async def test_on_a_full_disk_appends_wait_and_followers_go_on(path: Path) -> None:
    """The database may not grow: SQLite then says what it says on a full disk."""
    sent = noise(60_000)
    async with opened(path) as journal, asyncio.TaskGroup() as tasks:
        journal._store.connection.execute("PRAGMA max_page_count=150")
        feeding = tasks.create_task(fed(journal, sent))
        await presses(journal)
        assert 0 < await taken_in(journal) < 60_000
        seen: list[float] = []
        slices = following(journal, "sink", values=1000)
        while len(seen) < 60_000:
            one = await anext(slices)
            seen += seen_by([one])
            await journal.commit("sink", one.position)
        await feeding
        await slices.aclose()
        assert seen == sent
        ledger = await journal.ledger()
        assert ledger.unaccounted == 0
        assert ledger.sinks["sink"] == SinkAccount(60_000, 60_000, 0, 0, 150)  # no position was left out


async def test_followers_that_nobody_wants_any_more_hold_nothing(path: Path) -> None:
    async with opened(path, "old", "sink") as journal:
        for n in range(10):
            await append(journal, [n])
        await journal.commit("sink", 10)
    async with opened(path, "sink", "new") as journal:
        ledger = await journal.ledger()
        assert set(ledger.sinks) == {"sink", "new"}
        assert ledger.sinks["new"] == SinkAccount(10, 0, 0, 10, 0)
        assert seen_by(await take(journal, "new", 10)) == list(map(float, range(10)))


async def test_what_everybody_has_is_deleted_and_the_space_used_again(path: Path) -> None:
    sent = noise(1000)
    async with opened(path) as journal:
        sizes = []
        for n in range(1300):
            position = await append(journal, [value + n for value in sent[:100]])
            await journal.commit("sink", position)
            sizes.append(
                (await journal._ask(queries.pages)).used
            )  # the log is as long as readers let it become
        held = journal._store.connection.execute("SELECT count(*) FROM entries").fetchone()[0]
    assert held < 1000
    assert max(sizes[800:]) <= max(sizes[:800]) + 200_000


async def test_identity_survives_the_deletion_of_what_it_was_made_of(path: Path) -> None:
    async with opened(path) as journal:
        for n in range(1500):
            position = await append(journal, [n], source=f"s{n % 3}")
            await journal.commit("sink", position)
        oldest = journal._store.connection.execute("SELECT min(position) FROM entries").fetchone()[0]
        assert oldest > 500
        memory = [journal.identity(f"s{i}").snapshot() for i in range(3)]
    async with opened(path) as journal:
        assert [journal.identity(f"s{i}").snapshot() for i in range(3)] == memory


async def test_a_copy_of_the_file_taken_while_it_is_open_can_be_opened(path: Path, tmp_path: Path) -> None:
    """What a power cut leaves: the file and the log, without the goodbye."""
    async with opened(path) as journal:
        for n in range(20):
            await append(journal, [n])
        image = tmp_path / "image"
        image.mkdir()
        for end in ("", "-wal", ".mark"):
            shutil.copy(f"{path}{end}", image / f"journal.db{end}")
    async with opened(image / "journal.db") as journal:
        assert seen_by(await take(journal, "sink", 20)) == list(map(float, range(20)))
        assert await journal.gaps() == []


async def test_nothing_is_deleted_that_identity_still_needs(path: Path) -> None:
    """Also when everybody has it: a source may have appended between the snapshots and the deletion."""
    await filled(path)
    async with opened(path) as journal:
        await journal.commit("sink", 10)
        journal._store.standing.unsaved = {"s0": 4}
        (gone,) = journal._store.group([partial(housekeeping._delete, last=9, chunk=100)])
        assert gone == 3


async def test_large_entries_are_deleted_a_few_at_a_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of housekeeping holds up the next commit: it is bounded by values, not only by rows."""
    await filled(path)
    async with opened(path) as journal:
        monkeypatch.setattr(housekeeping, "RETIRE_VALUES", 6)
        assert housekeeping._chunk_end(journal._store, 10, 100) == 3
        assert housekeeping._chunk_end(journal._store, 10, 2) == 2
        monkeypatch.setattr(housekeeping, "RETIRE_VALUES", 0)
        assert housekeeping._chunk_end(journal._store, 10, 100) == 1


async def test_nothing_is_read_that_the_line_has_not_been_told_of(path: Path) -> None:
    """The file may be ahead of the event loop: a cursor must not pass the tail."""
    await filled(path)
    async with opened(path) as journal:
        edit(
            path,
            "INSERT INTO entries SELECT 11, source, appended, count, total + 3, damaged, blob, NULL FROM entries WHERE position = 10",
        )
        chunk = await journal.read("sink", 0, 1000)
        assert chunk.position == 10
        assert {entry.position for entry in chunk.entries} == set(range(1, 11))
        assert (await journal.read("sink", 0, 1000, 11)).position == 10


async def test_what_was_deleted_in_order_is_no_gap_for_who_reads_there(path: Path) -> None:
    """A follower whose place was moved on while it was reading asks once more for what is gone."""
    await filled(path)
    async with opened(path) as journal:
        await journal.commit("sink", 10)
        journal._store.standing.unsaved = {}
        journal._store.group([partial(housekeeping._delete, last=5, chunk=100)])
        chunk = await journal.read("sink", 0, 1000)
        assert {entry.position for entry in chunk.entries} == {6, 7, 8, 9, 10}
        assert await journal.gaps() == []
