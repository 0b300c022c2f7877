"""What a server keeps for us is fetched: after a reset, by another session, or as present values when it is too late."""

from __future__ import annotations

import asyncio

import pytest

from adapters.clock import SystemClock
from pipelines.registry import Registry
from tests.contracts.rig import eventually
from tests.fakes import FakeClock
from tests.opcua import encoder as enc
from tests.opcua.rows.bed import Bed, let, passing, value, within
from tests.opcua.scripted import Connection, Script, Swallow, Variable


class Torn(Script):
    """In the middle of the next answer that holds a notification the line breaks: half of it is out."""

    def __init__(self) -> None:
        self.times = 1

    def chunk(self, connection: Connection, chunk: bytes) -> bytes:
        if not self.times or enc.node(0, 811) not in chunk:
            return chunk
        self.times -= 1
        connection.writer.write(chunk[: len(chunk) // 2])
        connection.abort()
        return b""


@pytest.mark.parametrize("forgets", ["nothing", "session"])
async def test_u1_a_reset_in_the_middle_of_a_message_loses_nothing(bed: Bed, forgets: str) -> None:
    """U1: new channel, same session or a transfer, Republish, and on: no gap, back within 5 s."""
    bed.server.policy.reactivate = forgets == "nothing"
    bed.server.policy.per_notification = 5
    names = bed.variables(4)
    async with bed.line(SystemClock()) as line:
        await line.until(lambda: len(line.rows) == len(names), "the first values")
        for _ in range(3):
            bed.server.scripts.append(Torn())
            async with within(5.0, line):
                for name in names * 5:
                    bed.emit(name, count=5)
                    await asyncio.sleep(0)
                emitted = len(names) + len(bed.server.record.emitted)
                await line.until(lambda n=emitted: len(line.rows) >= n, "all values are stored")  # type: ignore[misc]
        await line.stop()
        assert (await line.verdict()).clean
        assert line.gaps == []
    assert bed.server.record.count("CreateSubscription") == 1
    assert bed.server.record.opened == 4


async def test_u8_what_the_server_no_longer_has_is_a_gap_and_present_values(bed: Bed) -> None:
    """U8: a gap record where it was, and the present values at once, by ResendData or Read."""
    bed.server.policy.per_notification = 1
    bed.server.policy.keep = 1
    for name in ("a", "b"):
        bed.variable(name, Variable(value=value(0)))
    async with bed.line() as line:
        await line.until(lambda: line.values("a") == line.values("b") == [0.0], "the first values")
        bed.server.scripts.append(Swallow(2))
        bed.emit("a")
        bed.emit("b")
        bed.emit("a")
        async with within(1.0, line):
            await line.until(lambda: bool(line.gaps), "the gap is told")
            await line.until(lambda: line.values("b") == [0.0, 2.0], "the present value of the other one")
        await line.stop()
        verdict = await line.verdict()
        assert verdict.clean
        assert verdict.explained == 1
        assert {gap.reason for gap in line.gaps} == {"notifications_missing"}


async def test_u7_a_subscription_that_died_silently_is_noticed(still: Bed, clock: FakeClock) -> None:
    """U7: the session lives, no values come: noticed within two and a half keep-alives as the server revised them."""
    still.server.policy.keep_alive = 2.0
    still.variable("a", Variable(value=value(0)))
    taken = await still.begin(Registry())
    await passing(clock, lambda: taken.values() == [0.0], 1.0)
    still.server.end_subscriptions(silently=True)
    before = still.server.record.count("CreateSubscription")

    def noticed() -> bool:
        return taken.task.done() or still.server.record.count("CreateSubscription") > before

    await let(clock, 2.7)
    assert not noticed(), "a keep-alive may come late"
    await let(clock, 2.36, 0.02)
    await eventually(noticed, "within two and a half keep-alives")
