"""Gaps are repaired from the histories of OPC UA servers that are not ours: asyncua's and node-opcua's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from pipelines.batch import Flag
from pipelines.registry import Registry
from tests.contracts.rig import eventually
from tests.contracts.source import Taker
from tests.peers.memory import MemoryServer, taking
from tests.peers.test_opcua_events import both

START_MS = 1_700_000_000_000


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MemoryServer]:
    made = MemoryServer(request.param, tmp_path_factory.mktemp("peer"))
    yield made
    made.peer.stop()


def stored(line: Taker) -> dict[int, float]:
    """By ms since START."""
    return {row.at // 10**6 - START_MS: row.value for row in line.rows if row.signal == "kept"}


def recalled(line: Taker) -> list[int]:
    return [row.at // 10**6 - START_MS for row in line.rows if row.flags & Flag.HISTORICAL]


@both("asyncua")
async def test_values_of_a_time_in_which_nobody_listened(server: MemoryServer) -> None:
    registry = Registry()
    read = {"signals": [{"name": "kept", "node": "nsu=urn:test:peer;s=kept", "every": "0s"}]}
    async with taking(server.source(registry, read), registry) as line:
        await server.tell(["kept", 1.0, START_MS + 1])
        await eventually(lambda: 1 in stored(line), "a value", 10)
        checkpoint = line.checkpoint
    await server.tell(*(["kept", float(n), START_MS + n] for n in range(2, 3000)))
    async with taking(server.source(registry, read), registry, checkpoint) as again:
        await eventually(lambda: any(gap.reason == "repaired" for gap in again.gaps), "repaired", 20)
    assert recalled(again)[-2997:] == list(range(2, 2999)), "three pages, in order"
    assert stored(again) | {1: 1.0} == {n: float(n) for n in range(1, 3000)}


@both("node-opcua")
async def test_values_that_the_server_dropped_from_its_queue(server: MemoryServer) -> None:
    registry = Registry()
    read = {"signals": [{"name": "kept", "path": "Tank/kept", "every": "0s", "queue": 2}]}
    async with taking(server.source(registry, read), registry) as line:
        await eventually(lambda: bool(stored(line)), "the first value", 10)
        await asyncio.sleep(0.2)
        await server.tell(*(["kept", float(n), START_MS + n] for n in range(1, 1501)))
        await eventually(
            lambda: any(gap.reason == "repaired" for gap in line.gaps), f"repaired: {line.gaps}", 20
        )
    assert [gap.reason for gap in line.gaps] == ["server_queue_overflow", "repaired"]
    assert set(stored(line)) >= set(range(1, 1501))
    assert all(value == float(ms) for ms, value in stored(line).items() if ms > 0)
    assert recalled(line) == list(range(1, 1499))
