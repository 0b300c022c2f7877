"""A source that was lost is asked for what stands when it is back; once, and also when the collector was stopped in between."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from collector.facts import Edges
from collector.journal.base import Journal
from pipelines.batch import Kind, Point
from tests.collector.test_gaps import facts_of, journal_of, live, told
from tests.fakes import FakeClock

AT = FakeClock().now() - 10**9


class Session:
    asked = 0

    def restate(self) -> int:
        self.asked += 1
        return AT


async def lost(journal: Journal, edges: Edges) -> None:
    point = journal.registry.intern(Point("m1", "load", Kind.NUMBER))
    edges.seen.note(np.array([point], np.int32), journal.registry.version)
    await edges(False)


@pytest.mark.parametrize("restarted", [False, True])
async def test_asked_once_after_a_loss(tmp_path: Path, restarted: bool) -> None:
    clock, session = FakeClock(), Session()
    async with journal_of("sqlite", tmp_path, clock) as journal:
        facts = facts_of(journal, clock)
        await facts.started()
        edges = Edges("plc", facts)
        edges.back(session)
        assert session.asked == 0, "it was never lost"
        await lost(journal, edges)
        await live(facts, clock, 30)
        if restarted:
            facts = facts_of(journal, clock)
            await facts.started()
            edges = Edges("plc", facts)
        Edges("other", facts).back(session)
        assert session.asked == 0, "it is another one that was lost"
        edges.back(session)
        await edges(True)
        edges.back(session)
        await live(facts, clock, 30)
        again = facts_of(journal, clock)
        await again.started()
        Edges("plc", again).back(session)
        assert session.asked == 1
        rows = [row for row in await told(journal) if row["signal"] == "restated.plc"]
    assert [(row["value"], row["time"]) for row in rows] == [(True, AT)]


async def test_who_cannot_say_what_stands_is_not_asked(tmp_path: Path) -> None:
    clock = FakeClock()
    async with journal_of("sqlite", tmp_path, clock) as journal:
        facts = facts_of(journal, clock)
        await facts.started()
        edges = Edges("plc", facts)
        await lost(journal, edges)
        edges.back(object())
        await edges(True)
        assert facts.silenced("plc")
        assert not [row for row in await told(journal) if row["signal"] == "restated.plc"]


@pytest.mark.parametrize(("lasted", "asked"), [(5, 2), (90, 1)])
async def test_asked_again_where_it_was_lost_before_it_can_have_answered(
    tmp_path: Path, lasted: int, asked: int
) -> None:
    """A connection that comes and goes: nothing of the second life was new, so nothing was silenced at its end."""
    clock, session = FakeClock(), Session()
    async with journal_of("sqlite", tmp_path, clock) as journal:
        facts = facts_of(journal, clock)
        await facts.started()
        edges = Edges("plc", facts)
        await lost(journal, edges)
        edges.back(session)
        await edges(True)
        await live(facts, clock, lasted)
        await edges(False)
        restarted = facts_of(journal, clock)
        await restarted.started()
        Edges("plc", restarted).back(session)
    assert session.asked == asked
