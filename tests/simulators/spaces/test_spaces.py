"""The machines look as the companion specifications say: compared with the official nodesets, by what a client sees."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.attribute_ids import AttributeIds

from simulators.faces.spaces.kinds import KINDS
from simulators.workshop import Workshop, open_workshop
from tests.simulators.spaces.demands import wrong
from tests.simulators.spaces.derive import TABLES, tables, text_of
from tests.simulators.spaces.official import UA, Key, Official, folder, load
from tests.simulators.spaces.seen import Seen, look
from tests.simulators.test_opcua_face import plan

WHERE = {
    "cnc": ("Machines", "MachineTool/", "MachineToolType"),
    "cnc5": ("Machines", "MachineTool/", "MachineToolType"),
    "moulding": ("DeviceSet", "PlasticsRubber/IMM2MES/", "IMM_MES_InterfaceType"),
    "packaging": ("PackMLObjects", "PackML/", "PackMLBaseObjectType"),
    "robot": ("DeviceSet", "Robotics/", "MotionDeviceSystemType"),
}


@cache
def nodesets() -> Official:
    place = folder()
    if place is None:
        message = "the official nodesets are not here: set SHOPFLOOR_NODESETS to their folder"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(message)
    assert place is not None
    return load(place)


@asynccontextmanager
async def served(folder: Path, *kinds: str) -> AsyncIterator[tuple[Workshop, dict[str, Client]]]:
    """Machines of these kinds, and a client of each."""
    machines = tuple((kind, f"{kind}-1") for kind in kinds)
    async with open_workshop(plan(folder, machines=machines)) as workshop, AsyncExitStack() as stack:
        opened = {kind: Client(workshop.endpoints[machine], timeout=90) for kind, machine in machines}
        yield workshop, {kind: await stack.enter_async_context(client) for kind, client in opened.items()}


def machine(root: Seen, kind: str) -> Seen:
    """The machine in the folder of its specification."""
    folder, _, _ = WHERE[kind]
    (found,) = (each for each in root.at(folder).children.values() if isinstance(each.id.Identifier, str))
    return found


def test_the_tables_are_those_of_the_nodesets() -> None:
    made = {name: text_of(table) for name, table in tables(nodesets()).items()}
    kept = {path.stem: path.read_text("utf-8") for path in TABLES.glob("*.json")}
    assert kept == made


def test_every_kind_with_a_specification_is_looked_at() -> None:
    assert set(WHERE) == set(KINDS)


async def test_machines_look_as_their_specifications_say(tmp_path: Path) -> None:
    """What is mandatory is there, under the official name and type, and has a value."""
    official = nodesets()
    async with served(tmp_path, *WHERE) as (workshop, clients):
        for (kind, client), unit in zip(clients.items(), workshop.units, strict=True):
            found = machine(await look(client), kind)
            _, uri, name = WHERE[kind]
            assert found.type == official.type(uri, name)
            assert list(wrong(official, found)) == []
            assert len(found.below()) > 35
            assert [each.path for each in found.below() if each.kind == "Variable" and each.status] == []
            await _official(official, client, unit.face._served.server.iserver.aspace)  # type: ignore[attr-defined]


async def _official(official: Official, client: Client, space: Any) -> None:
    """Every official node of the server has the class and the name that its number has in the nodeset."""
    uris = await client.get_namespace_array()
    nodes = [node for node in list(space.keys()) if uris[node.NamespaceIndex] in official.models]
    assert len(nodes) > 100
    for attribute in (AttributeIds.BrowseName, AttributeIds.NodeClass):
        said = await client.uaclient.read_attributes(nodes, attribute)
        for node, data in zip(nodes, said, strict=True):
            raw = official.nodes[Key(uris[node.NamespaceIndex], node.Identifier)]
            value: Any = data.Value.Value if data.Value is not None else None
            if attribute is AttributeIds.BrowseName:
                assert (uris[value.NamespaceIndex], value.Name) == raw.name
            else:
                assert ua.NodeClass(value).name == raw.kind


async def test_the_vendors_folder_is_untouched_and_the_oracle_sees_what_is_wrong(tmp_path: Path) -> None:
    official = nodesets()
    async with served(tmp_path, "cnc") as (workshop, clients):
        uris = await clients["cnc"].get_namespace_array()
        root = await look(clients["cnc"])
        node = clients["cnc"].get_node("ns=2;s=/Channel/Spindle/driveLoad[u1,1]")
        load = await node.read_value()
    values = workshop.units[0].model.values
    assert load == values["spindle_load"]  # it can be read, and no browse finds it
    assert not any(str(each.id.Identifier).startswith("/") for each in root.below())
    assert uris[2] == "urn:shopfloor:sim:cnc"
    vendor = {each.id.Identifier for each in root.at("Cnc-1").below()}
    assert {signal.address for signal in workshop.units[0].model.signals} <= vendor
    found = machine(root, "cnc")
    assert list(wrong(official, found)) == []
    found.at("Monitoring/MachineTool/OperationMode").data = Key(UA, 12)
    found.at("Monitoring/Main spindle/Name").by = 47
    del found.at("Identification").children[(f"{UA}DI/", "SerialNumber")]
    found.at("Production/ProductionPlan/Job 1/ProductionPrograms").children.clear()
    found.at("Production/ActiveProgram/State").type = Key(UA, 58)
    said = "\n".join(wrong(official, found))
    for path in (
        "OperationMode has",
        "spindle/Name hangs",
        "no SerialNumber",
        "nothing stands for",
        "State is of type",
    ):
        assert path in said
