"""What the very first session of a source received and had not stored when it was killed: it comes again, or a gap record says so."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.opcua.checkpoint import Checkpoint
from adapters.opcua.session import OpcUaSession
from pipelines.registry import Registry
from tests.contracts.rig import eventually
from tests.opcua import encoder as enc
from tests.opcua.encoder import DataValue, Scalar
from tests.opcua.opened import opened
from tests.opcua.rows.bed import Bed, Taken, ns, value
from tests.opcua.scripted import Unsupported, Variable
from tests.opcua.test_poll import Polls

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    async for made in opened(Bed(tmp_path)):
        made.variable("a", Variable(value=value(0)))
        yield made


def said_now(bed: Bed, number: float) -> int:
    """The machine says it, and when."""
    ticks = enc.ticks(time.time_ns() // 100 * 100)
    bed.server.emit("a", DataValue(Scalar(11, number), None, ticks))
    return ns(ticks)


def forgets_us(bed: Bed) -> None:
    bed.server.policy.reactivate = False
    bed.server.scripts.append(Unsupported(["TransferSubscriptions", "Republish"]))


async def killed_with_values(bed: Bed) -> list[int]:
    """When the machine said three values that a collector then had and did not store. It leaves as kill -9 makes it."""
    command = (sys.executable, "-m", "tests.opcua.first_life", bed.server.url, str(bed.folder))
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"received\n"
        times = [said_now(bed, number) for number in (1.0, 2.0, 3.0)]
        await eventually(lambda: bed.server.record.values("a")[-1:] == [3.0], "they are on their way")
    finally:
        process.kill()
        await process.wait()
    return times


async def test_killed_before_the_first_value_was_stored(bed: Bed) -> None:
    """P1: the gap record begins when we began to listen."""
    forgets_us(bed)
    before = time.time_ns()
    times = await killed_with_values(bed)
    async with bed.line() as line:
        await line.until(lambda: line.values("a") == [3.0] and bool(line.gaps), "the line is back")
        (gap,) = line.gaps
        assert gap.reason == "collector_down"
        assert before - 100 <= gap.begins <= times[0]
        assert times[2] <= gap.ends


async def test_nothing_is_taken_before_it_is_durable_that_we_listen(bed: Bed) -> None:
    forgets_us(bed)
    registry = Registry()
    taken = Taken(registry)
    taken.gate.clear()  # the first thing that is handed over is being journaled
    taken.task = asyncio.get_running_loop().create_task(taken.run(bed.source(registry), None))
    bed.tasks.append(taken.task)
    await eventually(lambda: bool(taken.deliveries), "the checkpoint")
    known = Checkpoint.from_bytes(taken.deliveries[0].checkpoint)
    assert known is not None
    assert (known.newest, known.told) == (0, True)
    pressing = taken.deliveries[0].pressing
    assert pressing is not None
    assert pressing.is_set(), "it waits for no other"
    said_now(bed, 1.0)
    assert isinstance(taken.session, OpcUaSession)
    for _ in range(2):  # whatever else was on its way is there
        await taken.session._desk.condition()
    assert bed.server.record.count("Publish") == 0
    taken.gate.set()
    await eventually(lambda: taken.values("a")[-1:] == [1.0], "then they come")
    pressing = taken.deliveries[-1].pressing
    assert pressing is not None
    assert not pressing.is_set()


async def test_what_was_polled_waits_for_it_too(bed: Bed) -> None:
    bed.signals[0]["mode"] = "poll"
    bed.server.scripts.append(polls := Polls())
    registry = Registry()
    taken = Taken(registry)
    taken.gate.clear()
    taken.task = asyncio.get_running_loop().create_task(taken.run(bed.source(registry), None))
    bed.tasks.append(taken.task)
    await eventually(lambda: bool(taken.deliveries), "the checkpoint")
    assert isinstance(taken.session, OpcUaSession)
    for _ in range(2):  # whatever else was on its way is there
        await taken.session._desk.condition()
    assert polls.seen == 0
    assert taken.rows == []
    taken.gate.set()
    await eventually(lambda: bool(taken.rows), "then they come")
    assert polls.seen > 0
