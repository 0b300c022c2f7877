"""Events and alarms over the scripted server: what is asked for, what is stored, and what a refresh, a loss and a restart do to it."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from adapters.base import Bench
from adapters.clock import SystemClock
from adapters.opcua import events
from adapters.opcua.checkpoint import Checkpoint
from adapters.opcua.events_decode import decode_events
from adapters.opcua.settings import OpcUaRead, OpcUaSource
from adapters.opcua.source import OpcUaReader
from adapters.opcua.values import Malformed
from adapters.settings import Reading
from pipelines.batch import Flag
from tests.contracts.rig import eventually
from tests.contracts.source import conserved
from tests.opcua import encoder as enc
from tests.opcua.encoder import Array, Null, Scalar
from tests.opcua.scripted import Answer, Variable, codes
from tests.opcua.scripted.codec.services import fault
from tests.opcua.scripted.events import NOW, OVERFLOW, REFRESH_REQUIRED, Alarms, alarm, simple, system
from tests.opcua.test_session import START, Bed, Line, begin, end, to_and_fro, value
from tests.opcua.test_session import bed as bed  # noqa: PLC0414 (a fixture)

SECOND = 1_000_000_000


def source(bed: Bed, *entries: dict[str, Any], signals: bool = False) -> OpcUaReader:
    read = OpcUaRead.model_validate(
        {"source": "plc", "events": list(entries) or [{}], "signals": bed.signals if signals else []}
    )
    settings = OpcUaSource.model_validate(
        {"type": "opcua", "url": bed.server.url, "security": "none", **bed.settings}
    )
    return OpcUaReader(
        "plc", settings, (Reading(machine="m", tags={}, read=read),), Bench(bed.registry, SystemClock())
    )


async def listening(bed: Bed, *entries: dict[str, Any], **how: Any) -> Line:
    line = await begin(bed, source=source(bed, *entries, signals=how.pop("signals", False)), **how)
    alarms = alarms_of(bed)
    await eventually(lambda: alarms.refreshes > 0, "a refresh is asked for")
    return line


def alarms_of(bed: Bed) -> Alarms:
    return bed.server.machine.alarms


def tell(bed: Bed, *events: Any) -> None:
    alarms_of(bed).tell(bed.server.machine, *events)


def rows(line: Line, signal: str) -> list[tuple[int, Any, int]]:
    """(seconds since START, value, flags)"""
    return [((row.at - START) // SECOND, row.value, row.flags) for row in line.rows if row.signal == signal]


def at(seconds: int) -> int:
    return START + seconds * SECOND


REFRESHED = (NOW - START) // SECOND


async def test_the_life_of_an_alarm(bed: Bed) -> None:
    line = await listening(bed)
    tell(bed, alarm("Spindle", "Over.Temp", at(1), active=True, event_id=b"\x01", message="too hot"))
    tell(
        bed,
        alarm("Spindle", "Over.Temp", at(2), active=True, acked=True, event_id=b"\x02", message="too hot"),
    )
    tell(
        bed,
        alarm(
            "Spindle",
            "Over.Temp",
            at(3),
            active=False,
            acked=True,
            event_id=b"\x03",
            severity=1,
            message="normal",
        ),
    )
    name = "alarm.Spindle.Over_Temp"
    await eventually(lambda: len(rows(line, f"{name}.active")) == 3, "three states")
    assert rows(line, f"{name}.active") == [(1, True, 0), (2, True, 0), (3, False, 0)]
    assert rows(line, f"{name}.acked") == [(1, False, 0), (2, True, 0), (3, True, 0)]
    assert rows(line, f"{name}.severity") == [(1, 700, 0), (2, 700, 0), (3, 1, 0)]
    assert rows(line, f"{name}.message") == [(1, "too hot", 0), (2, "too hot", 0), (3, "normal", 0)]
    assert rows(line, f"{name}.event_id") == [(1, "01", 0), (2, "02", 0), (3, "03", 0)]
    assert all(conserved(delivery) for delivery in line.deliveries)


async def test_an_alarm_beside_values_in_one_subscription(bed: Bed) -> None:
    bed.variable("a", Variable(value=value(0)))
    line = await listening(bed, signals=True)
    tell(bed, alarm("S", "C", at(1), active=True))
    bed.server.emit("a", value(1, 1))
    await eventually(
        lambda: line.values("a") == [0.0, 1.0] and bool(rows(line, "alarm.S.C.active")), "both arrive"
    )
    assert bed.server.record.count("CreateSubscription") == 1
    assert alarms_of(bed).items.popitem()[1].handle >= 2**31


async def test_an_event_that_is_no_condition_is_a_line_of_text(bed: Bed) -> None:
    line = await listening(bed, {"name": "event"})
    tell(bed, simple("Door", "opened", 300, at(1), b"\x01"))
    await eventually(lambda: bool(rows(line, "event.Door.message")), "it arrives")
    assert rows(line, "event.Door.message") == [(1, "opened", 0)]
    assert rows(line, "event.Door.severity") == [(1, 300, 0)]
    assert rows(line, "event.Door.type") == [(1, "nsu=urn:test:machine;i=77", 0)]
    assert rows(line, "event.Door.event_id") == [(1, "01", 0)]
    assert not [row for row in line.rows if row.signal.endswith(".active")]


async def test_severity_is_asked_of_the_server_and_a_condition_is_followed_to_its_end(bed: Bed) -> None:
    """What is over has a low severity with many servers: the filter lets every condition pass, and we choose."""
    line = await listening(bed, {"severity": 500})
    (item,) = alarms_of(bed).items.values()
    assert list(item.operators) == [
        11,
        4,
        11,
        14,
        14,
    ]  # Or(GreaterThanOrEqual, Or(OfType, OfType)): OPC 10000-4, table 126
    tell(bed, alarm("S", "low", at(1), active=True, severity=499), simple("S", "low", 499, at(1)))
    tell(bed, alarm("S", "high", at(2), active=True, severity=500))
    tell(bed, alarm("S", "high", at(3), active=False, acked=True, severity=1))
    await eventually(lambda: len(rows(line, "alarm.S.high.active")) == 2, "the alarm and its end")
    assert {row.signal for row in line.rows if ".high." not in row.signal} == set()


async def test_a_server_that_takes_no_filter_sends_everything_and_we_choose(bed: Bed) -> None:
    alarms_of(bed).refuse = [0x80480000]  # BadContentFilterInvalid
    line = await listening(bed, {"severity": 500})
    (item,) = alarms_of(bed).items.values()
    assert list(item.operators) == []
    tell(bed, simple("S", "no", 499, at(1)), simple("T", "yes", 500, at(1)))
    await eventually(lambda: bool(rows(line, "alarm.T.message")), "the severe one")
    assert not rows(line, "alarm.S.message")


async def test_fields_of_ones_own(bed: Bed) -> None:
    entry = {
        "fields": {
            "tool": "2:Tool/2:Number",
            "why": "nsu=urn:test:machine;Cause",
            "since": "Since",
            "odd": "Odd",
        }
    }
    line = await listening(bed, entry)
    more = {
        "2:Tool/2:Number": Scalar(6, 12), "2:Cause": Scalar(12, "chip"), "Since": Scalar(13, enc.ticks(START)),
        "Odd": Array(6, [1, 2]),
    }  # fmt: skip
    tell(bed, {**alarm("S", "C", at(1), active=True), **more})
    await eventually(lambda: bool(rows(line, "alarm.S.C.message")), "it arrives")
    assert rows(line, "alarm.S.C.tool") == [(1, 12, 0)]
    assert rows(line, "alarm.S.C.why") == [(1, "chip", 0)]
    assert rows(line, "alarm.S.C.since") == [(1, "2023-11-14T22:13:20.0000000Z", 0)]
    assert rows(line, "alarm.S.C.odd") == []


async def test_a_refresh_says_what_is_so_and_what_is_over(bed: Bed) -> None:
    alarms = alarms_of(bed)
    alarms.retained = {
        "one": alarm("S", "one", at(1), active=True),
        "two": alarm("S", "two", at(2), active=True),
    }
    line = await listening(bed)
    await eventually(
        lambda: len(rows(line, "alarm.S.two.active")) == 2, "two conditions, and their present state"
    )
    restated = int(Flag.HEARTBEAT)
    assert rows(line, "alarm.S.one.active") == [(1, True, 0), (REFRESHED, True, restated)]
    del alarms.retained["one"]
    tell(bed, system(REFRESH_REQUIRED))
    await eventually(lambda: len(rows(line, "alarm.S.two.active")) == 4, "the second refresh")
    assert alarms.refreshes == 2
    assert rows(line, "alarm.S.one.active")[2:] == [(REFRESHED, False, int(Flag.TIME_SUBSTITUTED))]
    assert rows(line, "alarm.S.one.acked")[2:] == [(REFRESHED, True, int(Flag.TIME_SUBSTITUTED))]


async def test_what_was_over_before_a_new_life_is_told_by_its_first_refresh(bed: Bed) -> None:
    """The alarm ends while nobody listens and is not retained: no event will ever say so."""
    line = await listening(bed)
    tell(bed, alarm("S", "C", at(1), active=True))
    await eventually(lambda: bool(rows(line, "alarm.S.C.active")), "the alarm")
    await end(line)
    again = await begin(bed, source=source(bed), resume=line.checkpoint)
    await eventually(lambda: bool(rows(again, "alarm.S.C.active")), "its end")
    assert rows(again, "alarm.S.C.active") == [(REFRESHED, False, int(Flag.TIME_SUBSTITUTED))]
    assert [gap.reason for gap in again.gaps] == ["connection_lost"] or [
        gap.reason for gap in again.gaps
    ] == ["collector_down"]


async def test_the_next_subscription_is_refreshed_whatever_its_items_are_numbered(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers of monitored items are a subscription's own: the next one may begin with the same."""
    monkeypatch.setattr("adapters.opcua.events._AGAIN", 0.0)
    line = await listening(bed)
    machine = bed.server.machine
    (number,) = bed.server.subscriptions[0].items
    later = machine.next_id
    given = iter([later(), number])  # of the subscription, of its item
    monkeypatch.setattr(machine, "next_id", lambda: next(given, 0) or later())
    bed.server.end_subscriptions()
    await eventually(lambda: bed.server.record.count("CreateSubscription") == 2, "another subscription")
    await eventually(lambda: list(bed.server.subscriptions[-1].items) == [number], "the same number")
    await eventually(lambda: alarms_of(bed).refreshes == 2, "all conditions are told again")
    await end(line)


