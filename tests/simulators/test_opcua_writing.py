"""What clients may write at a simulated machine, and the history that it keeps, by clients that are not the collector."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.attribute_ids import AttributeIds

from simulators.clock import DrivenClock
from simulators.faces.opcua_history import History, Memory
from simulators.faces.opcua_security import Security
from simulators.faces.opcua_space import Nursery
from simulators.faults.wish import Wish
from simulators.live import Refused, Turn
from simulators.machines import kind
from simulators.workshop import Workshop, open_workshop
from tests.simulators.runs import START, rows
from tests.simulators.test_opcua_face import nanoseconds, node_id, plan
from tests.simulators.test_security import ALL, ANNA, BEN, CLIENT_URI, known

SECOND = 1_000_000_000
MACHINES = (("moulding", "moulding-1"), ("cnc", "cnc-1"))


class Bed(NamedTuple):
    """Two machines whose time stands still."""

    workshop: Workshop
    clock: DrivenClock
    clients: dict[str, Client]
    truth: Path

    async def node(self, machine: str, address: str) -> Any:
        client = self.clients[machine]
        index = await client.get_namespace_index(f"urn:shopfloor:sim:{machine.partition('-')[0]}")
        return client.get_node(node_id(address, index))

    def written(self) -> list[tuple[Any, ...]]:
        return [(r["machine"], r["signal"], r["value"], r["by"], r["t"]) for r in rows(self.truth, "written")]


@pytest.fixture
async def bed(tmp_path: Path, nursery: Nursery) -> AsyncIterator[Bed]:
    clock, stop = DrivenClock(), asyncio.Event()
    opened = open_workshop(plan(tmp_path, machines=MACHINES), nursery)
    async with opened as workshop, asyncio.TaskGroup() as group, AsyncExitStack() as stack:
        group.create_task(workshop.drive(clock, stop, origin_ns=START))
        clients = {
            m: await stack.enter_async_context(Client(workshop.endpoints[m], timeout=90)) for _, m in MACHINES
        }
        stack.callback(stop.set)
        yield Bed(workshop, clock, clients, tmp_path / "truth.jsonl")


async def write(node: Any, value: Any, type_: ua.VariantType, **more: Any) -> str:
    """The name of the status."""
    wish = ua.WriteValue()
    wish.NodeId, wish.AttributeId = node.nodeid, more.pop("attribute", AttributeIds.Value)
    wish.Value = ua.DataValue(ua.Variant(value, type_), more.pop("status", ua.StatusCode()))
    params = ua.WriteParameters()
    params.NodesToWrite = [wish]
    (result,) = await node.session.write(params)
    return str(result.name)


async def test_what_is_written_counts_from_the_next_step_on_and_is_in_the_truth(bed: Bed) -> None:
    zone = await bed.node("moulding-1", "Barrel.Zone3Set")
    order = await bed.node("cnc-1", "Job.Order")
    part = await bed.node("cnc-1", "Job.Part")
    quantity = await bed.node("cnc-1", "Job.Quantity")
    assert await write(zone, 240.0, ua.VariantType.Double) == "Good"
    assert await write(order, "A-77", ua.VariantType.String) == "Good"
    assert await write(part, "O3177_HOUSING", ua.VariantType.String) == "Good"
    assert await write(quantity, 3, ua.VariantType.UInt32) == "Good"
    assert await zone.read_value() == 232.0
    await bed.clock.advance(0.2)
    assert [await n.read_value() for n in (zone, order, part, quantity)] == [
        240.0,
        "A-77",
        "O3177_HOUSING",
        3,
    ]
    step = START + SECOND // 10
    assert bed.written() == [
        ("moulding-1", "zone_3_set", 240.0, "anonymous", step),
        ("cnc-1", "job_order", "A-77", "anonymous", step),
        ("cnc-1", "job_part", "O3177_HOUSING", "anonymous", step),
        ("cnc-1", "job_quantity", 3, "anonymous", step),
    ]
    values = [r for r in rows(bed.truth) if r["signal"] == "zone_3_set"]
    assert [(r["t"], r["value"]) for r in values] == [(START, 232.0), (step, 240.0)]
    assert (await zone.read_data_value()).SourceTimestamp is not None
    job = "Machines/Cnc-1/Production/ProductionPlan/Job 1"
    standard = [await bed.node("cnc-1", f"{job}/{name}") for name in ("Identifier", "RunsPlanned")]
    assert [await node.read_value() for node in standard] == ["A-77", 3]


async def test_what_does_not_fit_is_refused_by_its_status_and_changes_nothing(bed: Bed) -> None:
    types = ua.VariantType
    zone = await bed.node("moulding-1", "Barrel.Zone3Set")
    actual = await bed.node("moulding-1", "Barrel.Zone3")
    unit = await bed.node("moulding-1", "Barrel.Zone3Set.EngineeringUnits")
    part = await bed.node("cnc-1", "Job.Part")
    bad = ua.StatusCode(ua.UInt32(0x80000000))
    said = [
        await write(zone, 240.0, types.Float),
        await write(zone, "hot", types.String),
        await write(zone, [240.0], types.Double),
        await write(zone, 351.0, types.Double),
        await write(zone, float("nan"), types.Double),
        await write(part, "O9999_NOTHING", types.String),
        await write(part, None, types.Null),
        await write(actual, 240.0, types.Double),
        await write(unit, 1, types.Int32),
        await write(zone, "x", types.String, attribute=AttributeIds.Description),
        await write(zone, 240.0, types.Double, status=bad),
        await write(bed.clients["cnc-1"].get_node(node_id("nowhere", 2)), 1, types.Int32),
    ]
    assert said == [
        "BadTypeMismatch", "BadTypeMismatch", "BadTypeMismatch", "BadOutOfRange", "BadOutOfRange", "BadOutOfRange",
        "BadTypeMismatch", "BadNotWritable", "BadNotWritable", "BadNotWritable", "BadWriteNotSupported", "BadNodeIdUnknown",
    ]  # fmt: skip
    await bed.clock.advance(0.2)
    assert await zone.read_value() == 232.0
    assert bed.written() == []


async def test_only_settings_can_be_written_and_say_so(bed: Bed) -> None:
    """Of all variables of the machine, by what a client reads (OPC 10000-3, 8.57)."""
    model = bed.workshop.units[0].model
    for signal in model.signals:
        node = await bed.node("moulding-1", signal.address)
        level = await node.read_attribute(AttributeIds.AccessLevel)
        writable, remembered = bool(level.Value.Value & 2), bool(level.Value.Value & 4)
        assert writable == (signal.name in {each.signal for each in model.settings})
        assert remembered == (signal.name in model.remembered)
        assert (await node.read_attribute(AttributeIds.Historizing)).Value.Value == remembered


async def test_a_machine_that_makes_no_further_step_takes_nothing(tmp_path: Path, nursery: Nursery) -> None:
    """Neither Good without effect nor silence in the truth; and what was taken for a step that never came is told."""
    robots = tuple(("robot", name) for name in ("spent", "later"))
    wanted = plan(
        tmp_path, machines=robots, max_changes=1, settings=(Turn(1.0, "spent", "speed_override", 20.0),)
    )
    clock, stop = DrivenClock(), asyncio.Event()
    async with open_workshop(wanted, nursery) as workshop, asyncio.TaskGroup() as group:
        later = workshop.units[1]
        later.left = None
        driving = group.create_task(workshop.drive(clock, stop, origin_ns=START))
        async with Client(workshop.endpoints["spent"], timeout=90) as client:
            override = client.get_node(node_id("Motion.SpeedOverride", 2))
            await clock.advance(1.5)
            said = [await write(override, 50.0, ua.VariantType.Float)]
            later.model.set("speed_override", 60.0, "counts")
            await clock.advance(0.5)
            later.model.set("speed_override", 70.0, "too late")
            stop.set()
            await driving
            said.append(await write(override, 50.0, ua.VariantType.Float))
            assert await override.read_value() == 100.0
        with pytest.raises(Refused, match="later makes no further step"):
            later.model.set("speed_override", 80.0, "refused")
        await workshop.drain()
    assert said == ["BadInvalidState"] * 2
    told = {kind: list(rows(tmp_path / "truth.jsonl", kind)) for kind in ("written", "unheeded")}
    assert [(r["machine"], r["by"]) for r in told["written"]] == [("later", "counts")]
    assert [(r["machine"], r["by"], r["value"], r["t"]) for r in told["unheeded"]] == [
        ("spent", "scenario", 20.0, START + SECOND),
        ("later", "too late", 70.0, START + 2 * SECOND),
    ]


async def test_what_is_written_to_a_run_that_never_begins_is_told(tmp_path: Path, nursery: Nursery) -> None:
    async with open_workshop(plan(tmp_path, machines=MACHINES[:1]), nursery) as workshop:
        workshop.units[0].model.set("zone_3_set", 240.0, "somebody")
        await workshop.drain()
    truth = [row for kind in ("unheeded", "state", "stop") for row in rows(tmp_path / "truth.jsonl", kind)]
    assert [(row["kind"], row.get("by"), row.get("t", row.get("to"))) for row in truth] == [
        ("unheeded", "somebody", START), ("state", None, START), ("stop", None, START),
    ]  # fmt: skip


async def acknowledged(client: Client) -> str:
    """The name of the status of an Acknowledge that would fit no alarm: who may not do it at all is told so first."""
    request = ua.CallMethodRequest()
    request.ObjectId, request.MethodId = node_id("Alarms.PartStuck", 2), ua.NodeId.from_string("i=9111")
    request.InputArguments = [
        ua.Variant(b"?", ua.VariantType.ByteString),
        ua.Variant(ua.LocalizedText("seen")),
    ]
    (result,) = await client.uaclient.call([request])
    return str(result.StatusCode.name)


async def test_only_operators_write_and_acknowledge(tmp_path: Path, nursery: Nursery) -> None:
    """With users, who has no name is a reader, and so is anna; ben is an operator."""
    wanted = replace(
        plan(tmp_path, machines=(("robot", "robot-1"),)), security=Security(accounts=(ANNA, BEN))
    )
    clock, stop = DrivenClock(), asyncio.Event()
    async with open_workshop(wanted, nursery) as workshop, asyncio.TaskGroup() as group:
        group.create_task(workshop.drive(clock, stop, origin_ns=START))
        said = {}
        for who, password in (("", ""), ("anna", "right"), ("ben", "strong")):
            async with await signed_in(workshop.endpoints["robot-1"], tmp_path, who, password) as client:
                override = client.get_node(node_id("Motion.SpeedOverride", 2))
                levels = (AttributeIds.AccessLevel, AttributeIds.UserAccessLevel)
                seen = [(await override.read_attribute(each)).Value.Value for each in levels]  # type: ignore[union-attr]
                said[who] = [
                    *seen,
                    await write(override, 50.0, ua.VariantType.Float),
                    await acknowledged(client),
                ]
        await clock.advance(0.1)
        stop.set()
    denied = [3, 1, "BadUserAccessDenied", "BadUserAccessDenied"]
    assert said == {"": denied, "anna": denied, "ben": [3, 3, "Good", "BadEventIdUnknown"]}
    told = [(r["by"], r["signal"], r["value"]) for r in rows(tmp_path / "truth.jsonl", "written")]
    assert told == [("ben", "speed_override", 50.0)]


async def signed_in(url: str, folder: Path, who: str, password: str) -> Client:
    client = Client(url, timeout=90)
    client.application_uri = CLIENT_URI
    if who:
        client.set_user(who)
        client.set_password(password)
        certificate, key = known().write(folder / "client", "c")
        policy = ALL["Basic256Sha256"]
        await client.set_security(
            policy, str(certificate), str(key), mode=ua.MessageSecurityMode.SignAndEncrypt
        )
    return client


# History


def at(ns: int) -> Any:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ns // 1000)


def asked(
    node: Any, begins: int | None, ends: int | None, most: int = 0, *, bounds: bool = False, point: Any = None
) -> ua.HistoryReadParameters:
    details: Any = ua.ReadRawModifiedDetails()
    details.IsReadModified, details.ReturnBounds, details.NumValuesPerNode = False, bounds, most
    none: Any = datetime(1601, 1, 1, tzinfo=UTC)
    details.StartTime = none if begins is None else at(begins)
    details.EndTime = none if ends is None else at(ends)
    wish: Any = ua.HistoryReadValueId()
    wish.NodeId, wish.ContinuationPoint = node, point
    params = ua.HistoryReadParameters()
    params.HistoryReadDetails, params.NodesToRead = details, [wish]
    params.ReleaseContinuationPoints = False
    return params


def found(result: Any) -> list[tuple[int, Any]]:
    values = result.HistoryData.DataValues if hasattr(result.HistoryData, "DataValues") else []
    return [(nanoseconds(v.SourceTimestamp), v.Value.Value if v.Value is not None else None) for v in values]


async def test_the_history_is_what_the_truth_says_piece_by_piece(bed: Bed) -> None:
    await bed.clock.advance(60)
    node = await bed.node("cnc-1", "Spindle.Load")
    truth = [(r["t"], r["value"]) for r in rows(bed.truth) if r["signal"] == "spindle_load"]
    assert len(truth) > 100
    pieces: list[tuple[int, Any]] = []
    point = None
    while True:
        params = asked(node.nodeid, START, START + 61 * SECOND, 37, point=point)
        (result,) = await node.session.history_read(params)
        pieces += found(result)
        point = result.ContinuationPoint
        assert len(found(result)) == 37 or not point
        if not point:
            break
    assert pieces == truth
    values = await node.read_raw_history(at(START), at(START + 30 * SECOND), return_bounds=False)
    early = [(nanoseconds(v.SourceTimestamp), v.Value.Value) for v in values]
    assert early == [row for row in truth if row[0] < START + 30 * SECOND]


async def test_what_a_faulty_sensor_said_is_remembered_as_it_was_said(bed: Bed) -> None:
    await bed.clock.advance(1)
    for fault in ("bad", "bias"):
        await bed.workshop.engine.start(Wish("moulding-1", fault, "zone_3"))
    await bed.clock.advance(1)
    node = await bed.node("moulding-1", "Barrel.Zone3")
    values = await node.read_raw_history(at(START), at(START + 10 * SECOND), return_bounds=False)
    truth = [r for r in rows(bed.truth) if r["signal"] == "zone_3"]
    assert [(nanoseconds(v.SourceTimestamp), v.Value.Value) for v in values] == [
        (r["t"], r["value"]) for r in truth
    ]
    assert [v.StatusCode.name for v in values] == [
        "BadSensorFailure" if r.get("quality") == "bad" else "Good" for r in truth
    ]
    assert {v.StatusCode.name for v in values} == {"BadSensorFailure", "Good"}


class Past:
    """A memory with known values: 10, 20, 30, 40 s, of which the first two share a time with nothing."""

    def __init__(self, kept: int = 100, times: Sequence[int] = (10, 20, 30, 40)) -> None:
        model = kind("cnc")("cnc-1", 1)
        model.begin(START)
        memory = Memory(model, kept)
        self.node = node_id("Spindle.Load", 2)
        self.space = {self.node, node_id("Feed.Rate", 2)}
        self.history = History(memory, {self.node: ("spindle_load", ua.VariantType.Float)}, self.space)
        for t in times:
            model.values["spindle_load"] = float(t)
            memory.note(["spindle_load"], t * SECOND, {})

    def read(self, begins: int | None, ends: int | None, most: int = 0, **more: Any) -> Any:
        ns = [None if t is None else t * SECOND for t in (begins, ends)]
        (result,) = self.history.read(asked(self.node, ns[0], ns[1], most, **more))
        return result

    def times(self, *given: Any, **more: Any) -> list[Any]:
        return [
            t // SECOND if v is not None else f"no bound at {t // SECOND}"
            for t, v in found(self.read(*given, **more))
        ]


@pytest.mark.parametrize(
    ("begins", "ends", "most", "bounds", "wanted"),
    [
        (10, 30, 0, False, [10, 20]),
        (30, 10, 0, False, [30, 20]),
        (15, 35, 0, False, [20, 30]),
        (15, 35, 0, True, [10, 20, 30, 40]),
        (35, 15, 0, True, [40, 30, 20, 10]),
        (10, 30, 0, True, [10, 20, 30]),
        (5, 45, 0, True, ["no bound at 5", 10, 20, 30, 40, "no bound at 45"]),
        (20, None, 2, False, [20, 30]),
        (None, 30, 2, False, [30, 20]),
        (20, 20, 0, False, [20]),
        (50, 60, 0, False, []),
        (50, 60, 0, True, [40, "no bound at 60"]),
        (10, 41, 2, False, [10, 20]),
    ],
)
def test_ranges_and_bounds(
    begins: int | None, ends: int | None, most: int, bounds: bool, wanted: list[Any]
) -> None:
    """OPC 10000-11, 6.4.3: the end is not part of the range, the start is; backwards as forwards."""
    assert Past().times(begins, ends, most, bounds=bounds) == wanted


@pytest.mark.parametrize(("begins", "ends"), [(10, 41), (40, 9)])
def test_continuation_points_lead_through_everything_once(begins: int, ends: int) -> None:
    past, seen, point = Past(), list[int](), None
    for _ in range(4):
        result = past.read(begins, ends, 1, point=point)
        seen += [t // SECOND for t, _ in found(result)]
        point = result.ContinuationPoint
    assert seen == sorted([10, 20, 30, 40], reverse=begins > ends)
    assert not point


def test_what_cannot_be_read_has_its_status() -> None:
    past = Past()
    assert past.read(50, 60).StatusCode.value == 0x00A50000  # GoodNoData
    assert past.read(10, None).StatusCode.name == "BadHistoryOperationInvalid"
    assert past.read(10, 30, point=b"anything").StatusCode.name == "BadContinuationPointInvalid"
    (result,) = past.history.read(asked(node_id("Feed.Rate", 2), START, START + 1))
    assert result.StatusCode.name == "BadHistoryOperationUnsupported"
    past.space.clear()
    assert past.read(10, 30).StatusCode.name == "BadNodeIdUnknown"
    past.space.add(past.node)
    released = asked(past.node, 10 * SECOND, 41 * SECOND, 1)
    released.ReleaseContinuationPoints = True
    (result,) = past.history.read(released)
    assert result.StatusCode.is_good()
    assert found(result) == []
    modified = asked(past.node, 10 * SECOND, 41 * SECOND)
    modified.HistoryReadDetails.IsReadModified = True
    assert past.history.read(modified)[0].StatusCode.name == "BadHistoryOperationUnsupported"


def test_memory_is_bounded_and_a_point_that_has_left_it_leads_on() -> None:
    past = Past(kept=3, times=(10, 20, 30, 40))
    assert past.times(0, 50) == [20, 30, 40]
    point = past.read(0, 50, 1).ContinuationPoint
    for t in (50, 60, 70):
        past.history.memory.model.values["spindle_load"] = float(t)
        past.history.memory.note(["spindle_load"], t * SECOND, {})
    assert past.times(0, 100, point=point) == [50, 60, 70]
