"""Browse paths and patterns over OPC UA servers that are not ours: asyncua's, python-opcua's, node-opcua's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from adapters.base import Bench
from adapters.clock import SystemClock
from adapters.opcua.settings import OpcUaRead, OpcUaSource
from adapters.opcua.source import OpcUaReader
from adapters.settings import Reading
from pipelines.registry import Registry
from tests.contracts.rig import eventually
from tests.contracts.source import Taker
from tests.peers.opcua import Server


@pytest.mark.parametrize(
    "server",
    [
        pytest.param(kind, marks=pytest.mark.xdist_group(f"peers-paths-{kind}"))
        for kind in ("asyncua", "python-opcua", "node-opcua")
    ],
    indirect=True,
)
async def test_paths_and_patterns(server: Server) -> None:
    wanted: list[dict[str, Any]] = [
        {"name": "any.{1}", "path": "*d", "every": "0s"},
        {"name": "e.{1}.{2}", "path": "*e*", "every": "0s"},
        {"name": "exact", "path": "load", "every": "0s"},
        {"name": "diagnostics", "path": "0:Server/0:ServerStatus/0:State"},
        {"name": "missing", "path": "missing"},
    ]
    registry = Registry()
    read = OpcUaRead.model_validate({"source": "plc", "signals": wanted})
    settings = OpcUaSource.model_validate(
        {
            "type": "opcua",
            "url": f"opc.tcp://127.0.0.1:{server.port}/",
            "security": "none",
            "request_timeout": "60s",
        }
    )
    source = OpcUaReader(
        "plc", settings, (Reading(machine="m", tags={}, read=read),), Bench(registry, SystemClock())
    )
    line = Taker(registry)
    expected = {"any.loa", "any.spee", "e.spe.d", "exact", "diagnostics"}
    expected |= {"e.temperatur."}
    async with asyncio.TaskGroup() as group:
        task = group.create_task(line.run(source, None))
        try:
            await eventually(lambda: {row.signal for row in line.rows} >= expected, "everything that matches")
            facts: dict[str, str] = getattr(line.session, "facts", {})
            assert "i=85 has no 'missing'" in facts["failed"]
            assert {row.signal for row in line.rows} - {"diagnostics.text"} == expected
        finally:
            task.cancel()
