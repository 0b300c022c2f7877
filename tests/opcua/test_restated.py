"""What has not changed while nobody listened is stored once more when the line asks for it; what has changed is not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.base import Restating
from pipelines.batch import Flag
from pipelines.registry import Registry
from tests.contracts.rig import eventually
from tests.opcua.opened import opened
from tests.opcua.rows.bed import START, Bed, Hurried, Taken, value
from tests.opcua.scripted import Refuse, Variable
from tests.opcua.test_resumption import first_life

NODE_ID_UNKNOWN, SERVER_TOO_BUSY = 0x80340000, 0x80EE0000


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    async for made in opened(Bed(tmp_path)):
        yield made


def ask(taken: Taken) -> int:
    session: object = taken.session
    assert isinstance(session, Restating)
    return session.restate()


def restated(taken: Taken) -> list[tuple[str, int, object, int]]:
    return [(row[0], row[1], row[2], row[3]) for row in taken.rows if row[4] & Flag.HEARTBEAT]


@pytest.mark.parametrize("way", ["session", "transfer", "new"])
async def test_what_stands_is_said_again_at_the_time_at_which_the_session_began(bed: Bed, way: str) -> None:
    """U1, U3: whichever way the session began; before any change that comes, and nothing when nobody asks."""
    for name in ("stands", "moves"):
        bed.variable(name, Variable(value=value(7)))
    registry = Registry()
    checkpoint = await first_life(bed, registry)
    bed.server.policy.reactivate = way == "session"
    if way == "new":
        bed.server.end_subscriptions()
    taken = await bed.begin(registry, checkpoint)
    assert restated(taken) == []
    began = ask(taken)
    await eventually(lambda: len(restated(taken)) == 2, "both are said again")
    assert sorted(restated(taken)) == [("moves", began, 7.0, 0), ("stands", began, 7.0, 0)]
    bed.emit("moves", 1)
    await eventually(lambda: 1.0 in taken.values("moves"), "the change")
    assert len(restated(taken)) == 2
    assert began > START


async def test_what_has_changed_since_is_left_to_the_subscription(bed: Bed) -> None:
    for name in ("stands", "moves", "timeless"):
        bed.variable(name, Variable(value=value(7)))
    registry = Registry()
    checkpoint = await first_life(bed, registry)
    taken = await bed.begin(registry, checkpoint)
    later = (ask(taken) - START) // 100 + 10_000_000
    bed.server.emit("moves", value(8, later))
    bed.server.emit("timeless", replace(value(9), source=None))
    await eventually(lambda: bool(restated(taken)), "what stands is said again")
    assert {row[0] for row in restated(taken)} == {"stands"}


async def test_a_server_that_is_too_busy_is_asked_again(bed: Bed) -> None:
    bed.clock = Hurried()
    bed.variable("stands", Variable(value=value(7)))
    registry = Registry()
    checkpoint = await first_life(bed, registry)
    taken = await bed.begin(registry, checkpoint)
    bed.server.scripts.append(refusal := Refuse("Read", 1, code=SERVER_TOO_BUSY))
    ask(taken)
    await eventually(lambda: len(restated(taken)) == 1, "said again")
    assert refusal.seen > 1


async def test_a_node_that_is_gone_is_told_by_others(bed: Bed) -> None:
    for name in ("stands", "gone"):
        bed.variable(name, Variable(value=value(7)))
    registry = Registry()
    checkpoint = await first_life(bed, registry)
    taken = await bed.begin(registry, checkpoint)
    bed.server.variables["gone"].value = value(0, 0, NODE_ID_UNKNOWN)
    ask(taken)
    await eventually(lambda: bool(restated(taken)), "what stands is said again")
    assert {row[0] for row in restated(taken)} == {"stands"}
