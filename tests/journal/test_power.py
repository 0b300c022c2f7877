"""Power cuts (P3, D10, P4): whatever part of the unflushed writes is on the disk, the journal opens and nothing
acknowledged is missing. JOURNAL_CRASH_STATES says how many different states of the disk are opened (10,000; `make
torture` asks for 100,000).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from collector.journal.recovery import open_store
from collector.journal.sqlite import open_journal
from collector.journal.store import Store
from tests.fakes import FakeClock
from tests.journal.platter import Image, Platter
from tests.journal.starting import memory
from tests.journal.vfs import Disk, living
from tests.journal.workload import FOLLOWERS, History, small, verify, work

STATES = int(os.environ.get("JOURNAL_CRASH_STATES", "10000"))
SHARDS = 8
PER_WORKLOAD = 1000
STEPS = 30
ROUNDS = 8


@pytest.fixture
def ram() -> Iterator[Path]:
    """A folder in memory where there is one: a real disk would flush for nothing."""
    with tempfile.TemporaryDirectory(prefix="power-", dir=memory()) as folder:
        yield Path(folder)


def laid_out(folder: Path, image: Image) -> Path:
    folder.mkdir(parents=True)
    for name, content in image.items():
        (folder / name).write_bytes(content)
    return folder / "journal.db"


@contextmanager
def started(folder: Path, image: Image) -> Iterator[Store]:
    """The real store, over the standard library's SQLite, on what the power cut left."""
    path = laid_out(folder, image)
    try:
        with closing(open_store(path, FOLLOWERS, FakeClock(), max_bytes=1 << 30, min_free=0)) as store:
            yield store
    finally:
        shutil.rmtree(folder)


async def lived(folder: Path, history: History, dice: random.Random) -> None:
    """Two lives of a journal, the first ended by a kill: the second finds what the page cache holds."""
    clock = FakeClock()
    for life_number in range(2):
        path = folder / str(life_number) / "journal.db"
        path.parent.mkdir(exist_ok=True)
        with living(history.disk) as life:
            async with open_journal(path, followers=FOLLOWERS, clock=clock, window=0.0) as journal:
                await work(journal, history, clock, dice, STEPS // 2)
                life.kill()
                if life_number == 0:
                    shutil.copytree(
                        path.parent, folder / "1", ignore=shutil.ignore_patterns("*-shm", "*.lock")
                    )


class Explored:
    """Which states were opened: a content of the disk, and what had been acknowledged by then. Each counts once."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def is_new(self, image: Image, acknowledged: int) -> bool:
        digest = hashlib.blake2b(b"%d" % acknowledged, digest_size=16)
        for name in sorted(image):
            digest.update(f"{name}\0{len(image[name])}\0".encode() + image[name])
        before = len(self._seen)
        self._seen.add(digest.digest())
        return len(self._seen) > before

    def __len__(self) -> int:
        return len(self._seen)


def cuts(history: History, rng: random.Random, wanted: int) -> Iterator[tuple[int, Image]]:
    """States of the disk after every operation, spread so that there are about `wanted`."""
    platter, each = Platter(), max(1, round(wanted / max(1, history.now)))
    for cut, op in enumerate(history.disk.ops, start=1):
        platter.take(op)
        for image in platter.images(rng, each):
            yield cut, image


def explore(folder: Path, seed: int, wanted: int) -> int:
    """One workload, and `wanted` different power cuts in it."""
    rng, history, explored = random.Random(seed), History(Disk()), Explored()
    with small():
        (folder / "0").mkdir()
        asyncio.run(lived(folder, history, rng))
        for _ in range(ROUNDS):  # a small workload has only so many different states
            for cut, image in cuts(history, rng, wanted):
                if len(explored) < wanted and explored.is_new(image, history.acknowledged(cut)):
                    check(folder / "image", history, cut, image, f"seed {seed}, after operation {cut}")
    return len(explored)


def check(folder: Path, history: History, cut: int, image: Image, where: str) -> None:
    try:
        with started(folder, image) as store:
            verify(store, history, cut)
    except Exception as error:
        error.add_note(where)
        raise


@pytest.mark.timeout(60 + STATES)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_p3_a_power_cut_loses_nothing_acknowledged(ram: Path, shard: int) -> None:
    """P3, I1 to I5, I8, I9: what was not flushed is lost, torn or reordered; what was acknowledged is there."""
    wanted, done, seed = STATES // SHARDS, 0, shard
    while done < wanted:
        folder = ram / str(seed)
        folder.mkdir()
        done += explore(folder, seed, min(PER_WORKLOAD, wanted - done))
        shutil.rmtree(folder)
        seed += SHARDS


@pytest.mark.timeout(60 + STATES)
def test_d10_a_power_cut_right_after_creation(ram: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D10: nothing acknowledged depends on a name that is not flushed, also where SQLite flushes no folder itself."""
    monkeypatch.setattr("tests.journal.vfs._SYNCS_FOLDER", 0)
    monkeypatch.setattr("tests.journal.test_power.STEPS", 4)
    for seed in range(max(4, STATES // 2500)):
        folder = ram / str(seed)
        folder.mkdir()
        explore(folder, seed, 150)


@pytest.mark.timeout(60 + STATES)
def test_p4_power_cuts_during_recovery_from_power_cuts(ram: Path) -> None:
    """P4: the start after a power cut is cut again, three times, and so is every one after it."""
    rng, history = random.Random(4), History(Disk())
    with small():
        (ram / "0").mkdir()
        asyncio.run(lived(ram, history, rng))
        for cut, image in rng.sample(list(cuts(history, rng, 500)), max(8, STATES // 500)):
            recover(ram, history, cut, image, rng, depth=3)


def recover(
    folder: Path, history: History, cut: int, image: Image, rng: random.Random, *, depth: int
) -> None:
    """A start on this image, cut at some of its own operations; each of these states is a start again."""
    names = {name: number for number, name in enumerate(image, start=1_000_000)}
    disk = Disk(names=dict(names))
    path = laid_out(folder / f"start-{depth}", image)
    with living(disk) as life:
        store = open_store(path, FOLLOWERS, FakeClock(), max_bytes=1 << 30, min_free=0)
        life.kill()
        store.close()
    shutil.rmtree(path.parent)
    later = list(states(Platter.of(image, names), disk, rng))
    for again in rng.sample(later, min(len(later), 4)):
        check(folder / "image", history, cut, again, f"after operation {cut}, {depth - 1} starts left")
        if depth > 1:
            recover(folder, history, cut, again, rng, depth=depth - 1)


def states(platter: Platter, disk: Disk, rng: random.Random) -> Iterator[Image]:
    for op in disk.ops:
        platter.take(op)
        yield from platter.images(rng, 1)