async def test_a_server_that_cannot_refresh_gives_events_all_the_same(bed: Bed) -> None:
    alarms_of(bed).refresh = codes.METHOD_INVALID
    line = await listening(bed)
    tell(bed, alarm("S", "C", at(1), active=True))
    await eventually(lambda: bool(rows(line, "alarm.S.C.active")), "the alarm")
    assert rows(line, "alarm.S.C.active") == [(1, True, 0)]


async def test_lost_events_are_a_gap(bed: Bed) -> None:
    line = await listening(bed)
    tell(bed, simple("S", "before", 1, at(1)))
    tell(bed, system(OVERFLOW, NOW + SECOND))
    await eventually(lambda: bool(line.gaps), "a gap")
    (gap,) = line.gaps
    assert (gap.reason, gap.machines) == ("server_queue_overflow", ("m",))
    assert (gap.begins, gap.ends) == (NOW, NOW + SECOND), (
        "since the last that was told: the end of the refresh"
    )


async def test_events_survive_a_restart_in_the_same_subscription(bed: Bed) -> None:
    bed.server.policy.reactivate = True
    bed.server.scripts.clear()
    bed.variable("a", Variable(value=value(0)))
    line = await listening(bed, signals=True)
    tell(bed, alarm("S", "C", at(1), active=True))
    await eventually(lambda: bool(rows(line, "alarm.S.C.active")), "the alarm")
    known = Checkpoint.from_bytes(line.checkpoint)
    assert known is not None
    assert known.ticket is not None
    assert len(known.ticket.events) == 1
    bed.server.cut()
    await end(line)
    tell(bed, alarm("S", "C", at(2), active=False, acked=True))
    again = await begin(bed, source=source(bed, signals=True), resume=line.checkpoint)
    await eventually(lambda: bool(rows(again, "alarm.S.C.active")), "what was queued")
    assert rows(again, "alarm.S.C.active")[0] == (2, False, 0)
    assert bed.server.record.count("CreateSubscription") == 1
    assert len(alarms_of(bed).items) == 1, "the item is the old one"
    assert again.gaps == []


