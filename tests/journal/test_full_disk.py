"""A disk that is really full: a file system of 64 MiB, filled to its last byte, under the journal as users run it."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.clock import SystemClock
from collector.journal import ballast
from collector.journal.base import JournalFailed
from collector.journal.sqlite import SqliteJournal, open_journal
from collector.journal.store import Store
from tests.contracts.journal import append, following, noise, seen_by, take
from tests.fakes import eventually

PIECE = 400
VALUES = 1_200_000  # about 14 MB as stored, far more than the ballast gives back


def _mount(*words: str) -> bool:
    for sudo in ([], ["sudo", "-n"]):
        with suppress(FileNotFoundError):
            if subprocess.run([*sudo, *words], capture_output=True, check=False).returncode == 0:
                return True
    return False


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, on which the ballast finds room beside the longest log (4 MiB)."""
    place = tmp_path / "disk"
    place.mkdir()
    if sys.platform != "linux" or not _mount(
        "mount", "-t", "tmpfs", "-o", "size=64m,mode=777", "tmpfs", str(place)
    ):
        pytest.skip("no file system can be mounted here (needs root, or sudo without a password)")
    yield place
    assert _mount("umount", "-l", str(place))


def fill(disk: Path) -> Path:
    """Somebody else takes what is left, to the last byte."""
    greedy = disk / "somebody-elses.file"
    with greedy.open("ab", buffering=0) as file:
        for size in (1 << 16, 4096, 1):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass
    assert shutil.disk_usage(disk).free < 4096
    return greedy


async def filled(journal: SqliteJournal, disk: Path) -> Path:
    """On the writer's thread, which writes nothing meanwhile: else it could give back the ballast in the middle of it, and
    somebody else would have that too.
    """
    return await asyncio.get_running_loop().run_in_executor(journal._writer._thread, fill, disk)


@asynccontextmanager
async def opened(path: Path, *followers: str, **options: Any) -> AsyncIterator[SqliteJournal]:
    async with open_journal(
        path, followers=followers, clock=SystemClock(), window=0.0, min_free=0, **options
    ) as journal:
        yield journal


class Feed:
    """Sends all of it in pieces, one after the other."""

    def __init__(self, journal: SqliteJournal, sent: Sequence[float]) -> None:
        self.journal, self.sent, self.done = journal, sent, 0

    async def __call__(self) -> None:
        for n in range(0, len(self.sent), PIECE):
            await append(self.journal, self.sent[n : n + PIECE])
            self.done = n + PIECE


async def drained(journal: SqliteJournal, follower: str, last: float) -> list[float]:
    """All that the follower gets, each committed, up to this value."""
    seen: list[float] = []
    async with aclosing(following(journal, follower, values=4000)) as slices:
        async for one in slices:
            piece = seen_by([one])
            seen += piece
            await journal.commit(follower, one.position)
            if last in piece:
                return seen
    raise AssertionError


