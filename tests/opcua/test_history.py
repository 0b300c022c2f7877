"""Gaps are repaired from a server's history: what is asked for, what is stored, what is told, and what a crash or a lie does to it."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from adapters.clock import SystemClock
from adapters.errors import NotConnected
from adapters.opcua import history
from adapters.opcua.checkpoint import Checkpoint
from adapters.opcua.history_decode import decode_history
from adapters.opcua.values import Malformed
from pipelines.batch import Flag
from pipelines.stage import Gap
from tests.contracts.rig import eventually, leap
from tests.contracts.source import conserved
from tests.opcua import encoder as enc
from tests.opcua.encoder import Array, DataValue, Scalar
from tests.opcua.rows.bed import REQUEST_TIMEOUT
from tests.opcua.scripted import DOUBLE, CutAt, Ignore, Swallow, Variable
from tests.opcua.scripted.history import UNSUPPORTED, Archive
from tests.opcua.settling import settled
from tests.opcua.test_events import source as events_of
from tests.opcua.test_session import START, Bed, Line, begin, end, value
from tests.opcua.test_session import bed as bed  # noqa: PLC0414 (a fixture)

HISTORY = int(Flag.HISTORICAL)


def archive_of(bed: Bed) -> Archive:
    return bed.server.machine.archive


def remembering(bed: Bed, *names: str, **signal: Any) -> None:
    for name in names:
        bed.variable(name, Variable(value=value(0), access=5), **signal)
        archive_of(bed).remember(name)


def emit(bed: Bed, name: str, *numbers: int) -> None:
    for number in numbers:
        bed.server.emit(name, value(number, number))


def stored(line: Line, name: str) -> dict[int, float]:
    """By tick since START."""
    return {(row.at - START) // 100: row.value for row in line.rows if row.signal == name}


def flagged(line: Line, name: str) -> list[int]:
    """The ticks of what came from the history, in the order in which it came."""
    return [(row.at - START) // 100 for row in line.rows if row.signal == name and row.flags & HISTORY]


def verdicts(line: Line) -> list[Gap]:
    return [gap for gap in line.gaps if gap.reason.startswith("repaired")]


def open_repairs(line: Line) -> list[Any]:
    known = Checkpoint.from_bytes(line.checkpoint)
    assert known is not None
    return known.repairs


class Steady(SystemClock):
    """The time for first values to come, in steps behind each of which nothing is under way: a standstill gives none of it away."""

    async def sleep(self, seconds: float) -> None:
        steps = 5 if seconds == history.SETTLED else 1
        for _ in range(steps):
            await super().sleep(seconds / steps)
            if steps > 1:
                await settled()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch, bed: Bed) -> None:
    monkeypatch.setattr(history, "SETTLED", 0.1)
    bed.clock = Steady()


async def mended(line: Line, count: int = 1) -> Gap:
    await eventually(lambda: len(verdicts(line)) >= count, "the verdict of the repair")
    return verdicts(line)[-1]


async def away_while(bed: Bed, *, ticks: range, names: str = "a", **how: Any) -> Line:
    """A session up to tick 2, values that nobody hears, another session."""
    line = await begin(bed)
    for name in names:
        emit(bed, name, 1, 2)
    await eventually(lambda: all(len(stored(line, name)) == 3 for name in names), "the first values")
    await end(line)
    bed.server.end_subscriptions(silently=True)
    for name in names:
        emit(bed, name, *ticks)
    return await begin(bed, resume=line.checkpoint, **how)


async def test_what_was_missed_comes_back_and_the_gap_is_told_as_repaired(bed: Bed) -> None:
    remembering(bed, "a", "b")
    line = await away_while(bed, ticks=range(3, 40), names="ab")
    gap = await mended(line)
    for name in "ab":
        assert all(number == float(tick) for tick, number in stored(line, name).items())
        assert set(range(3, 40)) <= stored(line, name).keys()
        assert flagged(line, name)[-36:] == list(range(3, 39)), (
            "in order; what we have is not asked for again"
        )
    (told,) = [one for one in line.gaps if one.reason == "collector_down"]
    assert (gap.begins, gap.ends, gap.machines) == (told.begins, told.ends, told.machines)
    assert gap.reason == "repaired"
    assert "of 2 signals" in gap.detail
    assert gap.count == len(flagged(line, "a")) + len(flagged(line, "b"))
    assert all(conserved(delivery) for delivery in line.deliveries)
    assert open_repairs(line) == []


async def test_pages_and_live_values_in_between(bed: Bed) -> None:
    remembering(bed, "a")
    archive_of(bed).page = 10
    line = await away_while(bed, ticks=range(3, 100))
    emit(bed, "a", *range(100, 110))
    await mended(line)
    assert flagged(line, "a")[-96:] == list(range(3, 99))
    assert sorted(stored(line, "a")) == list(range(2, 110))
    assert len(archive_of(bed).reads) >= 10


async def test_nothing_is_written_and_no_method_is_called_but_two(bed: Bed) -> None:
    """S13: with events and a history to be read, too: sessions, reads, browsing, subscriptions, and what has the server say again."""
    remembering(bed, "a")
    line = await away_while(bed, ticks=range(3, 10))
    await mended(line)
    await end(line)
    listening = await begin(bed, source=events_of(bed))
    await eventually(lambda: bed.server.machine.alarms.refreshes > 0, "conditions are asked for")
    await end(listening)
    reading = {"Read", "HistoryRead", "Browse", "BrowseNext", "TranslateBrowsePathsToNodeIds"}
    session = {
        "GetEndpoints",
        "FindServers",
        "CreateSession",
        "ActivateSession",
        "CloseSession",
        "OpenSecureChannel",
        "CloseSecureChannel",
    }
    subscribing = {
        "CreateSubscription", "CreateMonitoredItems", "DeleteMonitoredItems", "DeleteSubscriptions", "Publish", "Republish",
        "TransferSubscriptions", "ModifyMonitoredItems", "SetMonitoringMode",
    }  # fmt: skip
    asked = set(bed.server.record.requests)
    assert asked - reading - session - subscribing == {"Call"}
    assert {method for method, _ in bed.server.record.called} <= {12873, 3875}, "ResendData, ConditionRefresh"


async def test_history_off_asks_nothing(bed: Bed) -> None:
    remembering(bed, "a")
    bed.settings["history"] = "off"
    line = await away_while(bed, ticks=range(3, 10))
    await eventually(lambda: bool(line.gaps), "the gap")
    emit(bed, "a", 11)
    await eventually(lambda: 11 in stored(line, "a"), "it goes on")
    assert open_repairs(line) == []
    assert bed.server.record.count("HistoryRead") == 0
    assert verdicts(line) == []


async def test_a_server_without_history_is_not_asked_and_the_gap_stays_what_it_is(bed: Bed) -> None:
    bed.variable("a", Variable(value=value(0)))
    line = await away_while(bed, ticks=range(3, 10))
    await eventually(lambda: bool(line.gaps), "the gap")
    assert open_repairs(line)
    numbers = iter(range(50, 100_000))

    def given_up() -> bool:
        emit(bed, "a", next(numbers))  # what is durable is known with the next value
        return not open_repairs(line)

    await eventually(given_up, "given up")
    assert bed.server.record.count("HistoryRead") == 0
    assert verdicts(line) == []


async def test_a_part_is_told_as_a_part(bed: Bed) -> None:
    remembering(bed, "a", "b")
    bed.variable("c", Variable(value=value(0)))
    archive_of(bed).statuses["b"] = UNSUPPORTED
    line = await away_while(bed, ticks=range(3, 10), names="abc")
    gap = await mended(line)
    assert gap.reason == "repaired_in_part"
    assert "m/b (nsu=urn:test:machine;s=b): BadHistoryOperationUnsupported" in gap.detail
    assert "m/c (nsu=urn:test:machine;s=c): no history" in gap.detail
    assert flagged(line, "a")[-6:] == list(range(3, 9))


async def test_lost_notifications_come_back(bed: Bed) -> None:
    """The sequence has a hole that Republish cannot fill."""
    remembering(bed, "a")
    bed.server.policy.keep = 0
    line = await begin(bed)
    await eventually(lambda: len(stored(line, "a")) == 1, "the first value")
    emit(bed, "a", 1)
    await eventually(lambda: len(stored(line, "a")) == 2, "a value")
    bed.server.scripts.append(Swallow(1))
    emit(bed, "a", 2, 3, 4)
    bed.server.flush()
    emit(bed, "a", 5)
    bed.server.flush()
    gap = await mended(line)
    assert (gap.reason, gap.count) == ("repaired", 3)
    assert flagged(line, "a") == [2, 3, 4]
    assert sorted(stored(line, "a")) == [*range(6)]


async def test_an_overflowed_queue_is_filled_from_the_history(bed: Bed) -> None:
    remembering(bed, "a", queue=3)
    bed.server.policy.queue = (1, 3)
    line = await begin(bed)
    await eventually(lambda: len(stored(line, "a")) == 1, "the first value")
    emit(bed, "a", *range(1, 21))
    gap = await mended(line)
    assert [one.reason for one in line.gaps] == ["server_queue_overflow", "repaired"]
    assert flagged(line, "a") == list(range(1, 18))
    assert gap.count == len(flagged(line, "a"))


async def test_what_a_node_said_before_its_item_was_made_anew(bed: Bed) -> None:
    """The node vanished and returned; the server's item is dead, and the new one comes too late for some values."""
    remembering(bed, "a")
    line = await begin(bed)
    emit(bed, "a", 1)
    await eventually(lambda: len(stored(line, "a")) == 2, "a value")
    bed.server.variables["a"].known = False
    bed.server.emit("a", DataValue(None, 0x80340000, enc.ticks(START + 200)))
    await eventually(lambda: 2 in stored(line, "a"), "told as unknown")
    (subscription,) = bed.server.subscriptions
    for item in subscription.items.values():
        item.node = "nobody"
    emit(bed, "a", 5, 6, 7)
    bed.server.variables["a"].known = True
    gap = await mended(line)
    assert (line.gaps[0].reason, gap.reason) == ("node_unknown", "repaired")
    assert flagged(line, "a") == [5, 6]
    assert 7 in stored(line, "a")