async def test_conditions_have_a_bound_and_two_of_one_name_are_two(bed: Bed) -> None:
    line = await listening(bed, {"most": 2})
    for number in range(4):
        tell(bed, alarm("S", "C", at(number), active=True, condition=f"c{number}", message=f"m{number}"))
    await eventually(lambda: len(rows(line, "alarm.others.message")) == 2, "all four")
    assert [row[1] for row in rows(line, "alarm.others.message")] == ["S.C: m2", "S.C: m3"]
    names = sorted({row.signal for row in line.rows if row.signal.endswith(".active")})
    assert names[0] == "alarm.S.C.active"
    assert names[1].startswith("alarm.S.C~")
    assert len(names) == 2


async def test_a_notifier_that_is_not_there_is_told_and_the_others_work(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_AGAIN", 0.01)
    alarms_of(bed).unknown.add(99999)  # however often it is tried
    line = await listening(bed, {"name": "x", "from": "i=99999"}, {"name": "y"})
    tell(bed, simple("S", "hello", 1, at(1)))
    await eventually(lambda: bool(rows(line, "y.S.message")), "the other one's event")
    assert line.session is not None
    assert line.session.facts["events"].startswith("1 of 2 live; m/x (events of i=99999): ")
    asked = bed.server.record.count("CreateMonitoredItems")
    await eventually(lambda: bed.server.record.count("CreateMonitoredItems") > asked, "it is tried again")
    await to_and_fro(line)
    assert alarms_of(bed).refreshes == 1, "and nobody else is bothered"


async def test_a_server_without_events_gives_its_values_all_the_same(bed: Bed) -> None:
    bed.variable("a", Variable(value=value(0)))
    bed.server.scripts.append(
        Answer("CreateMonitoredItems", passing=1, make=lambda asked: fault(asked, codes.SERVICE_UNSUPPORTED))
    )
    line = await begin(bed, source=source(bed, {}, signals=True))
    await eventually(lambda: line.values("a") == [0.0], "the value")
    assert line.session is not None
    assert (
        "0 of 1 live; m/alarm (events of i=2253): the server does not give its events"
        in line.session.facts["events"]
    )


def _list(*events: bytes, count: int | None = None) -> bytes:
    return struct.pack("<i", len(events) if count is None else count) + b"".join(events)


@pytest.mark.parametrize(
    "body",
    [
        _list(count=2**31 - 1),
        _list(count=1),
        _list(struct.pack("<Ii", 1, 2**31 - 1)),
        _list(struct.pack("<Ii", 1, 21) + b"\0" * 21),
        _list(struct.pack("<Ii", 1, 1) + b"\x0c\xff\xff\xff\x7f"),
        _list(struct.pack("<Ii", 1, 1) + b"\x0d\0\0"),
        _list(struct.pack("<Ii", 1, 1) + b"\x18" * 40),
        b"\1",
    ],
    ids=[
        "many events",
        "none of one",
        "many fields",
        "more fields than asked",
        "long text",
        "short time",
        "nested",
        "cut",
    ],
)
def test_hostile_events_are_malformed_and_nothing_else(body: bytes) -> None:
    with pytest.raises(Malformed):
        decode_events(body, 0, len(body), 20)


async def test_a_broken_notification_is_set_aside_and_the_next_one_read(bed: Bed) -> None:
    line = await listening(bed)
    bed.server.notify(916, _list(count=2**31 - 1))
    tell(bed, simple("S", "after", 1, at(1)))
    await eventually(lambda: bool(rows(line, "alarm.S.message")), "the next event")
    assert [refusal.reason.split(":")[0] for refusal in line.refused] == [
        "a notification that breaks the encoding"
    ]
    assert all(conserved(delivery) for delivery in line.deliveries)


async def test_an_event_without_anything_is_stored_under_the_time_of_its_receipt(bed: Bed) -> None:
    line = await listening(bed)
    tell(bed, {"Message": Null()})
    await eventually(lambda: bool(rows(line, "alarm.unnamed.message")), "it arrives")
    ((_, message, flags),) = rows(line, "alarm.unnamed.message")
    assert (message, flags) == ("", int(Flag.TIME_SUBSTITUTED))


async def test_check_online_says_which_notifiers_listen(bed: Bed) -> None:
    entries = {"name": "x", "from": "nsu=urn:nobody;i=1"}, {"name": "y"}
    found = await source(bed, *entries).probe()
    by_place = {finding.where: finding for finding in found}
    assert by_place["m/y (events of i=2253)"].level == "ok"
    x = by_place["m/x (events of nsu=urn:nobody;i=1)"]
    assert (x.level, x.message) == ("error", "the server has no namespace urn:nobody")
    assert bed.registry.version == 0
