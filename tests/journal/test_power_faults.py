"""Errors of the disk under the journal (D1 to D4), at every operation in turn, and a power cut afterwards: nothing is
acknowledged behind a failed flush, a torn append is never acknowledged, and the next start is fine.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from collector.journal.base import Journal, JournalFailed
from collector.journal.sqlite import open_journal
from tests.fakes import FakeClock
from tests.journal.test_power import check, cuts, ram
from tests.journal.vfs import Disk, living
from tests.journal.workload import FOLLOWERS, History, small, work

__all__ = ["ram"]
# What SQLite swallows, apsw reports as an exception that nobody can catch; real disks swallow it, too.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
STEPS = 8
EVERY = 1 if "JOURNAL_CRASH_STATES" in os.environ else 4
"""Every so-manieth operation of a kind is made to fail."""


class NoSpace:
    """ENOSPC for `lasts` writes in a row, from the nth one on."""

    def __init__(self, nth: int, lasts: int) -> None:
        self.writes, self.nth, self.lasts = 0, nth, lasts

    def __call__(self, kind: str, name: str) -> apsw.Error | None:
        self.writes += kind == "write"
        return full() if kind == "write" and 0 <= self.writes - self.nth < self.lasts else None

    @property
    def struck(self) -> bool:
        return self.writes >= self.nth


class Once:
    """Fails the nth operation of a kind on a file name's end, and nothing else."""

    def __init__(
        self, kind: str, nth: int, error: Callable[[], apsw.Error], *, lasting: bool = False
    ) -> None:
        self.kind, self.nth, self.error, self.lasting = kind, nth, error, lasting
        self.seen = Counter[str]()

    def __call__(self, kind: str, name: str) -> apsw.Error | None:
        self.seen[kind] += 1
        due = self.seen[kind] == self.nth or (self.lasting and self.seen[kind] > self.nth)
        return self.error() if kind == self.kind and due else None

    @property
    def struck(self) -> bool:
        return self.seen[self.kind] >= self.nth


def io_error(code: int) -> Callable[[], apsw.Error]:
    def error() -> apsw.Error:
        failed = apsw.IOError("disk I/O error")
        failed.result, failed.extendedresult = apsw.SQLITE_IOERR, code  # type: ignore[attr-defined]  # read by apsw
        return failed

    return error


def full() -> apsw.Error:
    failed = apsw.FullError("database or disk is full")
    failed.result = failed.extendedresult = apsw.SQLITE_FULL  # type: ignore[attr-defined]  # read by apsw
    return failed


async def until_it_fails(
    folder: Path, history: History, fault: Once, clock: FakeClock, dice: random.Random
) -> bool:
    """A life that may end with JournalFailed, and leaves what the page cache holds in folder/1. True: it failed."""
    path = folder / "0" / "journal.db"
    path.parent.mkdir()
    with living(history.disk) as life:
        try:
            async with open_journal(path, followers=FOLLOWERS, clock=clock, window=0.0) as journal:
                try:
                    await work(journal, history, clock, dice, STEPS)
                except JournalFailed:
                    if fault.kind in ("flush", "write"):
                        await nothing_more_is_written(journal, history, dice)
                    raise
                finally:
                    life.kill()
                    left_behind(path.parent)
        except JournalFailed:
            if not (folder / "1").exists():  # while opening
                left_behind(path.parent)
            return True
    return False


async def nothing_more_is_written(journal: Journal, history: History, dice: random.Random) -> None:
    """A flush that worked behind one that failed says nothing: so there is none."""
    before = history.now
    with pytest.raises(JournalFailed):
        await asyncio.wait_for(history.append(journal, "s0", dice), 120)
    assert history.now == before, "tried again"


def left_behind(folder: Path) -> None:
    """What the page cache holds when the process is gone."""
    shutil.copytree(folder, folder.parent / "1", ignore=shutil.ignore_patterns("*-shm", "*.lock"))


async def next_life(folder: Path, history: History, clock: FakeClock, dice: random.Random) -> None:
    path = folder / "1" / "journal.db"
    with living(history.disk) as life:
        async with open_journal(path, followers=FOLLOWERS, clock=clock, window=0.0) as journal:
            history.settle(journal._store)
            await work(journal, history, clock, dice, STEPS)
            life.kill()


def run(folder: Path, fault: Once, seed: int) -> bool:
    """Failure, start, more work, and power cuts all the way. False: the fault lay behind the end of the workload."""
    dice, history, clock = random.Random(seed), History(Disk(fault=fault)), FakeClock()
    failed = asyncio.run(until_it_fails(folder, history, fault, clock, dice))
    if not fault.struck:
        return False
    before = history.now
    where = f"{fault.kind} {fault.nth}, seed {seed}, {'failed' if failed else 'went on'}"
    asyncio.run(next_life(folder, history, clock, dice))
    after = [(cut, image) for cut, image in cuts(history, dice, 1) if cut > before]
    for cut, image in dice.sample(after, min(30, len(after))):
        check(folder / "image", history, cut, image, f"{where}, after operation {cut}")
    return True


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["flush", "write", "cut", "read", "open"])
def test_d3_an_io_error_at_every_operation(ram: Path, kind: str) -> None:
    """D3, D4: EIO once at every flush, write, truncation, read and opening in turn: no acknowledgement and no second try
    behind it; the next start, and a power cut after that start, find everything acknowledged.
    """
    codes = {
        "flush": apsw.SQLITE_IOERR_FSYNC,
        "write": apsw.SQLITE_IOERR_WRITE,
        "read": apsw.SQLITE_IOERR_READ,
    }
    code = codes.get(kind, apsw.SQLITE_IOERR)
    with small():
        for nth in range(1, 400, EVERY if kind in ("read", "write") else 1):
            folder = ram / str(nth)
            folder.mkdir()
            if not run(folder, Once(kind, nth, io_error(code)), seed=nth % 3):
                return
            shutil.rmtree(folder)


async def time_passes(clock: FakeClock) -> None:
    while True:
        await asyncio.sleep(0.001)
        clock.advance(0.2)


async def through_no_space(folder: Path, history: History, fault: NoSpace, dice: random.Random) -> None:
    """A life in which the disk is full for a while, from some moment after the start: it goes on by itself."""
    path, clock = folder / "0" / "journal.db", FakeClock()
    path.parent.mkdir()
    with living(history.disk) as life:
        async with (
            open_journal(path, followers=FOLLOWERS, clock=clock, window=0.0) as journal,
            asyncio.timeout(120),
            asyncio.TaskGroup() as tasks,
        ):
            history.disk.fault = fault
            passing = tasks.create_task(time_passes(clock))
            await work(journal, history, clock, dice, 2 * STEPS)
            passing.cancel()
            life.kill()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("lasts", [1, 7])
def test_d1_no_space_at_every_write(ram: Path, lasts: int) -> None:
    """D1, D2: ENOSPC at every write in turn, once or for a while: nobody fails, what waited goes on, the clock jumps
    meanwhile, and power cuts before, during and after it find everything acknowledged.
    """
    with small():
        for nth in range(1, 400, EVERY):
            dice, history, fault = random.Random(nth % 3), History(Disk()), NoSpace(nth, lasts)
            folder = ram / str(nth)
            folder.mkdir()
            asyncio.run(through_no_space(folder, history, fault, dice))
            if not fault.struck:
                return
            found = list(cuts(history, dice, 1))
            for cut, image in dice.sample(found, min(20, len(found))):
                check(folder / "image", history, cut, image, f"write {nth}, {lasts}, after operation {cut}")
            shutil.rmtree(folder)
