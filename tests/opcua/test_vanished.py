"""Nodes that vanish and return: at servers that keep a dead item, and at servers whose item goes on by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pipelines.batch import Flag
from tests.opcua.encoder import DataValue
from tests.opcua.opened import opened
from tests.opcua.rows.bed import Bed, Hurried, value
from tests.opcua.scripted import Variable

UNKNOWN = 0x80340000


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    async for made in opened(Bed(tmp_path, Hurried(5))):
        yield made


@pytest.mark.parametrize("dead", [True, False])
async def test_a_node_that_returns_is_read_again_and_what_may_be_missing_is_told(
    bed: Bed, *, dead: bool
) -> None:
    """A dead item would be silent for ever; one that goes on by itself has lost nothing, and nothing is told."""
    for name in ("a", "b"):
        bed.variable(name, Variable(value=value(0)))
    async with bed.line() as line:
        await line.until(lambda: line.values("a") == line.values("b") == [0.0], "first values")
        bed.server.variables["a"].known = False
        bed.server.emit("a", DataValue(None, UNKNOWN))
        await line.until(lambda: any(row.quality == UNKNOWN for row in line.rows), "told as unknown")
        subscription = bed.server.subscriptions[0]
        if dead:
            (old,) = [number for number, item in subscription.items.items() if item.node == "a"]
            subscription.items[old].node = "nobody"  # it stays, and nothing reaches it any more
            asked = bed.server.record.count("Read")
            await line.until(lambda: bed.server.record.count("Read") > asked + 1, "tried in vain")
        bed.server.variables["a"].known = True
        for _ in range(5):
            bed.emit("a")
            bed.emit("b")
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
        assert len([row for row in line.rows if row.flags & Flag.NO_VALUE]) == (2 if dead else 1)
    assert bed.server.record.opened == 1
