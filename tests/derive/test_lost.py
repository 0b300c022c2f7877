"""A derivation whose cursor, or memory, or both were lost to damage (D7, D9): nothing is put out twice."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from collector.derive import Build
from collector.journal.base import Journal
from collector.journal.sqlite import open_journal
from pipelines.derivations.counter import Counter, Counters
from tests.contracts.journal import append
from tests.derive.test_runner import NAME, at_work, count, made
from tests.fakes import FakeClock, eventually

READINGS = 60


def counter(journal: Journal) -> Build:
    return partial(Counters, journal.registry, [Counter("m1", "count", "made")])


async def lived(path: Path, first: int, end: int) -> tuple[list[int], int, str]:
    """Readings n -> n * n, one append each, derived from. What was made in all lives, how often it was counted, the gaps."""
    async with open_journal(path, followers=["sink", NAME], clock=FakeClock(), window=0.0) as journal:
        async with at_work(journal, counter(journal), every=20):
            for n in range(first, end):
                await count(journal, (n, n * n))

            last = await append(journal, [float(first)])
            await eventually(lambda: journal._store.standing.cursors[NAME] >= last)
        ledger = await journal.ledger()
        assert ledger.unaccounted == 0
        told = " ".join(one.gap.detail for one in await journal.gaps())
        return await made(journal), ledger.sources[NAME].journaled, told


def spoil(path: Path, *statements: str) -> None:
    """A change that bears no seal of ours, as a flipped bit makes it."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount == 1
        connection.commit()


CURSOR = f"UPDATE followers SET cursor = cursor + 3 WHERE name = '{NAME}'"
MEMORY = f"UPDATE derivations SET snapshot = x'00' WHERE name = '{NAME}'"


@pytest.mark.parametrize("damage", [[CURSOR], [MEMORY], [CURSOR, MEMORY]], ids=["cursor", "memory", "both"])
async def test_d9_what_was_derived_is_not_put_out_again(tmp_path: Path, damage: list[str]) -> None:
    """D9, D7: what is stored tells how far it got: far more than the identity rule alone remembers."""
    path = tmp_path / "journal.db"
    await lived(path, 0, READINGS)
    spoil(path, *damage)
    values, counted, told = await lived(path, READINGS, READINGS + 5)
    assert values == [n * n - (n - 1) * (n - 1) for n in range(1, READINGS + 5)]
    assert counted == READINGS + 4
    assert "did not read back" in told