async def away_at_first(bed: Bed, names: list[str]) -> Line:
    """A session that ends after the first values, then three ticks of every signal that nobody hears."""
    line = await begin(bed)
    await eventually(lambda: all(stored(line, name) for name in names), "the first values")
    emit(bed, names[0], 1)
    await eventually(lambda: len(stored(line, names[0])) == 2, "a value")
    await end(line)
    bed.server.end_subscriptions(silently=True)
    for name in names:
        emit(bed, name, 2, 3, 4)
    return line


async def test_a_repair_that_was_interrupted_goes_on(bed: Bed) -> None:
    """kill -9 in the middle: what the checkpoint says is still to be done is done by the next life."""
    names = [f"s{number:02}" for number in range(30)]
    remembering(bed, *names)
    line = await away_at_first(bed, names)
    second = await begin(bed, resume=line.checkpoint)
    await mended(second)
    said = [
        known for d in second.deliveries if (known := Checkpoint.from_bytes(d.checkpoint)) and known.repairs
    ]
    halfway = next(known for known in said if known.repairs[0][4] == "m/s19")
    await end(second)
    bed.server.end_subscriptions(silently=True)
    archive_of(bed).reads.clear()
    third = await begin(bed, resume=halfway.to_bytes())
    gap = await mended(third)
    assert {name for asked, *_ in archive_of(bed).reads for name in asked} == set(names[20:])
    assert [flagged(third, name) for name in names[20:]] == [[2, 3]] * 10
    assert gap.count == verdicts(second)[0].count, "what was brought back before counts too"


