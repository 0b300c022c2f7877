"""Alarms, events and histories of OPC UA servers that are not ours: asyncua's, and node-opcua's with conditions of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.object_ids import ObjectIds

from pipelines.batch import Flag
from pipelines.registry import Registry
from tests.contracts.rig import eventually
from tests.contracts.source import Taker, conserved
from tests.peers.memory import MemoryServer, taking

START_MS = 1_700_000_000_000


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MemoryServer]:
    made = MemoryServer(request.param, tmp_path_factory.mktemp("peer"))
    yield made
    made.peer.stop()


def both(*kinds: str) -> pytest.MarkDecorator:
    marked = [pytest.param(kind, marks=pytest.mark.xdist_group(f"peers-memory-{kind}")) for kind in kinds]
    return pytest.mark.parametrize("server", marked, indirect=True)


def said(line: Taker, ending: str) -> list[Any]:
    return [row.value for row in line.rows if row.signal.endswith(ending)]


def last(line: Taker, ending: str) -> Any:
    return (said(line, ending) or [None])[-1]


@both("asyncua", "node-opcua")
async def test_a_simple_event(server: MemoryServer) -> None:
    registry = Registry()
    source = server.source(registry, {"events": [{"name": "event", "severity": 300}]})
    async with taking(source, registry) as line:
        await eventually(lambda: line.session is not None, "the session opens")
        await server.tell(["event", "too quiet", 299], ["event", "the door is open", 300])
        await eventually(lambda: "the door is open" in said(line, ".message"), "the severe one arrives")
    assert "too quiet" not in said(line, ".message")
    assert 300 in said(line, ".severity")
    assert all(conserved(delivery) for delivery in line.deliveries)


@both("asyncua")
async def test_a_condition_that_is_told_by_hand(server: MemoryServer) -> None:
    registry = Registry()
    async with taking(server.source(registry, {"events": [{}]}), registry) as line:
        await eventually(lambda: line.session is not None, "the session opens")
        await server.tell(
            ["alarm", True, False, "high"], ["alarm", True, True, "seen"], ["alarm", False, True, "normal"]
        )
        await eventually(lambda: len(said(line, "level.LevelAlarm.active")) >= 3, "three states")
    assert said(line, "level.LevelAlarm.active")[-3:] == [True, True, False]
    assert said(line, "level.LevelAlarm.acked")[-3:] == [False, True, True]
    assert said(line, "level.LevelAlarm.message")[-3:] == ["high", "seen", "normal"]


@both("node-opcua")
async def test_a_real_alarm_is_raised_acknowledged_and_over(server: MemoryServer) -> None:
    """Raised by the value, acknowledged by another client's call; a new life learns from the refresh that it is over."""
    registry = Registry()
    name = "level.LevelAlarm"
    now = 1_700_000_000_000
    async with taking(server.source(registry, {"events": [{}]}), registry) as line:
        await eventually(lambda: line.session is not None, "the session opens")
        await server.tell(["level", 0.95, now + 1000])
        await eventually(lambda: last(line, f"{name}.active") is True, f"raised: {line.rows}")
        assert last(line, f"{name}.acked") is False
        assert last(line, f"{name}.severity") > 0
        await _acknowledge(server, bytes.fromhex(last(line, f"{name}.event_id")))
        await eventually(lambda: last(line, f"{name}.acked") is True, "acknowledged")
        assert last(line, f"{name}.active") is True
        checkpoint = line.checkpoint
    await server.tell(["level", 0.5, now + 2000])
    async with taking(server.source(registry, {"events": [{}]}), registry, checkpoint) as again:
        await eventually(lambda: last(again, f"{name}.active") is False, "over")


async def _acknowledge(server: MemoryServer, event_id: bytes) -> None:
    async with Client(server.url, timeout=300, watchdog_intervall=300.0) as client:
        alarm = await client.nodes.objects.get_child(["1:Tank", "1:LevelAlarm"])
        arguments = (ua.Variant(event_id, ua.VariantType.ByteString), ua.Variant(ua.LocalizedText("seen")))
        await alarm.call_method(ua.NodeId(ObjectIds.AcknowledgeableConditionType_Acknowledge), *arguments)  # type: ignore[arg-type]


def stored(line: Taker) -> dict[int, float]:
    """By ms since START."""
    return {row.at // 10**6 - START_MS: row.value for row in line.rows if row.signal == "kept"}


def recalled(line: Taker) -> list[int]:
    return [row.at // 10**6 - START_MS for row in line.rows if row.flags & Flag.HISTORICAL]


@both("asyncua")
async def test_values_of_a_time_in_which_nobody_listened(server: MemoryServer) -> None:
    registry = Registry()
    read = {"signals": [{"name": "kept", "node": "nsu=urn:test:peer;s=kept", "every": "0s"}]}
    await server.tell(["kept", 1.0, START_MS + 1])  # before: the value that the server began with is of today
    async with taking(server.source(registry, read), registry) as line:
        await eventually(lambda: 1 in stored(line), "a value")
        checkpoint = line.checkpoint
    await server.tell(*(["kept", float(n), START_MS + n] for n in range(2, 3000)))
    async with taking(server.source(registry, read), registry, checkpoint) as again:
        await eventually(lambda: any(gap.reason == "repaired" for gap in again.gaps), "repaired")
    assert recalled(again)[-2997:] == list(range(2, 2999)), "three pages, in order"
    assert stored(again) | {1: 1.0} == {n: float(n) for n in range(1, 3000)}


@both("node-opcua")
async def test_values_that_the_server_dropped_from_its_queue(server: MemoryServer) -> None:
    registry = Registry()
    read = {"signals": [{"name": "kept", "path": "Tank/kept", "every": "0s", "queue": 2}]}
    async with taking(server.source(registry, read), registry) as line:
        await eventually(lambda: bool(stored(line)), "the first value")
        await server.tell(*(["kept", float(n), START_MS + n] for n in range(1, 1501)))
        await eventually(lambda: any(gap.reason == "repaired" for gap in line.gaps), f"repaired: {line.gaps}")
    assert [gap.reason for gap in line.gaps] == ["server_queue_overflow", "repaired"]
    assert set(stored(line)) >= set(range(1, 1501))
    assert all(value == float(ms) for ms, value in stored(line).items() if ms > 0)
    assert recalled(line) == list(range(1, 1499))
