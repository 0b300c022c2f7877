"""Alarms of a simulated machine over OPC UA: who hears of them, through which filter; refresh, Acknowledge, the truth."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.client.client import Client
from asyncua.common.subscription import Subscription
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.uaerrors import UaStatusCodeError

from simulators.clock import DrivenClock
from simulators.faces.opcua_space import Nursery
from simulators.faults.wish import Wish
from simulators.workshop import Workshop, open_workshop
from tests.simulators.runs import START, rows
from tests.simulators.test_opcua_face import nanoseconds, plan

SECOND = 1_000_000_000
TYPES = {"base": 2041, "condition": 2782, "alarm": 2915, "acknowledgeable": 2881}
FIELDS = (
    ("base", "EventId"),
    ("base", "EventType"),
    ("base", "SourceName"),
    ("base", "Time"),
    ("base", "Message"),
    ("base", "Severity"),
    ("condition", ""),
    ("condition", "ConditionName"),
    ("condition", "BranchId"),
    ("condition", "Retain"),
    ("acknowledgeable", "AckedState/Id"),
    ("alarm", "ActiveState/Id"),
    ("base", "SourceNode"),
    ("base", "NoSuchField"),
)


def node(number: int) -> ua.NodeId:
    return ua.NodeId.from_string(f"i={number}")


def clause(kind: str, path: str) -> ua.SimpleAttributeOperand:
    made: Any = ua.SimpleAttributeOperand()
    made.TypeDefinitionId = node(TYPES[kind])
    made.BrowsePath = [ua.QualifiedName(name, 0) for name in path.split("/") if name]
    made.AttributeId = AttributeIds.Value if path else AttributeIds.NodeId
    return made  # type: ignore[no-any-return]


def element(operator: str, *operands: Any) -> ua.ContentFilterElement:
    made = ua.ContentFilterElement()
    made.FilterOperator, made.FilterOperands = ua.FilterOperator[operator], list(operands)
    return made


def literal(value: Any, kind: ua.VariantType) -> Any:
    make: Any = ua.LiteralOperand
    return make(Value=ua.Variant(value, kind))


class Ear:
    """What a client hears, by our names of the fields."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def event_notification(self, event: Any) -> None:
        values = [each.Value for each in event.event_fields]
        names = [path or "ConditionId" for _, path in FIELDS]
        self.events.append(dict(zip(names, values, strict=True)))

    @property
    def conditions(self) -> list[tuple[Any, ...]]:
        wanted = ("ConditionName", "ActiveState/Id", "AckedState/Id", "Retain")
        return [tuple(e[name] for name in wanted) for e in self.events if e["ConditionName"]]

    async def until(self, count: int) -> None:
        async with asyncio.timeout(90):
            while len(self.events) < count:
                await asyncio.sleep(0.01)


class Bed:
    """A workshop whose time stands still, and clients of its only machine."""

    def __init__(self, workshop: Workshop, clock: DrivenClock, client: Client, truth: Path) -> None:
        self.workshop, self.clock, self.client, self.truth = workshop, clock, client, truth

    async def inject(self, fault: str) -> None:
        await self.workshop.engine.start(Wish(self.workshop.units[0].model.machine, fault))

    async def clear(self, fault: str) -> None:
        await self.workshop.engine.stop(Wish(self.workshop.units[0].model.machine, fault))

    async def listen(self, at: Any = 2253, where: list[Any] | None = None, queue: int = 100) -> Any:
        ear = Ear()
        wanted = ua.EventFilter()
        wanted.SelectClauses = [clause(*each) for each in FIELDS]
        wanted.WhereClause.Elements = where or []
        subscription = await self.client.create_subscription(20, ear)
        source = at if isinstance(at, ua.NodeId) else node(at)
        handle = await subscription.subscribe_events(source, evfilter=wanted, queuesize=queue)
        return ear, subscription, handle

    async def refresh(self, subscription: Subscription, *item: int) -> None:
        given = [
            ua.Variant(number, ua.VariantType.UInt32) for number in (subscription.subscription_id, *item)
        ]
        await self.client.get_node(node(2782)).call_method(node(12912 if item else 3875), *given)

    async def acknowledge(self, condition: ua.NodeId, event: bytes, words: str = "seen") -> None:
        given = (ua.Variant(event, ua.VariantType.ByteString), ua.LocalizedText(words))
        await self.client.get_node(condition).call_method(node(9111), *given)

    def rows(self, kind: str = "alarm") -> list[dict[str, Any]]:
        return list(rows(self.truth, kind))