async def test_elements_of_arrays_have_a_past_too(bed: Bed) -> None:
    def wave(tick: int) -> DataValue:
        return DataValue(Array(DOUBLE, [float(tick), 0.5]), source=enc.ticks(START + 100 * tick))

    bed.variable("w", Variable(value=wave(0), rank=1, access=5), array="elements")
    archive_of(bed).remember("w")
    line = await begin(bed)
    await eventually(lambda: bool(stored(line, "w[0]")), "the first value")
    await end(line)
    bed.server.end_subscriptions(silently=True)
    for tick in range(1, 5):
        bed.server.emit("w", wave(tick))
    again = await begin(bed, resume=line.checkpoint)
    await mended(again)
    assert set(flagged(again, "w[0]")) >= {1, 2, 3}
    assert all(conserved(delivery) for delivery in again.deliveries)


async def test_continuation_points_that_lead_nowhere_are_given_back(bed: Bed) -> None:
    remembering(bed, "a")
    archive_of(bed).endless = True
    line = await away_while(bed, ticks=range(3, 10))
    gap = await mended(line)
    assert gap.reason == "repaired_in_part"
    assert "lead nowhere" in gap.detail
    assert archive_of(bed).released == 1


async def test_values_outside_of_what_was_asked_for_are_not_taken(bed: Bed) -> None:
    remembering(bed, "a")
    archive_of(bed).values["a"] += [value(-1, -50), DataValue(Scalar(DOUBLE, 1.0))]
    original = archive_of(bed)._node

    def everything(name: str, point: bytes | None, span: tuple[int, int], most: int) -> bytes:
        return original(name, point, (-(2**62), 2**62), most)

    archive_of(bed)._node = everything  # type: ignore[method-assign]
    line = await away_while(bed, ticks=range(3, 10))
    gap = await mended(line)
    assert -50 not in stored(line, "a")
    assert gap.reason == "repaired_in_part", "one of them had no time"