async def test_a_disk_that_is_full_to_the_last_byte(disk: Path) -> None:
    """D1: the sources wait, every sink drains while the disk stays full, nothing is missing, the alarm comes at once."""
    sent = noise(VALUES)
    async with opened(disk / "j.db", "a", "b") as journal, asyncio.TaskGroup() as tasks:
        feed = Feed(journal, sent)
        feeding = tasks.create_task(feed())
        await eventually(lambda: feed.done > VALUES // 10)
        greedy = await filled(journal, disk)
        await eventually(lambda: (journal.condition or "").startswith("disk full"))
        assert not feeding.done()
        stopped = feed.done
        seen = {name: await drained(journal, name, sent[stopped - 1]) for name in "ab"}
        assert shutil.disk_usage(disk).free < ballast.SIZE  # others still have all the rest
        jobs = {name: tasks.create_task(drained(journal, name, sent[-1])) for name in "ab"}
        await feeding
        for name, job in jobs.items():
            assert seen[name] + await job == sent
        greedy.unlink()
        assert (await journal.ledger()).unaccounted == 0
        assert (await journal.ledger()).sinks["a"].stored == VALUES
        assert journal.condition is None


def fresh(seed: int, count: int) -> list[float]:
    """Like `noise`, and other numbers for every seed: the same ones again would be duplicates."""
    listed: list[float] = (np.random.default_rng(seed).random(count) * 1e12).tolist()
    return listed


async def test_the_ballast_comes_back_when_there_is_space_again(disk: Path) -> None:
    """D1: a second full disk finds the reserve that the first one used up."""
    async with opened(disk / "j.db", "a") as journal:
        await _full_and_drained(journal, disk, 2)
        for n in range(300):
            await journal.commit("a", await append(journal, fresh(1000 + n, PIECE)))
        assert (disk / "j.db.ballast").stat().st_size >= ballast.SIZE
        await _full_and_drained(journal, disk, 3)
        assert (await journal.ledger()).unaccounted == 0


async def _full_and_drained(journal: SqliteJournal, disk: Path, seed: int) -> None:
    sent = fresh(seed, 400_000)
    async with asyncio.TaskGroup() as tasks:
        feed = Feed(journal, sent)
        feeding = tasks.create_task(feed())
        await eventually(lambda: feed.done > len(sent) // 4)
        greedy = await filled(journal, disk)
        await eventually(lambda: journal.condition is not None)
        job = tasks.create_task(drained(journal, "a", sent[-1]))
        await feeding
        assert (await job) == sent
    assert not (disk / "j.db.ballast").exists()
    greedy.unlink()


async def test_a_start_on_a_full_disk(disk: Path) -> None:
    """D1: the ballast of the last run is the room in which the next one starts."""
    async with opened(disk / "j.db", "a") as journal:
        await append(journal, [1.0, 2.0])
    fill(disk)
    async with opened(disk / "j.db", "a") as journal:
        assert seen_by(await take(journal, "a", 1)) == [1.0, 2.0]
        await journal.commit("a", 1)
        assert (await journal.ledger()).sinks["a"].stored == 2


async def test_a_start_on_a_full_disk_without_reserve_says_what_to_do(disk: Path) -> None:
    """D1: a sentence and not a traceback; what is stored is left alone."""
    async with opened(disk / "j.db", "a") as journal:
        await append(journal, [1.0])
    (disk / "j.db.ballast").unlink()
    greedy = fill(disk)
    with pytest.raises(JournalFailed, match="free some space"):
        async with opened(disk / "j.db", "a"):
            pass
    greedy.unlink()
    async with opened(disk / "j.db", "a") as journal:
        assert seen_by(await take(journal, "a", 1)) == [1.0]


async def test_a_disk_that_may_not_be_written(disk: Path) -> None:
    """D4: a read-only remount ends acknowledgements with a clear word, and the next start says what to change."""
    async with opened(disk / "j.db", "a") as journal:
        await append(journal, [1.0])
        assert (
            _mount("mount", "-o", "remount,ro", str(disk)) is False
        )  # still open for writing: the system refuses
    assert _mount("mount", "-o", "remount,ro", str(disk))
    with pytest.raises(JournalFailed, match="not mounted read-only"):
        async with opened(disk / "j.db", "a"):
            pass
    assert _mount("mount", "-o", "remount,rw", str(disk))
    async with opened(disk / "j.db", "a") as journal:
        assert seen_by(await take(journal, "a", 1)) == [1.0]


class Refusing:
    """A connection to a disk that is full from its nth write on, for as many writes; of those that begin with `only`."""

    def __init__(self, connection: sqlite3.Connection, at: int, times: int, only: str = "") -> None:
        self._connection, self._at, self._times, self._only, self.writes = connection, at, times, only, 0

    def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
        if statement.startswith(self._only) and not statement.startswith(("SELECT", "BEGIN", "ROLLBACK")):
            self.writes += 1
            if self._at <= self.writes < self._at + self._times:
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
        return self._connection.execute(statement, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.mark.parametrize("times", [1, 5])
@pytest.mark.parametrize("at", range(1, 31, 2))
async def test_a_disk_that_is_full_at_any_write(
    tmp_path: Path, at: int, times: int, monkeypatch: Any
) -> None:
    """D2: at an append, a cursor, a delete, a snapshot, a checkpoint: nothing is lost, no cursor is ahead, all goes on."""
    monkeypatch.setattr("collector.journal.writer.RETRY", 0.01)
    monkeypatch.setattr("collector.journal.housekeeping.RETIRE_ROWS", 2)
    monkeypatch.setattr("collector.journal.housekeeping.SNAPSHOT_APPENDS", 3)
    monkeypatch.setattr("collector.journal.housekeeping.CHECKPOINT", 60_000)
    async with opened(tmp_path / "j.db", "a", "b") as journal:
        journal._store.connection = Refusing(journal._store.connection, at, times)  # type: ignore[assignment]  # a stand-in
        seen: list[float] = []
        for n in range(12):
            position = await append(journal, [n])
            seen += seen_by(await take(journal, "a", position))
            await journal.commit("a", position)
            account = (await journal.ledger()).sinks["a"]
            assert (account.cursor, account.stored) == (position, n + 1)
        assert seen == list(map(float, range(12)))
        assert seen_by(await take(journal, "b", 12)) == seen
        assert (await journal.ledger()).unaccounted == 0


async def test_a_disk_that_is_full_while_nobody_waits_is_no_alarm(tmp_path: Path, monkeypatch: Any) -> None:
    """D2: when tidying alone finds no space, no source waits for any: said otherwise, it would be said until the next append."""
    monkeypatch.setattr("collector.journal.housekeeping.SNAPSHOT_APPENDS", 0)
    async with opened(tmp_path / "j.db", "a") as journal:
        refusing = Refusing(journal._store.connection, 1, 1 << 30, "INSERT INTO identities")
        journal._store.connection = refusing  # type: ignore[assignment]  # a stand-in
        await append(journal, [1.0])
        await eventually(lambda: refusing.writes > 0)
        await eventually(lambda: journal.condition is None)
        journal._store.connection = refusing._connection


async def test_a_slow_disk_holds_the_sources_and_not_the_memory(tmp_path: Path, monkeypatch: Any) -> None:
    """D5: one append per source is under way, whatever the disk does; no queue grows, nothing is missing."""
    group, held = Store.group, asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(self: Store, works: Any) -> list[Any]:
        asyncio.run_coroutine_threadsafe(held.wait(), loop).result()
        return group(self, works)

    async with opened(tmp_path / "j.db", "a") as journal, asyncio.TaskGroup() as tasks:
        monkeypatch.setattr(Store, "group", slow)
        begun = 0

        async def feed(source: str) -> None:
            nonlocal begun
            for n in range(20):
                begun += 1
                await append(journal, [n], source=source)

        for n in range(5):
            tasks.create_task(feed(f"s{n}"))
        await eventually(lambda: len(journal._writer._jobs) == 5)
        for _ in range(100):
            await asyncio.sleep(0)
        assert (begun, len(journal._writer._jobs)) == (5, 5)
        held.set()
        await eventually(lambda: journal.tail.position == 100)
        assert (await journal.ledger()).unaccounted == 0


def test_no_ballast_where_there_is_no_space(tmp_path: Path, monkeypatch: Any) -> None:
    """D1: the ballast never fills a disk by itself, and a refusal leaves no torso of it."""
    mine = ballast.Ballast.of(tmp_path / "j.db")
    mine.hold(0, 1 << 60)
    assert (mine.size, list(tmp_path.iterdir())) == (0, [])

    def refused(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "posix_fallocate", refused, raising=False)
    mine.hold(0, 0)
    assert (mine.size, list(tmp_path.iterdir())) == (0, [])
