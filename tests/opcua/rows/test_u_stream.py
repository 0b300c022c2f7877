"""The stream of notifications: what is missing, twice, in the wrong order, or was dropped by the server itself."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.clock import SystemClock
from pipelines.registry import Registry
from tests.contracts.rig import eventually
from tests.fakes import FakeClock
from tests.opcua import encoder as enc
from tests.opcua.rows.bed import START, Bed, passing, value, within
from tests.opcua.scripted import Answer, Notice, Swallow, Swap, Twice, Variable
from tests.opcua.scripted.subscription import LAST


async def test_u5_an_unknown_node_is_tried_again_and_disturbs_nobody(still: Bed, clock: FakeClock) -> None:
    """U5: others unaffected; asked after 1, 2, 4 … 60 s; back within 60 s of appearing."""
    late = Variable(value=value(1), known=False)
    still.variable("a", Variable(value=value(0)))
    still.variable("late", late, kind="number")
    taken = await still.begin(Registry())
    await passing(clock, lambda: taken.values() == [0.0], 1.0)
    waited = []
    for attempt in range(1, 8):
        before = still.server.record.count("Read")
        waited.append(await passing(clock, lambda n=before: still.server.record.count("Read") > n, 61.0, 0.5))  # type: ignore[misc]
        still.emit()
        await passing(clock, lambda n=attempt: len(taken.values()) == n + 1, 1.0)  # type: ignore[misc]
    assert waited[0] <= 2.0
    assert waited[-1] > 2 * waited[0], "more and more patiently"
    late.known = True
    assert await passing(clock, lambda: taken.values("late") == [1.0], 60.0, 0.5) <= 60.0
    assert not taken.task.done()
    assert still.server.record.opened == 1


async def test_u8_a_missing_message_is_had_again_at_once(bed: Bed) -> None:
    """U8: whatever the server still has comes back in its place, within a second."""
    bed.server.policy.per_notification = 1
    bed.variable("a", Variable(value=value(0)))
    async with bed.line() as line:
        await line.until(lambda: line.values("a") == [0.0], "the first value")
        bed.server.scripts.append(Swallow(3))
        bed.emit(count=10)
        async with within(1.0, line):
            await line.until(lambda: len(line.values("a")) == 11, "all values are stored")
        await line.stop()
        assert line.values("a") == [float(n) for n in range(11)]
        assert (await line.verdict()).clean
        assert line.gaps == []
    assert bed.asked_again() == [2, 3, 4]


@pytest.mark.parametrize("null", [False, True])
async def test_u9_a_keep_alive_consumes_no_number(bed: Bed, null: bool) -> None:
    """U9: its number is the next one's; with an empty array or none, nothing counts as received."""
    bed.server.policy.null_keep_alive = null
    bed.variable("a", Variable(value=value(0)))
    async with bed.line() as line:
        await line.until(lambda: line.values("a") == [0.0], "the first value")
        for number in range(2, 12):
            await eventually(lambda: bed.server.waiting >= 2, "the server may speak")
            bed.server.say(Notice(number, (), null), Notice(number, (), null))
            bed.emit()
            bed.server.flush()
            await line.until(lambda n=number: len(line.values("a")) == n, "the next value")  # type: ignore[misc]
        await eventually(
            lambda: bed.server.record.acknowledged == list(range(1, 12)), "each is acknowledged once"
        )
        await line.stop()
        assert (await line.verdict()).clean
        assert line.gaps == []
    assert bed.asked_again() == []


