"""Connections, sessions and subscriptions that end, each in its own way, and what is back afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.clock import SystemClock
from adapters.errors import NotConnected
from pipelines.registry import Registry
from tests.contracts.rig import eventually, leap
from tests.fakes import FakeClock
from tests.opcua import encoder as enc
from tests.opcua.encoder import DataValue, Scalar
from tests.opcua.rows.bed import LONG, REQUEST_TIMEOUT, START, Bed, Hurried, let, passing, value, within
from tests.opcua.scripted import CutAfter, Mute, Variable, codes

RECREATED = [
    ("bad timeout", lambda server: server.end_subscriptions(codes.TIMEOUT)),
    (
        "no subscription",
        lambda server: (server.machine.subscriptions.clear(), server.fault(codes.NO_SUBSCRIPTION)),
    ),
    (
        "unknown id",
        lambda server: (server.machine.subscriptions.clear(), server.fault(codes.SUBSCRIPTION_ID_INVALID)),
    ),
]


async def test_u2_a_dead_line_is_noticed(still: Bed, clock: FakeClock) -> None:
    """U2: half-open, nobody says so: noticed within two and a half keep-alives of 5 s, and not before two."""
    still.variable("a", Variable(value=value(0)))
    taken = await still.begin(Registry())
    await passing(clock, lambda: taken.values() == [0.0], 1.0)
    await let(clock, 30.0, 0.5)
    assert not taken.task.done(), "keep-alives come"
    still.server.scripts.append(Mute())
    seen = dict(still.server.record.services)

    def noticed() -> bool:
        """It gave up, or it began to do something about the subscription."""
        now = still.server.record.services
        return taken.task.done() or any(
            now[name] != seen.get(name, 0) for name in ("CreateSubscription", "ModifySubscription")
        )

    await let(clock, 6.9)
    assert not noticed(), "a keep-alive may come late"
    await let(clock, 5.7)
    leap(REQUEST_TIMEOUT)  # it has asked in between, and nobody answered
    await eventually(noticed, "within two and a half keep-alives")
    await eventually(taken.task.done, "the session ends")
    assert isinstance(taken.error, NotConnected)


@pytest.mark.parametrize("count", [200, 10_000 if LONG else 1500])  # more than one notification holds
async def test_u3_after_a_restart_all_tags_are_back(bed: Bed, count: int) -> None:
    """U3: session and subscription are gone: all tags within 15 s after the port opens, with a gap record."""
    names = bed.variables(count)
    async with bed.line(SystemClock()) as line:
        await line.until(lambda: len(line.rows) == count, "the first values")
        await bed.server.stop()
        await eventually(lambda: line.state == "waiting", "the loss is noticed")
        for name in names:
            bed.emit(name)  # nobody sees the first of the two
            bed.emit(name)
        await bed.server.start()
        async with within(15.0, line):
            await line.until(lambda: len(line.rows) == 2 * count, "every tag is back")
        await line.stop()
        verdict = await line.verdict()
        assert verdict.clean
        assert verdict.explained == count
        assert {gap.reason for gap in line.gaps} == {"connection_lost"}


@pytest.mark.parametrize("first", range(1, 51, 1 if LONG else 7))
async def test_u4_a_second_loss_while_everything_is_made_again(bed: Bed, first: int) -> None:
    """U4: cut behind the n-th answer while subscription and items are made anew: all items are back, each time."""
    names = bed.variables(30)
    bed.server.space.limits[11714] = 5
    async with bed.line(Hurried()) as line:
        await line.until(lambda: len(line.rows) == len(names), "the first values")
        await bed.server.stop()
        await eventually(lambda: line.state != "connected", "the loss is noticed")
        bed.server.scripts.append(CutAfter(first))
        await bed.server.start()
        for name in names:
            bed.emit(name)
        await line.until(lambda: all(len(line.values(name)) == 2 for name in names), "every tag is back")
        await eventually(lambda: line.facts.get("items") == f"{len(names)} of {len(names)} live", "all live")
        for name in names:
            bed.emit(name)
        await line.until(lambda: all(len(line.values(name)) == 3 for name in names), "and runs")
        await line.stop()
        assert (await line.verdict()).clean


@pytest.mark.parametrize(("way", "provoke"), RECREATED, ids=[way for way, _ in RECREATED])
async def test_u6_a_subscription_that_ended_is_made_anew(bed: Bed, way: str, provoke: Any) -> None:
    """U6: whatever way its end is told: values again within 5 s, and what is missing is told."""
    names = bed.variables(3)
    async with bed.line(SystemClock()) as line:
        await line.until(lambda: len(line.rows) == len(names), "the first values")
        async with within(5.0, line):
            provoke(bed.server)
            for name in names:
                bed.emit(name, count=2)
            await line.until(lambda: all(len(line.values(name)) >= 2 for name in names), "present values")
            for name in names:
                bed.emit(name)
            latest = {name: bed.server.variables[name].value.value.value for name in names}
            await line.until(
                lambda: all(line.values(name)[-1] == latest[name] for name in names), "and new ones"
            )
        await line.stop()
        assert (await line.verdict()).clean
        assert len(line.gaps) == 1
    assert bed.server.record.count("CreateSubscription") == 2


async def test_u15_an_index_that_moved_mixes_up_nothing(bed: Bed) -> None:
    """U15: after a restart the number means another namespace, in which there is a node of the same name."""
    names = bed.variables(10)
    async with bed.line() as line:
        await line.until(lambda: len(line.rows) == len(names), "the first values")
        for shift in range(3):
            await bed.server.stop()
            uri = f"urn:test:other:{shift}"
            bed.server.space.namespaces.insert(2, uri)
            for name in names:
                wrong = DataValue(Scalar(11, -1.0), source=enc.ticks(START + 10**9))
                bed.server.space.decoys[uri, name] = Variable(value=wrong)
                bed.emit(name)
            await bed.server.start()
            seen = len(names) * (shift + 2)
            await line.until(lambda n=seen: len(line.rows) >= n, "present values")  # type: ignore[misc]
        await line.stop()
        assert (await line.verdict()).clean, "-1 would be spurious"
        assert all(line.values(name) == sorted(line.values(name)) for name in names)
        assert bed.server.space.namespaces[2] == "urn:test:other:2"


async def test_u24_a_line_that_stands_still_loses_only_what_the_server_drops(
    still: Bed, clock: FakeClock
) -> None:
    """U24: ten minutes without a journal: the subscription lives, and what its queues dropped is told to the last value."""
    still.server.policy.queue = (1, 20)
    still.settings["unacknowledged"] = 10
    names = still.variables(3)
    async with still.line(clock) as line:
        await passing(clock, lambda: len(still.server.record.acknowledged) > 0, 5.0)
        line.gate.clear()
        began = clock.monotonic()
        while clock.monotonic() < began + 600.0:
            for name in names:
                still.emit(name)
            await let(clock, 1.5, 1.5)
        assert not line.rows or len(line.rows) <= 10 * 30
        line.gate.set()
        await let(clock, 20.0)
        await line.stop()
        verdict = await line.verdict()
        assert verdict.clean
        assert verdict.explained == len(still.server.record.dropped) > 0
        assert {gap.reason for gap in line.gaps} == {"server_queue_overflow"}
        assert sum(row.quality == 0x480 for row in line.rows) == sum(
            told.status == 0x480 for told in still.server.record.told
        )
    assert still.server.record.count("CreateSubscription") == still.server.record.opened == 1
