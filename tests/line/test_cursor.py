"""Row D9 of the fault list: a cursor that somebody has changed by hand costs repetitions, and the database shows none."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from adapters.base import Delivery
from adapters.clock import SystemClock
from adapters.memory.sink import MemorySink
from collector.journal.sqlite import open_journal
from pipelines.batch import Batch, Kind, Point, batch_of
from pipelines.refinery import refinery
from pipelines.stage import Treatments

T0 = 1_790_000_000_000_000_000
VALUES = 50


async def life(path: Path, sink: MemorySink, *, more: int) -> int:
    """Append so many values and let the sink take whatever it has not; returns how many it was given."""
    given = 0
    async with open_journal(path, followers=["database"], clock=SystemClock(), window=0.0) as journal:
        point = journal.registry.intern(Point("m1", "x", Kind.NUMBER))
        refine = refinery(journal.registry, Treatments())
        start = journal.tail.position
        for number in range(start, start + more):
            batch = batch_of(Kind.NUMBER, [point], [T0 + number], [number], received=T0 + number)
            await journal.append("s", Delivery([batch], 1), refine([batch], journal.identity("s")))
        tail = journal.tail.position
        async with sink.session() as write:
            if (await journal.ledger()).sinks["database"].cursor < tail:
                async for position, batches in journal.follow("database"):
                    await write(batches)
                    await journal.commit("database", position)
                    given += count(batches)
                    if position == tail:
                        break
    return given


def count(batches: Sequence[Batch]) -> int:
    return sum(map(len, batches))


@pytest.mark.parametrize("cursor", [0, 1, VALUES // 2, VALUES - 1])
async def test_a_cursor_set_back_by_hand_repeats_and_doubles_nothing(tmp_path: Path, cursor: int) -> None:
    """D9: a number that bears no seal of ours is not believed: all that is held comes again, under the same keys."""
    path, sink = tmp_path / "buffer.sqlite", MemorySink("database")
    assert await life(path, sink, more=VALUES) == VALUES
    before = dict(sink.rows)
    with closing(sqlite3.connect(path)) as by_hand, by_hand:
        by_hand.execute("UPDATE followers SET cursor = ? WHERE name = 'database'", (cursor,))
    again = await life(path, sink, more=0)
    assert again == VALUES
    assert dict(sink.rows) == before
    assert await life(path, sink, more=3) == 3
    assert len(sink.rows) == VALUES + 3


async def test_a_cursor_that_is_lost_begins_with_the_oldest_held(tmp_path: Path) -> None:
    """D9: the row of the follower is gone; everything that is held is given again, and nothing is there twice."""
    path, sink = tmp_path / "buffer.sqlite", MemorySink("database")
    await life(path, sink, more=VALUES)
    before = dict(sink.rows)
    with closing(sqlite3.connect(path)) as by_hand, by_hand:
        by_hand.execute("DELETE FROM followers")
    assert await life(path, sink, more=0) == VALUES
    assert dict(sink.rows) == before


async def test_a_cursor_ahead_of_the_tail_is_brought_back(tmp_path: Path) -> None:
    """D9: a number from nowhere must not hide what comes next."""
    path, sink = tmp_path / "buffer.sqlite", MemorySink("database")
    await life(path, sink, more=VALUES)
    with closing(sqlite3.connect(path)) as by_hand, by_hand:
        by_hand.execute("UPDATE followers SET cursor = 10000")
    assert await life(path, sink, more=5) == VALUES + 5
    assert len(sink.rows) == VALUES + 5
    assert await life(path, sink, more=1) == 1