async def forward(bed: Bed, to: int) -> None:
    """The running subscription goes on at this number; the client is led there, by less than half the way round at a time.

    In one go: what the client has sent again after the first step would have a number of before.
    """
    (subscription,) = bed.server.subscriptions
    await eventually(lambda: bed.server.waiting >= 3, "the server may speak three times")
    for number in (LAST // 3, 2 * (LAST // 3), to):
        bed.server.say(Notice(number))
    subscription.sequence = to


@pytest.mark.parametrize("script", [None, Swallow, Twice, Swap], ids=["plain", "missing", "twice", "swapped"])
@pytest.mark.parametrize("number", [LAST - 1, LAST, 1], ids=["before", "last", "first"])
async def test_u10_numbers_go_round(bed: Bed, script: Any, number: int) -> None:
    """U10: 4294967295 is followed by 1, also where one is missing, comes twice or too early around it."""
    bed.server.policy.per_notification = 1
    bed.settings["keep_alive"] = "1s"  # the last of the missing are told by one
    bed.clock = FakeClock(SystemClock().now())  # a machine that stalls takes no connection for dead
    bed.variable("a", Variable(value=value(0)))
    bed.server.scripts.extend([script(begins=number)] if script else [])
    async with bed.line() as line:
        await line.until(lambda: line.values("a") == [0.0], "the first value")
        await forward(bed, LAST - 4)
        await line.until(lambda: len(line.gaps) == 3, "what the way there looks like to the client")
        for _ in range(12):
            bed.emit()
            bed.server.flush()
            await eventually(lambda: bed.server.waiting >= 2, "the server may speak")
        await line.until(lambda: len(line.values("a")) == 13, "all values are stored")
        await line.stop()
        assert line.values("a") == [float(n) for n in range(13)]
        assert (await line.verdict()).clean
        assert len(line.gaps) == 3
    numbers = [told.sequence for told in bed.server.record.told][1:]
    assert numbers == [(LAST - 5 + n) % LAST + 1 for n in range(len(numbers))]
    assert len(numbers) >= 12
    assert bed.asked_again() == ([number] if script in (Swallow, Swap) else [])
    assert bed.server.record.opened == 1


@pytest.mark.parametrize("reply", ["empty", "another", "endless"])
async def test_u11_asking_again_has_an_end(bed: Bed, reply: str) -> None:
    """U11: requests <= available + 1, whatever the server answers."""
    answers = {
        "empty": lambda asked: _republished(asked, 0),
        "another": lambda asked: _republished(asked, 99),
        "endless": lambda asked: _republished(asked, asked["sequence"] + 1),
    }
    bed.server.policy.per_notification = 1
    bed.variable("a", Variable(value=value(0)))
    bed.server.scripts.append(Answer("Republish", make=answers[reply]))
    async with bed.line() as line:
        await line.until(lambda: line.values("a") == [0.0], "the first value")
        already = bed.server.record.count("Republish")
        bed.server.scripts.append(Swallow(5))
        bed.emit(count=6)
        await line.until(lambda: 6.0 in line.values("a"), "the stream goes on")
        await line.until(lambda: bool(line.gaps), "the gap is told")
        bed.emit()
        await line.until(lambda: 7.0 in line.values("a"), "and on")
        await line.stop()
        assert (await line.verdict()).clean
    assert bed.server.record.count("Republish") - already <= 6 + 1


def _republished(asked: Any, number: int) -> bytes:
    return enc.node(0, 835) + enc.response_header(asked.handle) + enc.message(number, [])


async def test_u12_an_overflow_is_kept_counted_and_told(bed: Bed) -> None:
    """U12: every overflow of a real queue is told as a gap; what was dropped lies inside, what was kept is stored."""
    bed.server.policy.queue = (1, 5)
    names = [f"v{number}" for number in range(20)]
    for name in names:
        bed.variable(name, Variable(value=value(0)))
    async with bed.line() as line:
        await line.until(lambda: all(line.values(name) == [0.0] for name in names), "the first values")
        for burst in range(3):
            for name in names:
                bed.emit(name, count=12)
            expected = len(names) * (1 + 5 * (burst + 1))
            await line.until(lambda n=expected: len(line.rows) == n, "what the queues kept is stored")  # type: ignore[misc]
        await line.stop()
        verdict = await line.verdict()
        overflows = [told for told in bed.server.record.told if told.status & 0x480 == 0x480]
        assert len(overflows) == 3 * len(names)
        assert [row.quality for row in line.rows].count(0x480) == len(overflows)
        assert verdict.clean
        assert verdict.explained == len(bed.server.record.dropped) == 3 * 7 * len(names)
        told = [gap for gap in line.gaps if gap.reason == "server_queue_overflow"]
        assert told == line.gaps
        assert len(told) >= 3
        assert all(gap.machines == ("m",) and START <= gap.begins <= gap.ends for gap in told)
