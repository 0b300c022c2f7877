"""Clients that are not ours look at the simulated machines: the standard address space is what the nodesets say, for them too."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from adapters.clock import SystemClock
from adapters.discovery import Wishes, silent
from adapters.opcua.discover import discover
from adapters.opcua.security import Gate
from adapters.opcua.settings import OpcUaSource
from simulators.workshop import Workshop, open_workshop
from tests.peers.found import HERE, NODE, node, python
from tests.simulators.spaces.official import UA
from tests.simulators.test_opcua_face import plan

MACHINES = (("cnc", "cnc-1"), ("moulding", "moulding-1"), ("packaging", "packaging-1"), ("robot", "robot-1"))
CLIENTS = {"python-opcua": (python, "python_opcua_look.py"), "node-opcua": (node, "node_opcua_look.js")}


def command(client: str) -> list[str]:
    find, script = CLIENTS[client]
    return [*find(script)[:-1], str(HERE / "clients" / script)]


async def seen(client: str, urls: list[str]) -> list[dict[str, dict[str, Any]]]:
    """What the client says of each server, by path."""
    process = await asyncio.create_subprocess_exec(
        *command(client),
        *urls,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    said, errors = await process.communicate()
    lines = [line for line in said.decode().splitlines() if line.startswith('{"rows"')]
    assert len(lines) == len(urls), errors.decode()[-2000:]
    return [{row["path"]: row for row in json.loads(line)["rows"]} for line in lines]


def environment() -> dict[str, str]:
    return {**os.environ, "NODE_PATH": str(NODE), "NODE_NO_WARNINGS": "1", "PYTHONWARNINGS": "ignore"}


def check_cnc(rows: dict[str, dict[str, Any]], values: dict[str, Any]) -> None:
    root = "Machines/Cnc-1"
    assert rows[root]["type"] == [f"{UA}MachineTool/", 13]
    assert rows[f"{root}/Identification"]["uri"] == f"{UA}DI/"
    assert rows[f"{root}/Monitoring/Main spindle"]["type"] == [f"{UA}MachineTool/", 22]
    assert rows[f"{root}/Monitoring/MachineTool/FeedOverride"]["value"] == values["feed_override"]
    assert rows[f"{root}/Production/ActiveProgram/Name"]["value"] == values["program"]
    assert rows[f"{root}/MachineryBuildingBlocks/MachineryItemState/CurrentState/Id"]["class"] == "Variable"
    assert rows["Cnc-1/Spindle/Load"]["value"] == values["spindle_load"]


def check_packaging(rows: dict[str, dict[str, Any]], values: dict[str, Any]) -> None:
    root = "PackMLObjects/Packaging-1"
    assert rows[root]["type"] == [f"{UA}PackML/", 6]
    assert rows[f"{root}/Status/MachSpeed"]["value"] == pytest.approx(values["mach_speed"])
    assert rows[f"{root}/BaseStateMachine/MachineState/ExecuteState"]["type"] == [f"{UA}PackML/", 1]
    assert rows[f"{root}/SetUnitMode"]["class"] == "Method"
    assert rows[f"{root}/Admin/ProdProcessedCount"]["value"] is not None


def check_robot(rows: dict[str, dict[str, Any]], values: dict[str, Any]) -> None:
    root = "DeviceSet/Robot-1"
    assert rows[root]["type"] == [f"{UA}Robotics/", 1002]
    axis = rows[f"{root}/MotionDevices/Arm/Axes/Axis_2/ParameterSet/ActualPosition"]
    assert (axis["value"], axis["uri"]) == (values["joint_2_position"], f"{UA}Robotics/")


def check_moulding(rows: dict[str, dict[str, Any]], values: dict[str, Any]) -> None:
    root = "DeviceSet/IMM_MES_Interface_ShopfloorSimulators_SIM-Moulding-1"
    assert rows[root]["type"] == [f"{UA}PlasticsRubber/IMM2MES/", 1007]
    zone = rows[f"{root}/InjectionUnits/InjectionUnit_1/TemperatureZones/TemperatureZone_1/ActualTemperature"]
    assert zone["value"] == values["zone_1"]


CHECKS = {"cnc": check_cnc, "packaging": check_packaging, "robot": check_robot, "moulding": check_moulding}
SPECIFICATIONS = {
    "cnc": {
        "Machinery (OPC 40001-1)",
        "Machine Tools (OPC 40501-1)",
        "Industrial Automation (OPC 10000-200)",
    },
    "packaging": {"PackML (OPC 30050)"},
    "robot": {"Robotics (OPC 40010-1)"},
    "moulding": {
        "Injection Moulding (OPC 40077, Euromap 77)",
        "Plastics and Rubber (OPC 40083, Euromap 83)",
    },
}
LABELS = {
    "cnc": ["Cnc-1", "Cnc-1"],
    "packaging": ["Packaging-1", "Packaging-1"],
    "robot": ["Robot-1", "Robot-1"],
    "moulding": ["Moulding-1", "IMM_MES_Interface_ShopfloorSimulators_SIM-Moulding-1"],
}
"""The vendor's folder, and the member of the specification's own: Machines, PackMLObjects, DeviceSet."""


def values(workshop: Workshop, kind: str) -> dict[str, Any]:
    return next(dict(unit.model.values) for unit in workshop.units if unit.model.kind == kind)


@pytest.mark.parametrize(
    "client", [pytest.param(name, marks=pytest.mark.xdist_group(f"peers-look-{name}")) for name in CLIENTS]
)
async def test_foreign_clients_see_the_standard(client: str, tmp_path: Path) -> None:
    command(client)
    async with open_workshop(plan(tmp_path, machines=MACHINES)) as workshop:
        said = await seen(client, [workshop.endpoints[name] for _, name in MACHINES])
        for (kind, _), rows in zip(MACHINES, said, strict=True):
            CHECKS[kind](rows, values(workshop, kind))


async def test_discover_names_the_specifications(tmp_path: Path) -> None:
    """And says that they are used, not only loaded; what it proposes has the units of the standard's nodes."""
    async with open_workshop(plan(tmp_path, machines=MACHINES)) as workshop:
        for kind, name in MACHINES:
            keys = {
                "type": "opcua",
                "url": workshop.endpoints[name],
                "security": "none",
                "request_timeout": "60s",
            }
            gate = Gate(name, OpcUaSource.model_validate(keys), str(tmp_path), SystemClock().wall_now)
            report = await discover(gate, name, keys, Wishes(watch=0.0, seconds=600.0), silent)
            said = report.facts["companion specifications"]
            for specification in SPECIFICATIONS[kind]:
                assert f"{specification} (" in said
                assert f"{specification} (loaded, not used)" not in said
            assert report.data["cut"] == ""
            assert [machine.label for machine in report.proposal.machines] == LABELS[kind]
