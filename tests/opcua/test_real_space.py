"""Paths, an enumeration, a matrix, a structure and a unit from asyncua's own server, as far as a real InfluxDB 1.x."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.structures104 import new_struct, new_struct_field
from asyncua.server.server import Server

from adapters.base import Bench
from adapters.clock import SystemClock
from adapters.opcua.settings import OpcUaRead, OpcUaSource
from adapters.opcua.source import OpcUaReader
from adapters.settings import Reading
from pipelines.batch import Batch, Flag
from pipelines.registry import Registry
from tests.contracts.rig import eventually
from tests.contracts.sink import write_once
from tests.contracts.source import Taker
from tests.influxdb.rigs import InfluxV1Rig
from tests.servers import free_port

URI = "urn:test:shop"
SIGNALS: Sequence[dict[str, Any]] = (
    {"name": "load", "path": "Machines/CNC1/Load"},
    {"name": "direct", "path": f"nsu={URI};Machines/nsu={URI};CNC2/nsu={URI};Load"},
    {"name": "axis_{1}_{2}", "path": "Machines/*/Axis*/Position"},
    {"name": "state", "path": "Machines/CNC1/State"},
    {"name": "offsets", "path": "Machines/CNC1/Offsets", "array": "elements"},
    {"name": "tool", "path": "Machines/CNC1/Tool"},
    {"name": "nothing", "path": "Machines/CNC1/Nothing"},
)


async def _machine(server: Server, index: int, below: Any, name: str, load: float) -> None:
    machine = await below.add_object(index, name)
    await machine.add_variable(index, "Load", load)
    for axis in ("Axis1", "Axis2"):
        await (await machine.add_object(index, axis)).add_variable(index, "Position", load + 1)
    if name == "CNC2":
        return
    loads = await machine.get_child([f"{index}:Load"])
    unit: Any = ua.EUInformation()
    unit.NamespaceUri, unit.UnitId = (
        "http://www.opcfoundation.org/UA/units/un/cefact",
        int.from_bytes(b"P1", "big"),
    )
    unit.DisplayName = ua.LocalizedText("%")
    await loads.add_property(0, "EngineeringUnits", unit)
    kinds = await server.nodes.enum_data_type.add_data_type(index, "StateType")
    words = [ua.LocalizedText(text) for text in ("Idle", "Running", "Fault")]
    await kinds.add_property(0, "EnumStrings", words)
    await machine.add_variable(index, "State", 1, ua.VariantType.Int32, datatype=kinds.nodeid)
    matrix = ua.Variant([[1, 2, 3], [4, 5, 6]], ua.VariantType.Int64)
    await machine.add_variable(index, "Offsets", matrix)
    await _structure(server, index, machine)


async def _structure(server: Server, index: int, machine: Any) -> None:
    """Number, an optional text that is not there, and an array. The library's classes are the process's: another name each time."""
    name = f"Tool{uuid.uuid4().hex}"
    fields = [
        new_struct_field("Number", ua.VariantType.UInt32),
        new_struct_field("Note", ua.VariantType.String, optional=True),
        new_struct_field("Wear", ua.VariantType.Double, array=True),
    ]
    kind, _ = await new_struct(server, index, name, fields)
    made = (await server.load_data_type_definitions())[name]
    await machine.add_variable(index, "Tool", made(Number=7, Wear=[0.5, 0.25]), datatype=kind.nodeid)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    server = Server()
    await server.init()
    address = f"opc.tcp://127.0.0.1:{free_port()}"
    server.set_endpoint(address)
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace(URI)
    machines = await server.nodes.objects.add_folder(index, "Machines")
    for name, load in (("CNC1", 10.5), ("CNC2", 20.5)):
        await _machine(server, index, machines, name, load)
    async with server:
        yield address


def reader(url: str, registry: Registry) -> OpcUaReader:
    settings = OpcUaSource.model_validate(
        {
            "type": "opcua",
            "url": url,
            "security": "none",
            "publishing_interval": "50ms",
            "request_timeout": "60s",
        }
    )
    read = OpcUaRead.model_validate({"source": "plc", "signals": list(SIGNALS)})
    reading = Reading(machine="m", tags={}, read=read)
    return OpcUaReader("plc", settings, (reading,), Bench(registry, SystemClock()))


@asynccontextmanager
async def taking(url: str, registry: Registry) -> AsyncIterator[Taker]:
    """A taker that has heard of every signal."""
    line = Taker(registry)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(line.run(reader(url, registry), None))
        try:
            await eventually(lambda: {row.signal for row in line.rows} >= EXPECTED.keys(), "everything")
            yield line
        finally:
            task.cancel()


EXPECTED: dict[str, Any] = {
    "load": 10.5,
    "direct": 20.5,
    **{f"axis_CNC{c}_{a}": 10.0 * c + 1.5 for c in (1, 2) for a in (1, 2)},
    "state": 1,
    "state.text": "Running",
    "tool.Number": 7,
    "tool.Wear[0]": 0.5,
    "tool.Wear[1]": 0.25,
    **{f"offsets[{r},{c}]": 3 * r + c + 1 for r in (0, 1) for c in (0, 1, 2)},
}


async def test_what_a_server_of_others_has_is_found(url: str) -> None:
    registry = Registry()
    async with taking(url, registry) as line:
        there = [row for row in line.rows if not row.flags & Flag.NO_VALUE]
        assert {row.signal: row.value for row in there} == EXPECTED
        assert {row.signal for row in line.rows} - EXPECTED.keys() == {"tool.Note"}
        facts: dict[str, str] = getattr(line.session, "facts", {})
        assert "CNC1 has no 'Nothing'" in facts["failed"]
    load = registry.latest("m", "load")
    assert load is not None
    assert registry[load].unit == "P1"


@pytest.mark.server("influxd")
async def test_an_enumeration_a_matrix_and_a_structure_arrive_in_influxdb(url: str, tmp_path: Path) -> None:
    rig = await InfluxV1Rig(tmp_path).start()
    try:
        async with taking(url, rig.registry) as line:
            batches: list[Batch] = [batch for delivery in line.deliveries for batch in delivery.batches]
        await write_once(rig.sink(), batches)
        stored = await rig.stored()
        assert {place.signal: found for place, found in stored.items()} == EXPECTED
    finally:
        await rig.stop()
