"""Power cuts under a small buffer that drops its oldest (P3, D1): only there the write-ahead log is cut to nothing in between,
and only there entries go that somebody has not read. What a gap record does not name must still be there.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import pytest

from collector.journal import queries, store
from collector.journal.recovery import open_store
from collector.journal.sqlite import open_journal
from collector.journal.store import Store
from pipelines import codec
from tests.contracts.journal import append, noise, values_of
from tests.fakes import FakeClock
from tests.journal.platter import Image, Platter
from tests.journal.test_power import STATES, laid_out, ram
from tests.journal.vfs import Disk, living
from tests.journal.workload import NEVER, small

__all__ = ["ram"]
BOUND = 256 * 1024
APPENDS = 24
WANTED = max(200, STATES // 20)


@dataclass
class Given:
    """values: of each append, in order. acked: disk operations before each returned. cuts: how often the log was cut."""

    disk: Disk = field(default_factory=Disk)
    values: list[list[float]] = field(default_factory=list)
    acked: list[int] = field(default_factory=list)
    cuts: int = 0


async def pressed(folder: Path, given: Given, dice: random.Random) -> None:
    """Nobody reads, and every append is a fraction of the bound: from the sixth or so on each one drops older ones."""
    path = folder / "journal.db"
    numbers = noise(APPENDS * 6000)
    with living(given.disk) as life:
        async with open_journal(
            path, followers=["dead"], clock=FakeClock(), window=0.0, max_bytes=BOUND, on_full="drop_oldest"
        ) as journal:
            for number in range(APPENDS):
                first = number * 6000
                given.values.append(numbers[first : first + dice.choice((300, 3000, 6000))])
                await asyncio.wait_for(append(journal, given.values[-1]), 120)
                given.acked.append(len(given.disk.ops))
            life.kill()


def verify(found: Store, given: Given, cut: int) -> None:
    """I1, I2, I9, I13: acknowledged is there or named by a gap; nothing is altered; the books balance."""
    acknowledged, tail = sum(acked <= cut for acked in given.acked), found.standing.position
    assert tail >= acknowledged, f"acknowledged and lost: {tail + 1} to {acknowledged}"
    held = queries.rows(found.connection, 0, NEVER)
    first = held[0].position if held else tail + 1
    assert [row.position for row in held] == list(range(first, tail + 1))
    for row in held:
        assert values_of(codec.decode(row.blob)) == given.values[row.position - 1]
    told = queries.gaps(found.connection, 1000)
    assert not [gap for gap in told if gap.source == store.JOURNAL]
    dropped = sum(gap.gap.count or 0 for gap in told if gap.gap.reason == "buffer_full")
    assert dropped == sum(map(len, given.values[: first - 1]))
    assert queries.ledger(found.connection, found.path).unaccounted == 0


def check(folder: Path, given: Given, cut: int, image: Image) -> None:
    path = laid_out(folder, image)
    try:
        opened = open_store(path, ["dead"], FakeClock(), max_bytes=BOUND, min_free=0, drops=True)
        with closing(opened) as found:
            verify(found, given, cut)
    except Exception as error:
        error.add_note(f"after operation {cut}")
        raise
    finally:
        shutil.rmtree(folder)


@pytest.mark.timeout(120 + STATES)
def test_p3_power_cuts_while_the_oldest_is_dropped_and_the_log_is_cut(ram: Path) -> None:
    """P3, D1, I13: cuts at every stage of dropping and of cutting the log; a drop without its gap record never exists."""
    given, rng = Given(), random.Random(5)
    real = store.Store.cut_log

    def counted(self: Store) -> int:
        given.cuts += 1
        return real(self)

    with small(), patch.object(store.Store, "cut_log", counted):
        asyncio.run(pressed(ram, given, rng))
        assert given.cuts >= 3
        platter, every = Platter(), max(1, len(given.disk.ops) // WANTED)
        for cut, op in enumerate(given.disk.ops, start=1):
            platter.take(op)
            if cut % every == 0 or op.kind == "cut":
                for image in platter.images(rng, 1):
                    check(ram / "image", given, cut, image)
