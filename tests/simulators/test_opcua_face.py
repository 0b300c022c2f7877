"""What a stranger's client receives over OPC UA equals the truth, value by value and time by time."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.client.client import Client
from asyncua.common.node import Node
from asyncua.ua.uaerrors import UaStatusCodeError

from simulators.clock import FreeClock
from simulators.core import drive
from simulators.workshop import Plan, Workshop, open_workshop
from tests.simulators.runs import START, rows, run

NAMESPACE = "urn:shopfloor:sim:cnc"
SECOND = 1_000_000_000


def plan(folder: Path, **more: Any) -> Plan:
    wanted: dict[str, Any] = {"machines": (("cnc", "cnc-1"),), "seed": 42, "start_ns": START, **more}
    return Plan(truth=folder / "truth.jsonl", config=folder / "collector.yaml", **wanted)


@pytest.fixture
async def workshop(tmp_path: Path) -> AsyncIterator[Workshop]:
    async with open_workshop(plan(tmp_path)) as opened:
        yield opened


@pytest.fixture
async def client(workshop: Workshop) -> AsyncIterator[Client]:
    async with Client(workshop.endpoints["cnc-1"], timeout=90) as connected:
        yield connected


def node_id(text: str, index: int) -> ua.NodeId:
    return ua.NodeId.from_string(f"ns={index};s={text}")


def nanoseconds(moment: datetime) -> int:
    since = moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1) * 1000


class Listener:
    """Keeps what the subscription brings."""

    def __init__(self) -> None:
        self.received: list[tuple[str, int, Any]] = []

    def datachange_notification(self, node: Node, value: Any, data: Any) -> None:
        moment = data.monitored_item.Value.SourceTimestamp
        self.received.append((str(node.nodeid.Identifier), nanoseconds(moment), value))


async def subscribe(client: Client, workshop: Workshop) -> Listener:
    index = await client.get_namespace_index(NAMESPACE)
    nodes = [client.get_node(node_id(s.address, index)) for s in workshop.units[0].model.signals]
    listener = Listener()
    subscription = await client.create_subscription(50, listener)
    await subscription.subscribe_data_change(nodes, queuesize=0)
    return listener


async def test_received_equals_truth(workshop: Workshop, client: Client, tmp_path: Path) -> None:
    listener = await subscribe(client, workshop)
    until = START + 60 * SECOND
    await drive(workshop.units, FreeClock(), workshop.truth, asyncio.Event(), origin_ns=START, until_ns=until)
    await workshop.drain()
    names = {s.address: s.name for s in workshop.units[0].model.signals}
    truth = [(r["signal"], r["t"], r["value"]) for r in rows(tmp_path / "truth.jsonl")]
    async with asyncio.timeout(90):
        while len(listener.received) < len(truth):  # acknowledged is not yet handed to the handler
            await asyncio.sleep(0.01)
    received = [(names[node], t, value) for node, t, value in listener.received]
    assert len(truth) > 1000
    assert sorted(received, key=lambda r: r[:2]) == sorted(truth, key=lambda r: r[:2])
    assert {type(value) for _, _, value in received} == {float, int, bool, str}


async def test_the_face_changes_no_value(workshop: Workshop, tmp_path: Path) -> None:
    until = START + 20 * SECOND
    await drive(workshop.units, FreeClock(), workshop.truth, asyncio.Event(), origin_ns=START, until_ns=until)
    told = [(r["t"], r["signal"], r["value"]) for r in rows(tmp_path / "truth.jsonl")]
    assert told == run("cnc", 42, 20).changes


async def test_first_values_are_there_before_the_clock_starts(
    workshop: Workshop, client: Client, tmp_path: Path
) -> None:
    index = await client.get_namespace_index(NAMESPACE)
    first = {r["signal"]: r for r in rows(tmp_path / "truth.jsonl")}
    for signal in workshop.units[0].model.signals:
        data = await client.get_node(node_id(signal.address, index)).read_data_value()
        assert data.Value is not None
        assert data.Value.Value == first[signal.name]["value"]
        assert data.Value.VariantType.name == signal.type.value
        assert data.SourceTimestamp is not None
        assert nanoseconds(data.SourceTimestamp) == first[signal.name]["t"] == START


async def test_units_ranges_and_read_only(client: Client) -> None:
    index = await client.get_namespace_index(NAMESPACE)
    load = client.get_node(node_id("Spindle.Load", index))
    unit = await (await load.get_child("0:EngineeringUnits")).read_value()
    assert (unit.NamespaceUri, unit.UnitId) == ("http://www.opcfoundation.org/UA/units/un/cefact", 20529)
    span = await (await load.get_child("0:EURange")).read_value()
    assert (span.Low, span.High) == (0.0, 200.0)
    assert await load.read_type_definition() == ua.NodeId.from_string("i=17570")  # AnalogUnitRangeType
    with pytest.raises(UaStatusCodeError):
        await load.write_value(1.0, ua.VariantType.Float)


async def test_folders_can_be_browsed(client: Client) -> None:
    index = await client.get_namespace_index(NAMESPACE)
    path = [f"{index}:{name}" for name in ("Cnc-1", "Axes", "X", "Position")]
    node = await client.nodes.objects.get_child(path)
    assert node.nodeid == node_id("Axes.X.Position", index)
    assert (await node.read_description()).Text == "Position X"


async def test_every_endpoint_has_the_real_port(workshop: Workshop, client: Client) -> None:
    endpoints = await client.get_endpoints()
    assert {e.EndpointUrl for e in endpoints} == {workshop.endpoints["cnc-1"]}


async def test_changes_are_counted_out(tmp_path: Path) -> None:
    async with open_workshop(plan(tmp_path, max_changes=123)) as workshop:
        await drive(workshop.units, FreeClock(), workshop.truth, asyncio.Event(), origin_ns=START)
        first = len(workshop.units[0].model.signals)
        assert workshop.truth.emitted["cnc-1"] == first + 123
    assert len(list(rows(tmp_path / "truth.jsonl"))) == first + 123