@pytest.fixture
async def bed(tmp_path: Path, nursery: Nursery) -> AsyncIterator[Bed]:
    machines = (("robot", "robot-1"),)
    clock, stop = DrivenClock(), asyncio.Event()
    opened = open_workshop(plan(tmp_path, machines=machines), nursery)
    async with opened as workshop, asyncio.TaskGroup() as group:
        group.create_task(workshop.drive(clock, stop, origin_ns=START))
        async with Client(workshop.endpoints["robot-1"], timeout=90) as client:
            yield Bed(workshop, clock, client, tmp_path / "truth.jsonl")
        stop.set()


async def test_an_alarm_is_told_with_the_time_of_the_truth_and_told_when_it_ends(bed: Bed) -> None:
    ear, _, _ = await bed.listen()
    await bed.inject("jam")
    await bed.clock.advance(1)
    await bed.clear("jam")
    await bed.clock.advance(1)
    await ear.until(4)
    on, off = (True, False, True), (False, False, True)
    assert ear.conditions == [
        ("ProtectiveStop", *on),
        ("PartStuck", *on),
        ("ProtectiveStop", *off),
        ("PartStuck", *off),
    ]
    told = [(e["ConditionName"], nanoseconds(e["Time"]), e["EventId"].hex()) for e in ear.events]
    assert told == [(row["condition"], row["t"], row["event_id"]) for row in bed.rows()]
    assert [row["t"] for row in bed.rows()] == [START + SECOND // 10] * 2 + [START + 11 * SECOND // 10] * 2
    assert len({e["EventId"] for e in ear.events}) == 4
    first = ear.events[1]
    assert (first["SourceName"], first["Severity"], first["Message"].Text) == (
        "Gripper",
        700,
        "A part is stuck in the gripper",
    )
    assert first["NoSuchField"] is None
    assert first["EventType"] == node(10637)
    assert first["ConditionId"] != ear.events[0]["ConditionId"]


async def test_every_notifier_above_hears_and_no_other_node_can_be_listened_at(bed: Bed) -> None:
    """Server, the vendor's machine and that of the companion specification; the way there is by references (OPC 10000-3, 7.17)."""
    index = await bed.client.get_namespace_index("urn:shopfloor:sim:robot")
    server = bed.client.get_node(node(2253))
    forward = ua.BrowseDirection.Forward
    below = await server.get_referenced_nodes(node(48), forward)  # HasNotifier
    assert len(below) == 2
    ears = [(await bed.listen(each.nodeid))[0] for each in below] + [(await bed.listen())[0]]
    assert below[0].nodeid == ua.NodeId.from_string(f"ns={index};s=Robot-1")
    sources = await below[0].get_referenced_nodes(node(36), forward)  # HasEventSource
    assert {each.nodeid.Identifier for each in sources} == {"Safety", "Gripper"}
    assert [n.nodeid for n in await sources[0].get_referenced_nodes(node(9006), forward)] == [node(10637)]
    await bed.inject("protective_stop")
    await bed.clock.advance(0.1)
    for ear in ears:
        await ear.until(1)
        assert ear.conditions == [("ProtectiveStop", True, False, True)]
    assert len(bed.rows()) == 1
    with pytest.raises(UaStatusCodeError):
        await bed.listen(sources[0].nodeid)


async def test_a_refresh_tells_what_is_retained_and_nothing_else(bed: Bed) -> None:
    await bed.inject("jam")
    await bed.clock.advance(1)
    early, subscription, item = await bed.listen()
    await bed.refresh(subscription)
    await early.until(4)
    kinds = [each["EventType"] for each in early.events]
    assert kinds == [node(2787), node(10637), node(10637), node(2788)]
    assert [c[0] for c in early.conditions] == ["ProtectiveStop", "PartStuck"]
    assert [e["EventId"].hex() for e in early.events[1:3]] == [row["event_id"] for row in bed.rows()]
    (refresh,) = bed.rows("refresh")
    assert refresh["t"] == nanoseconds(early.events[-1]["Time"]) == START + SECOND
    assert [(c["condition"], c["active"]) for c in refresh["conditions"]] == [
        ("ProtectiveStop", True),
        ("PartStuck", True),
    ]
    await bed.refresh(subscription, item)
    await early.until(8)
    other, _, _ = await bed.listen()
    for wrong in ((4711,), (4711, item)):
        given = [ua.Variant(number, ua.VariantType.UInt32) for number in wrong]
        with pytest.raises(UaStatusCodeError, match="BadSubscriptionIdInvalid"):
            await bed.client.get_node(node(2782)).call_method(node(12912 if wrong[1:] else 3875), *given)
    with pytest.raises(UaStatusCodeError, match="BadMonitoredItemIdInvalid"):
        await bed.refresh(subscription, 4711)
    async with Client(bed.workshop.endpoints["robot-1"], timeout=90) as stranger:
        theirs = ua.Variant(subscription.subscription_id, ua.VariantType.UInt32)
        with pytest.raises(UaStatusCodeError, match="BadSubscriptionIdInvalid"):
            await stranger.get_node(node(2782)).call_method(node(3875), theirs)
    assert other.events == []


async def test_an_acknowledged_alarm_that_is_over_concerns_nobody_any_more(bed: Bed) -> None:
    ear, subscription, _ = await bed.listen()
    await bed.inject("protective_stop")
    await bed.clock.advance(1)
    await ear.until(1)
    alarm = ear.events[0]
    await bed.acknowledge(alarm["ConditionId"], alarm["EventId"], "on my way")
    with pytest.raises(UaStatusCodeError, match="BadEventIdUnknown"):
        await bed.acknowledge(alarm["ConditionId"], alarm["EventId"])
    await ear.until(2)
    with pytest.raises(UaStatusCodeError, match="BadConditionBranchAlreadyAcked"):
        await bed.acknowledge(alarm["ConditionId"], ear.events[1]["EventId"])
    with pytest.raises(UaStatusCodeError, match="BadNodeIdUnknown"):
        await bed.acknowledge(node(85), ear.events[1]["EventId"])
    await bed.clear("protective_stop")
    await bed.clock.advance(1)
    await ear.until(3)
    assert ear.conditions == [
        ("ProtectiveStop", True, False, True),
        ("ProtectiveStop", True, True, True),
        ("ProtectiveStop", False, True, False),
    ]
    said = [
        (row["event"], row["active"], row["acked"], row.get("by"), row.get("comment")) for row in bed.rows()
    ]
    assert said == [
        ("active", True, False, None, None),
        ("acknowledged", True, True, "anonymous", "on my way"),
        ("inactive", False, True, None, None),
    ]
    times = [row["t"] for row in bed.rows()]
    assert times == sorted(set(times)) == [nanoseconds(e["Time"]) for e in ear.events]
    await bed.refresh(subscription)
    await ear.until(5)
    assert [e["ConditionName"] for e in ear.events[3:]] == [None, None]
    await bed.inject("protective_stop")
    await bed.clock.advance(1)
    await ear.until(6)
    assert ear.conditions[-1] == ("ProtectiveStop", True, False, True)


FILTERS: list[tuple[list[Any], int]] = [
    ([element("OfType", literal(node(10637), ua.VariantType.NodeId))], 2),
    ([element("OfType", literal(node(2782), ua.VariantType.NodeId))], 2),  # a type above
    ([element("OfType", literal(node(2130), ua.VariantType.NodeId))], 0),
    ([element("GreaterThan", clause("base", "Severity"), literal(600, ua.VariantType.UInt16))], 1),
    ([element("GreaterThan", clause("base", "NoSuchField"), literal(1, ua.VariantType.UInt16))], 0),
    ([element("IsNull", clause("base", "NoSuchField"))], 2),
    ([element("Equals", clause("base", "SourceName"), literal("Gripper", ua.VariantType.String))], 1),
    ([element("Like", clause("base", "Message"), literal("%part%", ua.VariantType.String))], 1),
    (
        [
            element(
                "Between",
                clause("base", "Severity"),
                literal(600, ua.VariantType.UInt16),
                literal(699, ua.VariantType.UInt16),
            )
        ],
        1,
    ),
    (
        [
            element(
                "InList",
                clause("condition", "ConditionName"),
                literal("PartStuck", ua.VariantType.String),
                literal("X", ua.VariantType.String),
            )
        ],
        1,
    ),
]


async def test_filters_do_what_the_standard_says(bed: Bed) -> None:
    """Of two alarms as many are heard as the filter says, and as many again in the refresh, whose end passes every filter."""
    ears = [await bed.listen(where=where) for where, _ in FILTERS]
    await bed.inject("jam")
    await bed.clock.advance(0.1)
    for (_, heard), (ear, subscription, _) in zip(FILTERS, ears, strict=True):
        await bed.refresh(subscription)
        await ear.until(2 + 2 * heard)
        assert len(ear.conditions) == 2 * heard


async def test_elements_of_a_filter_refer_to_each_other(bed: Bed) -> None:
    """As the collector asks: of some severity, or a condition, whatever its severity."""
    make: Any = ua.ElementOperand
    both = [make(Index=1), make(Index=2)]
    severe = element("GreaterThanOrEqual", clause("base", "Severity"), literal(900, ua.VariantType.UInt16))
    kind = element("OfType", literal(node(2782), ua.VariantType.NodeId))
    either, _, _ = await bed.listen(where=[element("Or", *both), severe, kind])
    neither, sub, _ = await bed.listen(where=[element("And", *both), severe, kind])
    endless, _, _ = await bed.listen(where=[element("Not", make(Index=0))])
    await bed.inject("protective_stop")
    await bed.clock.advance(0.1)
    await bed.refresh(sub)
    await either.until(1)
    await neither.until(2)
    assert (len(either.conditions), len(neither.conditions), len(endless.conditions)) == (1, 0, 0)


async def test_a_full_queue_is_told(bed: Bed) -> None:
    ear, subscription, _ = await bed.listen(queue=3)
    await subscription.set_publishing_mode(False)
    for _ in range(4):
        await bed.inject("protective_stop")
        await bed.clock.advance(0.1)
        await bed.clear("protective_stop")
        await bed.clock.advance(0.1)
    await subscription.set_publishing_mode(True)
    await ear.until(4)
    assert ear.events[0]["EventType"] == node(3035)  # EventQueueOverflowEventType
    told = [e["EventId"].hex() for e in ear.events[1:]]
    assert told == [row["event_id"] for row in bed.rows()][-3:]


async def test_a_server_that_was_away_tells_what_is_so_now(bed: Bed) -> None:
    """Nobody hears what happened while there was no server; the refresh after it tells the present, and the truth says no more."""
    face: Any = bed.workshop.units[0].face
    await bed.clock.advance(1)
    await face.disturb("restart", on=True, at_ns=START + SECOND)
    await bed.inject("jam")
    await bed.clock.advance(1)
    assert bed.rows() == []
    await face.disturb("restart", on=False, at_ns=START + 2 * SECOND)
    assert [(row["condition"], row["t"]) for row in bed.rows()] == [
        ("ProtectiveStop", START + 2 * SECOND - 1_000_000),
        ("PartStuck", START + 2 * SECOND - 1_000_000),
    ]


async def test_a_milling_machine_tells_alerts_of_its_specification(tmp_path: Path, nursery: Nursery) -> None:
    """AlertType with its ErrorCode (OPC 40501-1, 9.1), also at `Notification/Messages`, where the specification has them."""
    async with (
        open_workshop(plan(tmp_path), nursery) as workshop,
        Client(workshop.endpoints["cnc-1"], timeout=90) as client,
    ):
        index = await client.get_namespace_index("http://opcfoundation.org/UA/MachineTool/")
        vendor = await client.get_namespace_index("urn:shopfloor:sim:cnc")
        code = clause("base", "ErrorCode")
        code.TypeDefinitionId = alert = ua.NodeId.from_string(f"ns={index};i=39")
        code.BrowsePath = [ua.QualifiedName("ErrorCode", index)]
        wanted = ua.EventFilter()
        wanted.SelectClauses = [clause("base", "EventType"), code, clause("base", "SourceNode")]
        wanted.WhereClause.Elements = [element("OfType", literal(alert, ua.VariantType.NodeId))]
        told: list[Any] = []

        class Hearer:
            def event_notification(self, event: Any) -> None:
                told.append([field.Value for field in event.event_fields])

        subscription = await client.create_subscription(20, Hearer())
        place = ua.NodeId.from_string(f"ns={vendor};s=Machines/Cnc-1/Notification/Messages")
        await subscription.subscribe_events(place, evfilter=wanted)
        face: Any = workshop.units[0].face
        workshop.units[0].model.faults["coolant_loss"] = 1.0
        await face._vivid.look(START + SECOND)
        async with asyncio.timeout(90):
            while not told:
                await asyncio.sleep(0.01)
    assert told == [[alert, "1400", ua.NodeId.from_string(f"ns={vendor};s=Coolant")]]


async def test_whatever_is_said_of_a_condition_has_a_time_of_its_own(bed: Bed) -> None:
    """Also when no time passes between two refreshes, an acknowledgement and a third one."""
    ear, subscription, _ = await bed.listen()
    await bed.inject("protective_stop")
    await bed.clock.advance(0.1)
    await bed.refresh(subscription)
    await bed.refresh(subscription)
    await ear.until(7)
    alarm = ear.events[0]
    await bed.acknowledge(alarm["ConditionId"], alarm["EventId"])
    await bed.refresh(subscription)
    await bed.clear("protective_stop")
    await bed.clock.advance(0.1)
    told = [(row["t"] - START) // 1_000_000 for row in (*bed.rows(), *bed.rows("refresh"))]
    assert sorted(told) == [100, 101, 102, 103, 104, 200]