async def test_a_history_by_hand_needs_no_subscription(bed: Bed) -> None:
    remembering(bed, "a", "b")
    archive_of(bed).page = 10
    emit(bed, "a", *range(1, 50))
    emit(bed, "b", *range(1, 50))
    async with bed.source().recall(START + 1000, START + 3000) as recall:
        deliveries = [delivery async for delivery in recall]
        assert (recall.signals, recall.done, dict(recall.troubles)) == (2, 2, {})
    rows = [
        (int(p), (int(t) - START) // 100)
        for d in deliveries
        for b in d.batches
        for p, t in zip(b.points, b.at, strict=True)
    ]
    assert sorted(rows) == [(point, tick) for point in (0, 1) for tick in range(10, 30)]
    assert all(conserved(delivery) for delivery in deliveries)
    assert bed.server.record.count("CreateSubscription") == 0
    assert all(delivery.checkpoint is None for delivery in deliveries)


async def test_a_history_by_hand_that_breaks_off_says_so(bed: Bed) -> None:
    remembering(bed, "a")
    archive_of(bed).page = 10
    emit(bed, "a", *range(1, 50))
    bed.server.scripts.append(CutAt("HistoryRead", passing=2))

    async def whole() -> None:
        async with bed.source().recall(START, START + 10**9) as recall:
            async for _ in recall:
                pass

    with pytest.raises(NotConnected):
        await whole()


async def test_a_server_that_falls_over_its_history_is_left_in_peace(bed: Bed) -> None:
    """Without an end to it the source would never be connected for longer than a second."""
    remembering(bed, "a")
    line = await begin(bed)
    await eventually(lambda: bool(stored(line, "a")), "the first value")
    source, checkpoint = bed.source(), line.checkpoint
    await end(line)
    bed.server.scripts.append(CutAt("HistoryRead"))
    for number in range(10, 40, 10):
        emit(bed, "a", number, number + 1)
        bed.server.end_subscriptions(silently=True)
        line = await begin(bed, source=source, resume=checkpoint)
        await eventually(line.task.done, "the connection is cut")
        assert isinstance(line.error, NotConnected)
        checkpoint = line.checkpoint
    emit(bed, "a", 50, 51)
    line = await begin(bed, source=source, resume=checkpoint)
    await eventually(lambda: len(verdicts(line)) == 4, "four gaps are told as they are")
    assert "again and again" in verdicts(line)[-1].detail
    emit(bed, "a", 100)
    await eventually(lambda: 100 in stored(line, "a"), "it works")
    assert bed.server.record.count("HistoryRead") == 3


async def test_a_history_that_takes_too_long_is_asked_for_less_at_a_time(bed: Bed) -> None:
    names = [f"s{number:02}" for number in range(8)]
    remembering(bed, *names)
    bed.server.scripts.append(Ignore("HistoryRead", times=1))
    line = await away_at_first(bed, names)
    again = await begin(bed, resume=line.checkpoint)
    await eventually(lambda: bed.server.record.count("HistoryRead") == 1, "it is asked")
    leap(REQUEST_TIMEOUT)
    gap = await mended(again)
    assert gap.reason == "repaired"
    assert [flagged(again, name) for name in names[1:]] == [[2, 3]] * 7
    assert max(len(asked) for asked, *_ in archive_of(bed).reads) == 2


def _answer(results: bytes, count: int) -> bytes:
    return enc.node(0, 667) + enc.response_header() + struct.pack("<i", count) + results


@pytest.mark.parametrize(
    "body",
    [
        _answer(b"", 2**31 - 1),
        _answer(b"", 1),
        _answer(struct.pack("<Ii", 0, 2**31 - 1), 1),
        _answer(struct.pack("<Ii", 0, -1) + enc.extension(658, struct.pack("<i", 2**31 - 1)), 1),
        _answer(
            struct.pack("<Ii", 0, -1)
            + enc.extension(658, struct.pack("<i", 1) + b"\x01\x0c\xff\xff\xff\x7f"),
            1,
        ),
        _answer(struct.pack("<Ii", 0, -1) + enc.extension(900, b""), 1),
        enc.node(0, 634) + enc.response_header(),
        b"",
    ],
    ids=[
        "many nodes",
        "none of one",
        "long point",
        "many values",
        "long text",
        "another type",
        "another answer",
        "nothing",
    ],
)
def test_hostile_answers_are_malformed_and_nothing_else(body: bytes) -> None:
    with pytest.raises(Malformed):
        decode_history(body, 1)


async def test_a_hostile_history_spoils_no_session(bed: Bed) -> None:
    remembering(bed, "a")
    archive_of(bed)._node = lambda *_: b"\xff" * 40  # type: ignore[method-assign]
    line = await away_while(bed, ticks=range(3, 10))
    gap = await mended(line)
    assert "breaks the encoding" in gap.detail
    emit(bed, "a", 50)
    await eventually(lambda: 50 in stored(line, "a"), "the session goes on")
