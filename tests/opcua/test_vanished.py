"""Nodes that vanish and return: at servers that keep a dead item, and at servers whose item goes on by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.clock import SystemClock
from pipelines.batch import Flag
from tests.fakes import FakeClock
from tests.opcua.encoder import DataValue
from tests.opcua.opened import opened
from tests.opcua.rows.bed import Bed, Cell, Line, passing, value
from tests.opcua.scripted import Variable

UNKNOWN = 0x80340000


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(SystemClock().now())


@pytest.fixture
async def bed(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Bed]:
    """The adapter looks for what is gone when the test lets time pass, and not in between; the server is on its own time."""
    async for made in opened(Bed(tmp_path, clock)):
        made.settings["keep_alive"] = "600s"
        yield made


def without_value(line: Line) -> list[Cell]:
    return [row for row in line.rows if row.flags & Flag.NO_VALUE]


@pytest.mark.parametrize("dead", [True, False])
async def test_a_node_that_returns_is_read_again_and_what_may_be_missing_is_told(
    bed: Bed, clock: FakeClock, *, dead: bool
) -> None:
    """A dead item would be silent for ever; one that goes on by itself has lost nothing, and nothing is told."""
    for name in ("a", "b"):
        bed.variable(name, Variable(value=value(0)))
    async with bed.line() as line:
        await line.until(lambda: line.values("a") == line.values("b") == [0.0], "first values")
        bed.server.variables["a"].known = False
        bed.server.emit("a", DataValue(None, UNKNOWN))
        await line.until(lambda: any(row.quality == UNKNOWN for row in line.rows), "told as unknown")
        subscription, created = bed.server.subscriptions[0], bed.server.record.count("CreateMonitoredItems")
        if dead:
            (old,) = [number for number, item in subscription.items.items() if item.node == "a"]
            subscription.items[old].node = "nobody"  # it stays, and nothing reaches it any more
            await passing(clock, lambda: "a" in line.facts["failed"], 5.0)
            await line.until(lambda: len(without_value(line)) == 2, "tried in vain")
            assert bed.server.record.count("CreateMonitoredItems") == created
        bed.server.variables["a"].known = True
        for _ in range(5):
            bed.emit("a")
            bed.emit("b")
        if dead:
            await passing(clock, lambda: bed.server.record.count("CreateMonitoredItems") > created, 5.0)
        await line.until(
            lambda: line.values("a")[-1:] == [bed.server.variables["a"].value.value.value], "it is back"
        )
        bed.emit("a")
        await line.until(lambda: line.values("a")[-1:] == [11.0], "and runs")
        await line.until(lambda: len(subscription.items) == 2, "the old item is gone")
        await line.stop()
        verdict = await line.verdict()
        assert verdict.clean, verdict
        assert [gap.reason for gap in line.gaps] == (["node_unknown"] if dead else [])
        assert verdict.explained == (4 if dead else 0)
        assert len(without_value(line)) == (2 if dead else 1)
    assert bed.server.record.opened == 1
