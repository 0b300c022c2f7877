"""The session against the scripted server: what came, what is missing, what was acknowledged, and when it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.base import Bench
from adapters.clock import Clock, SystemClock
from adapters.errors import NotConnected
from adapters.labels import Labels
from adapters.opcua.checkpoint import Checkpoint
from adapters.opcua.session import OpcUaSession
from adapters.opcua.settings import OpcUaRead, OpcUaSignal, OpcUaSource
from adapters.opcua.source import OpcUaReader
from adapters.settings import Reading
from pipelines.batch import Flag, Kind, Point
from pipelines.registry import Registry
from tests.contracts.rig import eventually
from tests.contracts.source import Row, Taker, conserved
from tests.fakes import FakeClock
from tests.opcua import encoder as enc
from tests.opcua.encoder import Array, DataValue, Null, Scalar
from tests.opcua.opened import opened
from tests.opcua.rows.bed import REQUEST_TIMEOUT, let, within
from tests.opcua.scripted import (
    INT32,
    STRING,
    URI,
    Answer,
    Notice,
    ScriptedServer,
    Swallow,
    Unsupported,
    Variable,
)

START = 1_700_000_000_000_000_000


def still() -> Clock:
    return FakeClock(SystemClock().now())


PROOF = 1  # Republish of what cannot be there, to see whether the server would say so


def value(number: float, tick: int = 0, status: int | None = None) -> DataValue:
    """A Double whose time is START plus `tick` times 100 ns."""
    return DataValue(Scalar(11, float(number)), status, enc.ticks(START + 100 * tick))


class Bed:
    """A scripted server, a source for it, and a taker: one machine `m` with signals named like the nodes."""

    def __init__(self) -> None:
        self.server, self.registry = ScriptedServer(), Registry()
        self.clock: Clock = SystemClock()
        self.server.policy.reactivate = False  # taking up what a server kept has tests of its own
        self.server.scripts.append(Unsupported(["TransferSubscriptions"]))
        self.settings: dict[str, Any] = {
            "publishing_interval": "20ms",
            "keep_alive": "30s",
            "request_timeout": f"{REQUEST_TIMEOUT:g}s",
        }
        self.signals: list[dict[str, Any]] = []
        self.lines: list[Line] = []
        self.labels = Labels()

    async def ended(self) -> None:
        for line in self.lines:
            await end(line)

    def variable(self, name: str, variable: Variable | None = None, **signal: Any) -> None:
        if variable is not None:
            self.server.variables[name] = variable
        self.signals.append({"name": name, "node": f"nsu={URI};s={name}", "every": "10ms"} | signal)

    def source(self) -> OpcUaReader:
        signals = [OpcUaSignal.model_validate(signal) for signal in self.signals]
        reading = Reading(machine="m", tags={}, read=OpcUaRead(source="plc", signals=signals))
        settings = OpcUaSource.model_validate(
            {"type": "opcua", "url": self.server.url, "security": "none", **self.settings}
        )
        return OpcUaReader("plc", settings, (reading,), Bench(self.registry, self.clock, labels=self.labels))


class Line(Taker):
    """A taker in a task of its own."""

    task: asyncio.Task[None]

    def values(self, signal: str) -> list[Any]:
        return [row.value for row in self.rows if row.signal == signal and not row.flags & Flag.NO_VALUE]

    def row(self, signal: str) -> Row:
        return next(row for row in self.rows if row.signal == signal)


async def begin(
    bed: Bed, *, source: OpcUaReader | None = None, acking: bool = True, resume: bytes | None = None
) -> Line:
    line = Line(bed.registry, acking=acking)
    bed.lines.append(line)
    line.task = asyncio.get_running_loop().create_task(line.run(source or bed.source(), resume))
    await eventually(lambda: line.session is not None or line.task.done(), "the session opens")
    assert line.session is not None, line.error
    return line


async def end(line: Line) -> None:
    line.task.cancel()
    await asyncio.gather(line.task, return_exceptions=True)


async def to_and_fro(line: Line) -> None:
    """Two questions to the server: what was on its way before them has arrived, in both directions."""
    assert isinstance(line.session, OpcUaSession)
    for _ in range(2):
        await line.session._desk.condition()


async def acknowledged(bed: Bed, last: int) -> None:
    """Long before the next keep-alive."""
    async with within(1.0):
        await eventually(lambda: bed.server.record.acknowledged == list(range(1, last + 1)), "acknowledged")


@pytest.fixture
async def bed() -> AsyncIterator[Bed]:
    async for made in opened(Bed()):
        yield made


async def test_values_in_order_exact_and_to_the_tick(bed: Bed) -> None:
    bed.variable("a", Variable(value=value(0)))
    bed.variable("n", Variable(INT32, DataValue(Scalar(6, 7), source=enc.ticks(START))))
    bed.variable("t", Variable(STRING, DataValue(Scalar(12, "on"), source=enc.ticks(START))))
    line = await begin(bed)
    for number in range(1, 2000):
        bed.server.emit("a", value(number / 3, number))
    await eventually(lambda: len(line.values("a")) == 2000, "all values arrive")
    await end(line)
    assert line.values("a") == [number / 3 for number in range(2000)]
    assert [row.at for row in line.rows if row.signal == "a"] == [START + 100 * n for n in range(2000)]
    assert (line.values("n"), line.values("t")) == ([7], ["on"])
    assert [bed.registry[n].kind for n in range(3)] == [Kind.NUMBER, Kind.INTEGER, Kind.TEXT]
    assert all(conserved(delivery) for delivery in line.deliveries)


async def test_facts_tell_people_what_is_going_on(bed: Bed) -> None:
    bed.variable("a", Variable())
    bed.variable("ghost")
    bed.server.space.state = 1
    line = await begin(bed)
    assert line.session is not None
    facts = line.session.facts
    await end(line)
    assert facts["endpoint"] == bed.server.url
    assert facts["security"] == "none, anonymous"
    assert facts["server"] == "Scripted"
    assert facts["items"] == "1 of 2 live"
    assert "m/ghost" in facts["failed"]
    assert "Failed" in facts["warning"]
    assert facts["publishing_interval"] == "0.02 s"


async def test_a_status_without_value_says_so_and_a_value_with_bad_status_keeps_it(bed: Bed) -> None:
    bed.variable("a", Variable(value=value(1)))
    line = await begin(bed)
    bed.server.emit("a", DataValue(Null(), 0x80310000, enc.ticks(START)))
    bed.server.emit("a", value(2, 5, 0x80020000))
    await eventually(lambda: len(line.rows) == 3, "three rows")
    await end(line)
    assert [(row.value, row.quality, row.flags) for row in line.rows] == [
        (1.0, 0, 0),
        (0.0, 0x80310000, Flag.NO_VALUE),
        (2.0, 0x80020000, 0),
    ]


async def test_an_unknown_node_is_named_and_disturbs_nobody(
    bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    bed.variable("good", Variable(value=value(1)))
    bed.variable("ghost", kind="number")
    bed.variable("elsewhere", node="nsu=urn:not:there;s=x", kind="number")
    bed.variable("refused", Variable(create=0x803B0000))
    with caplog.at_level(logging.WARNING):
        line = await begin(bed)
        await eventually(lambda: len(line.rows) >= 4, "the good value and three rows without one")
    await end(line)
    assert line.values("good") == [1.0]
    ghost, elsewhere = line.row("ghost"), line.row("elsewhere")
    assert (ghost.quality, ghost.flags) == (0x80340000, Flag.NO_VALUE | Flag.TIME_SUBSTITUTED)
    assert elsewhere.quality == 0x80340000
    assert line.row("refused").quality == 0x803B0000
    (told,) = [record.getMessage() for record in caplog.records if "cannot be read" in record.getMessage()]
    assert "3 of 4" in told
    assert "m/ghost" in told
    assert "urn:not:there" in told


async def test_a_node_that_appears_later_is_read_then(bed: Bed) -> None:
    bed.variable("late", kind="number")
    line = await begin(bed)
    bed.server.variables["late"] = Variable(value=value(5))
    await eventually(lambda: line.values("late") == [5.0], "the item is tried again")
    assert line.session is not None
    await eventually(
        lambda: line.session is not None and line.session.facts["failed"] == "", "the facts follow"
    )
    await end(line)


async def test_namespaces_are_found_by_uri_after_a_shift(bed: Bed) -> None:
    bed.variable("a", Variable(value=value(1)))
    line = await begin(bed)
    await eventually(lambda: line.values("a") == [1.0], "first life")
    await bed.server.stop()
    await eventually(line.task.done, "the loss is noticed")
    bed.server.space.namespaces.insert(1, "urn:new:one")
    bed.server.variables["a"].value = value(2, 9)
    await bed.server.start()
    again = await begin(bed, resume=line.checkpoint)
    await eventually(lambda: again.values("a") == [2.0], "second life")
    await end(again)


async def test_a_restart_ends_the_session_and_the_next_tells_the_gap(bed: Bed) -> None:
    for name in ("a", "b"):
        bed.variable(name, Variable(value=value(1)))
    source = bed.source()
    line = await begin(bed, source=source)
    bed.server.emit("a", value(2, 50))
    await eventually(lambda: line.values("a") == [1.0, 2.0] and line.values("b") == [1.0], "first life")
    await bed.server.stop()
    await eventually(line.task.done, "the loss is noticed")
    assert isinstance(line.error, NotConnected)
    bed.server.variables["b"].value = value(3, 90)
    await bed.server.start()
    for life, reason in ((source, "connection_lost"), (bed.source(), "collector_down")):
        again = await begin(bed, source=life, resume=line.checkpoint)
        await eventually(lambda now=again: now.values("b") == [3.0], "all items are back")  # type: ignore[misc]
        await end(again)
        assert again.values("a") == [2.0]
        (gap,) = again.gaps
        assert (gap.begins, gap.ends, gap.reason) == (START + 5000, START + 9000, reason)
        assert again.deliveries[0].gaps, "the gap comes first"


async def test_no_gap_the_first_time_or_with_an_unreadable_checkpoint(bed: Bed) -> None:
    bed.variable("a", Variable(value=value(1)))
    for resume in (None, b"\x00nonsense", b'{"version":99}', b'{"version":1,"x":1}'):
        line = await begin(bed, resume=resume)
        await eventually(lambda now=line: now.values("a") == [1.0], "values arrive")  # type: ignore[misc]
        await end(line)
        assert line.gaps == []


async def test_acknowledged_only_after_the_journal_has_it(bed: Bed) -> None:
    bed.variable("a", Variable(value=value(0)))
    line = await begin(bed, acking=False)
    await eventually(lambda: line.values("a") == [0.0], "the first value")
    for number in range(1, 6):
        bed.server.emit("a", value(number, number))
        bed.server.flush()
        await eventually(lambda n=number: len(line.values("a")) == n + 1, "the next value")  # type: ignore[misc]
    assert bed.server.record.acknowledged == []
    await line.settle()
    await eventually(
        lambda: bed.server.record.acknowledged == [1, 2, 3, 4, 5, 6], "a spare request carries them at once"
    )
    await end(line)


async def test_a_spare_request_carries_an_acknowledgement_at_once(bed: Bed) -> None:
    bed.variable("a", Variable(value=value(0)))  # with a keep-alive of 30 s
    line = await begin(bed)
    for number in range(1, 4):
        await acknowledged(bed, number)
        bed.server.emit("a", value(number, number))
    await end(line)


async def test_an_acknowledgement_counts_once(bed: Bed) -> None:
    bed.variable("a", Variable(value=value(0)))
    line = await begin(bed, acking=False)
    await eventually(lambda: bool(line.rows), "the first value")
    await line.owed[-1].ack()
    await line.owed[-1].ack()
    await eventually(lambda: bed.server.record.acknowledged == [1], "it is acknowledged")
    bed.server.emit("a", value(1, 1))
    await eventually(lambda: len(line.values("a")) == 2, "the session goes on")
    await end(line)
    assert bed.server.record.acknowledged == [1]


async def test_what_is_not_durable_is_bounded_and_the_line_is_pressed(bed: Bed) -> None:
    bed.settings["unacknowledged"] = 10
    bed.server.policy.per_notification = 1
    bed.variable("a", Variable(value=value(0)))
    line = await begin(bed, acking=False)
    for number in range(1, 60):
        bed.server.emit("a", value(number, number))
    await eventually(lambda: not bed.server.waiting, "no more requests are sent")
    await eventually(lambda: len(line.rows) >= 10, "as many as may be")
    await to_and_fro(line)
    assert 10 <= len(line.rows) <= 14
    pressing = line.deliveries[-1].pressing
    assert pressing is not None
    assert pressing.is_set()
    await line.settle()
    await eventually(lambda: len(line.rows) == 60, "acknowledging makes room")
    await end(line)
    assert line.values("a") == [float(n) for n in range(60)]


async def test_a_collector_that_is_held_back_is_not_taken_for_a_dead_server(bed: Bed) -> None:
    bed.settings |= {"unacknowledged": 10, "keep_alive": "300ms"}
    bed.clock = clock = FakeClock(SystemClock().now())
    bed.server.policy.per_notification = 1
    bed.variable("a", Variable(value=value(0)))
    line = await begin(bed, acking=False)
    for number in range(1, 60):
        bed.server.emit("a", value(number, number))
    await eventually(lambda: len(line.rows) >= 10 and not bed.server.waiting, "no more requests are sent")
    await let(clock, 1.2)  # two and a half keep-alives are 0.75 s
    assert not line.task.done(), line.error
    bed.server.machine.mute = True
    await line.settle()
    await let(clock, 0.1)  # only from now on the server has something to answer
    assert not line.task.done(), line.error
    bed.server.machine.mute = False
    await eventually(lambda: len(line.rows) == 60, "acknowledging makes room")
    await end(line)


async def test_several_requests_wait_at_the_server_and_fewer_if_it_wants_fewer(bed: Bed) -> None:
    bed.variable("a", Variable(value=value(0)))
    line = await begin(bed)
    await eventually(lambda: bed.server.record.most_in_flight >= 3, "three requests wait")
    await end(line)
    bed.server.record.most_in_flight, bed.server.policy.publish_limit = 0, 1
    line = await begin(bed)
    for number in range(1, 30):
        bed.server.emit("a", value(number, number))
        await asyncio.sleep(0)
    await eventually(lambda: len(line.rows) == 30, "values flow with one request")
    await end(line)
    assert bed.server.record.most_in_flight == 1


async def test_what_rode_on_a_refused_request_is_acknowledged_by_another(bed: Bed) -> None:
    bed.settings["keep_alive"], bed.clock = "100ms", still()
    bed.variable("a", Variable(value=value(0)))
    line = await begin(bed)
    await eventually(lambda: line.values("a") == [0.0], "the first value")
    bed.server.policy.publish_limit = 1
    for number in range(1, 20):
        bed.server.emit("a", value(number, number))
        bed.server.flush()
        await eventually(lambda n=number: len(line.values("a")) == n + 1, "the next value")  # type: ignore[misc]
    last = bed.server.subscriptions[0].sequence
    await eventually(
        lambda: set(bed.server.record.acknowledged) == set(range(1, last)), "all are acknowledged"
    )
    await end(line)


async def test_a_missing_notification_is_fetched_again_in_its_place(bed: Bed) -> None:
    bed.settings["keep_alive"], bed.clock = "200ms", still()
    bed.server.policy.per_notification = 1
    bed.variable("a", Variable(value=value(0)))
    line = await begin(bed)
    await eventually(lambda: line.values("a") == [0.0], "the first value")
    bed.server.scripts.append(Swallow(3))
    for number in range(1, 8):
        bed.server.emit("a", value(number, number))
    await eventually(lambda: len(line.values("a")) == 8, "all values arrive")
    await eventually(
        lambda: sorted(bed.server.record.acknowledged) == list(range(1, 9)),
        "the repaired are acknowledged too",
    )
    await end(line)
    assert line.values("a") == [float(n) for n in range(8)]
    assert line.gaps == []
    assert bed.server.record.count("Republish") == 3 + PROOF


async def test_a_keep_alive_tells_of_a_missing_notification_and_consumes_no_number(bed: Bed) -> None:
    bed.settings["keep_alive"], bed.clock = "100ms", still()
    bed.variable("a", Variable(value=value(0)))
    line = await begin(bed)
    await eventually(lambda: line.values("a") == [0.0], "the first value")
    seen = bed.server.record.count("Publish")
    await eventually(lambda: bed.server.record.count("Publish") >= seen + 3, "a few keep-alives")
    bed.server.scripts.append(Swallow(1))
    bed.server.emit("a", value(1, 1))
    await eventually(lambda: line.values("a") == [0.0, 1.0], "the keep-alive tells, Republish brings it")
    await end(line)
    assert line.gaps == []


@pytest.mark.parametrize("reply", ["gone", "empty", "wrong"])
async def test_what_cannot_be_had_again_is_a_gap_and_asked_for_once(bed: Bed, reply: str) -> None:
    bed.server.policy.per_notification = 1
    bed.variable("a", Variable(value=value(0)))
    answers = {
        "gone": lambda asked: enc.service_fault(0x807B0000, asked.handle),
        "empty": lambda asked: enc.republish_response(0, [], asked.handle),
        "wrong": lambda asked: enc.node(0, 999) + b"\0" * 40,
    }
    bed.server.scripts.append(Answer("Republish", make=answers[reply]))
    line = await begin(bed)
    await eventually(lambda: line.values("a") == [0.0], "the first value")
    bed.server.scripts.append(Swallow(2))
    for number in range(1, 5):
        bed.server.emit("a", value(number, number))
    await eventually(lambda: line.values("a")[:3] == [0.0, 3.0, 4.0], "the rest arrives")
    await end(line)
    (gap,) = line.gaps
    assert gap.reason == "notifications_missing"
    assert "2 notifications" in gap.detail
    assert gap.begins == START
    assert gap.ends >= START + 200
    assert bed.server.record.count("Republish") == 2 + PROOF


async def test_an_overflow_keeps_the_value_and_tells_the_gap_of_that_machine(bed: Bed) -> None:
    bed.variable("a", Variable(value=value(0)))
    line = await begin(bed)
    await eventually(lambda: line.values("a") == [0.0], "the first value")
    bed.server.emit("a", value(7, 70, 0x480))
    await eventually(lambda: line.values("a") == [0.0, 7.0], "the value is kept")
    await end(line)
    (gap,) = line.gaps
    assert (gap.reason, gap.machines) == ("server_queue_overflow", ("m",))
    assert (gap.begins, gap.ends) == (START, START + 7000)
    assert "a" in gap.detail


@pytest.mark.parametrize(
    ("provoke", "word"),
    [
        (lambda server: server.fault(0x80250000), "BadSessionIdInvalid"),
        (lambda server: server.fault(0x80260000), "BadSessionClosed"),
        (lambda server: server.cut(), "connection lost"),
    ],
)
async def test_every_end_of_a_session_is_not_connected_with_its_reason(
    bed: Bed, provoke: Any, word: str
) -> None:
    bed.variable("a", Variable(value=value(0)))
    line = await begin(bed)
    await eventually(lambda: line.values("a") == [0.0], "the first value")
    provoke(bed.server)
    await eventually(line.task.done, "the session ends")
    assert isinstance(line.error, NotConnected)
    if "Bad" in word:
        assert word in str(line.error)


async def test_limits_of_the_server_are_honoured_announced_or_not(bed: Bed) -> None:
    for number in range(25):
        bed.variable(f"v{number}", Variable(value=value(number)))
    bed.server.policy.limits = {"Read": 10, "CreateMonitoredItems": 10}
    for announced in (10, 0):
        bed.server.space.limits = {11705: announced, 11714: announced}
        line = await begin(bed)
        await eventually(lambda now=line: len(now.rows) == 25, "all items are created")  # type: ignore[misc]
        await end(line)


async def test_garbage_is_refused_and_the_stream_goes_on(bed: Bed) -> None:
    bed.variable("a", Variable(value=value(0)))
    line = await begin(bed)
    await eventually(lambda: line.values("a") == [0.0], "the first value")
    bed.server.notify(811, enc.data_change([(0, value(1, 1)), (0, value(2, 2))])[:-30])
    bed.server.notify(916, b"an event list")
    bed.server.emit("a", value(3, 3))
    await eventually(lambda: 3.0 in line.values("a"), "the stream goes on")
    await end(line)
    assert line.values("a") == [0.0, 3.0]
    assert [refusal.values for refusal in line.refused] == [2, 1]
    assert all(refusal.raw and refusal.reason for refusal in line.refused)
    assert all(conserved(delivery) for delivery in line.deliveries)
    assert line.gaps == []


async def test_a_kind_that_changed_is_reported_and_the_others_run(bed: Bed) -> None:
    bed.registry.intern(Point("m", "a", Kind.TEXT))
    bed.variable("a", Variable(value=value(1)), kind="number")
    bed.variable("b", Variable(value=value(2)))
    line = await begin(bed)
    await eventually(lambda: line.values("b") == [2.0], "the other one runs")
    assert line.session is not None
    assert "has been stored as text" in line.session.facts["failed"]
    await end(line)


async def test_a_point_without_known_type_gets_its_kind_from_the_first_value(bed: Bed) -> None:
    bed.variable("w", Variable(9999, DataValue(None, 0x80320000)))
    line = await begin(bed)
    await eventually(lambda: bool(line.refused), "a row without value and without type has no home yet")
    bed.server.emit("w", DataValue(Array(11, [1.0, 2.0]), source=enc.ticks(START)))
    await eventually(lambda: bool(line.rows), "the value arrives")
    await end(line)
    assert bed.registry[0].kind is Kind.WAVEFORM
    assert all(conserved(delivery) for delivery in line.deliveries)


async def test_the_probe_names_every_node(bed: Bed) -> None:
    bed.variable("good", Variable())
    bed.variable("ghost")
    bed.variable("index", Variable(), node="ns=2;s=good")
    findings = await bed.source().probe()
    assert [finding.level for finding in findings] == ["ok", "ok", "error", "warning"]
    assert "m/ghost" in findings[2].where
    assert findings[2].message == "BadNodeIdUnknown"
    assert f"nsu={URI};s=good" in findings[3].hint
    assert len(bed.registry.since(0)) == 0, "looking changes nothing"
    await bed.server.stop()
    (finding,) = await bed.source().probe()
    assert (finding.level, finding.message.endswith("connection refused")) == ("error", True)


async def test_nobody_there_is_not_connected(bed: Bed) -> None:
    bed.variable("a", Variable())
    await bed.server.stop()
    with pytest.raises(NotConnected, match="refused"):
        async with bed.source().session(None):
            pytest.fail("entered")


async def test_what_the_server_gives_less_of_is_told_once_for_all(bed: Bed) -> None:
    for number in range(3):
        bed.variable(f"v{number}", Variable())
    bed.server.policy.sampling = 500.0
    findings = [finding for finding in await bed.source().probe() if finding.level == "warning"]
    (told,) = findings
    assert told.message == "looked at every 0.5 s instead of 0.01 s (3 signals, such as v0)"
    line = await begin(bed)
    assert line.session is not None
    assert line.session.facts["revised"] == told.message
    await end(line)


async def test_a_checkpoint_waits_until_the_gap_was_told(bed: Bed) -> None:
    """Otherwise a crash between the first delivery and the first values would hide the gap for ever."""
    bed.variable("a", Variable(value=value(1)))
    bed.variable("ghost", kind="number")
    first = await begin(bed)
    await eventually(lambda: first.values("a") == [1.0], "first life")
    await end(first)
    assert first.checkpoint is not None
    bed.server.machine.mute = True
    second = await begin(bed, resume=first.checkpoint)
    await eventually(lambda: bool(second.rows), "the ghost's row without value")
    told = [Checkpoint.from_bytes(delivery.checkpoint) for delivery in second.deliveries]
    before = Checkpoint.from_bytes(first.checkpoint)
    assert before is not None
    assert {(now.told, now.newest, now.life) for now in told if now} == {(False, before.newest, before.life)}
    bed.server.machine.mute = False
    await eventually(lambda: bool(second.gaps), "the gap is told with the first values")
    last = Checkpoint.from_bytes(second.deliveries[-1].checkpoint)
    assert last is not None
    assert last.told
    await end(second)


async def test_a_notification_sent_twice_counts_once(bed: Bed) -> None:
    bed.settings["keep_alive"], bed.clock = "200ms", still()
    bed.variable("a", Variable(value=value(0)))
    line = await begin(bed)
    await eventually(lambda: line.values("a") == [0.0], "the first value")
    notice = Notice(2, [(811, enc.data_change([(0, value(1, 1))]))])
    bed.server.say(notice, notice)
    bed.server.subscriptions[0].sequence = 3
    bed.server.emit("a", value(2, 2))
    await eventually(lambda: 2.0 in line.values("a"), "the stream goes on")
    await eventually(
        lambda: bed.server.record.acknowledged.count(2) == 2, "the second copy is acknowledged as well"
    )
    await end(line)
    assert line.values("a") == [0.0, 1.0, 2.0]
    assert line.gaps == []
