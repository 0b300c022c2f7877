"""One value taken away by hand, anywhere on the way: either the books or the comparison with the truth must notice.

The whole line runs here on a real journal with a memory source and a memory sink; each saboteur drops exactly one value
at one place and says nothing about it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.base import Delivery, Entry, Sink, Source, SourceSession, Write
from adapters.clock import SystemClock
from adapters.memory.archive import MemoryArchive
from adapters.memory.peer import MemoryPeer
from adapters.memory.sink import MemorySink
from adapters.memory.source import MemorySource
from collector.assembly import Line
from collector.health import Health
from collector.journal.base import Ledger
from collector.journal.sqlite import open_journal
from collector.run import Plant, Running
from pipelines.batch import Batch, Kind, Point, batch_of
from pipelines.stage import Refine, Refined, Treatments
from tests.fakes import eventually

VALUES = 500
T0 = 1_790_000_000_000_000_000


def without_one(batches: Sequence[Batch]) -> list[Batch]:
    """The batches less the last row of the longest: a value of the machine, not one that the collector says of itself."""
    longest = max(batches, key=len)
    return [b.take(np.arange(len(b) - 1)) if b is longest else b for b in batches]


class LossySource:
    """Counts a value and does not hand it over."""

    def __init__(self, inner: MemorySource) -> None:
        self.name, self.machines, self._inner = inner.name, inner.machines, inner
        self.probe = inner.probe

    @asynccontextmanager
    async def session(self, resume: bytes | None) -> AsyncIterator[SourceSession]:
        async with self._inner.session(resume) as session:
            yield LossySession(session)


class LossySession:
    def __init__(self, inner: SourceSession) -> None:
        self.redelivers, self.facts, self._inner = inner.redelivers, inner.facts, inner

    async def __aiter__(self) -> AsyncIterator[Delivery]:
        async for delivery in self._inner:
            yield replace(delivery, batches=without_one(delivery.batches))


class LossySink:
    """Says "stored" for one value too many."""

    def __init__(self, inner: MemorySink) -> None:
        self.name, self._inner, self.probe = inner.name, inner, inner.probe

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Write]:
        async with self._inner.session() as write:

            async def lossy(batches: Sequence[Batch]) -> None:
                await write(without_one(batches) if any(len(batch) > 1 for batch in batches) else batches)

            yield lossy


class LossyArchive(MemoryArchive):
    async def seal(self, first: int, last: int, entries: Sequence[Entry]) -> None:
        """The values stand in the longest batch, in whatever range it comes; the others are the collector's own facts."""
        ordered = sorted(entries, key=lambda entry: -len(entry.batch))
        batches = without_one([entry.batch for entry in ordered])
        kept = [Entry(entry.position, batch) for entry, batch in zip(ordered, batches, strict=True)]
        await super().seal(first, last, kept)


class LossyLine(Line):
    __slots__ = ()

    def refine(self) -> Refine:
        honest = super().refine()

        def lossy(batches: Sequence[Batch], identity: Any) -> Refined:
            refined = honest(batches, identity)
            if not any(len(batch) > 1 for batch in refined.batches):
                return refined
            return refined._replace(batches=without_one(refined.batches))

        return lossy


def held(sink: MemorySink, archive: MemoryArchive) -> tuple[int, int]:
    """Values of the machine, up to the last one sent: the row without a value that follows when the collector stops is none."""
    in_sink = len({key for key in sink.rows if key.point == 0 and key.at < T0 + VALUES * 1000})
    in_archive = sum(
        int(np.count_nonzero((entry.batch.points == 0) & (entry.batch.at < T0 + VALUES * 1000)))
        for file in tuple(archive.files.values())
        for entry in file
    )
    return in_sink, in_archive


class Outcome:
    def __init__(self, ledger: Ledger, sink: MemorySink, archive: MemoryArchive) -> None:
        self.unaccounted = ledger.unaccounted
        self.in_sink, self.in_archive = held(sink, archive)

    @property
    def noticed(self) -> bool:
        return self.unaccounted != 0 or (self.in_sink, self.in_archive) != (VALUES, VALUES)


async def run(folder: Path, saboteur: str) -> Outcome:
    peer = MemoryPeer()
    source: Source = MemorySource("press", peer, machines=("press-1",))
    kept, archive = MemorySink("database"), MemoryArchive("history", seal_values=10**6, seal_seconds=0.05)
    sink: Sink = LossySink(kept) if saboteur == "sink" else kept
    if saboteur == "decoder":
        source = LossySource(MemorySource("press", peer, machines=("press-1",)))
    if saboteur == "archive":
        archive = LossyArchive("history", seal_values=10**6, seal_seconds=0.05)
    async with open_journal(
        folder / "buffer.sqlite", followers=["database", "history"], clock=SystemClock(), window=0.01
    ) as journal:
        point = journal.registry.intern(Point("press-1", "force", Kind.NUMBER))
        made = (LossyLine if saboteur == "refine" else Line)(
            journal.registry, [source], [sink], archive, Treatments()
        )
        peer.send(
            batch_of(Kind.NUMBER, [point] * VALUES, np.arange(VALUES) * 1000 + T0, range(VALUES), received=T0)
        )
        await _work(Running(made, journal, Health(), SystemClock(), folder), kept, archive)
        return Outcome(await journal.ledger(), kept, archive)


async def _work(running: Running, sink: MemorySink, archive: MemoryArchive) -> None:
    """Until the values are in both places, all of them or all but the one that was taken away."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(Plant(running).work(stop))
        await eventually(lambda: min(held(sink, archive)) >= VALUES - 1)
        stop.set()


async def test_an_honest_line_loses_nothing(tmp_path: Path) -> None:
    outcome = await run(tmp_path, "nobody")
    assert not outcome.noticed
    assert (outcome.in_sink, outcome.in_archive) == (VALUES, VALUES)


@pytest.mark.parametrize("saboteur", ["decoder", "refine", "sink", "archive"])
async def test_a_value_taken_away_is_noticed(tmp_path: Path, saboteur: str) -> None:
    outcome = await run(tmp_path, saboteur)
    assert outcome.noticed
    if saboteur in (
        "decoder",
        "refine",
    ):  # before the journal the books alone must notice: there is no truth in a workshop
        assert outcome.unaccounted == 1


async def test_an_entry_deleted_from_the_buffer_by_hand_is_a_gap(tmp_path: Path) -> None:
    import sqlite3

    clock = SystemClock()
    path = tmp_path / "buffer.sqlite"
    async with open_journal(path, followers=["database"], clock=clock) as journal:
        journal.registry.intern(Point("press-1", "force", Kind.NUMBER))
        for start in range(3):
            rows = batch_of(Kind.NUMBER, [0] * 10, np.arange(10) + T0 + start * 10, range(10), received=T0)
            refined = Line(journal.registry, [], [], None, Treatments()).refine()(
                [rows], journal.identity("press")
            )
            await journal.append("press", Delivery([rows], 10), refined)
    with sqlite3.connect(path) as by_hand:
        by_hand.execute("DELETE FROM entries WHERE position = 2")
    by_hand.close()
    async with open_journal(path, followers=["database"], clock=clock) as journal:
        async for position, _ in journal.follow("database"):  # seen by whoever reads over the place
            if position == 3:
                break
        gaps = await journal.gaps()
        assert [gap.gap.reason for gap in gaps] == ["journal_damaged"]
        assert gaps[0].gap.count == 10
