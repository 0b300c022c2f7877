"""`python -m tests.simulators.spaces.derive`: makes the simulators' tables from the official nodesets.

One table per namespace with what the machines' instances need; `standard.json` has the few declarations of the base
specification (OPC 10000-5) that they build on, read from the address space that asyncua ships.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from asyncua import ua
from asyncua.server.internal_server import InternalServer
from asyncua.ua.attribute_ids import AttributeIds

from simulators.faces.opcua_nodes import node_id
from tests.simulators.spaces.official import HAS_SUBTYPE, TAG, UA, Key, Official, Raw, folder, load, values

TABLES = Path(__file__).parents[3] / "simulators" / "faces" / "spaces" / "tables"
LICENCE = (
    "Derived from the OPC Foundation's UA-Nodeset, Copyright (c) The OPC Foundation, Inc.; OPC Foundation MIT License 1.00, "
    "http://opcfoundation.org/License/MIT/1.00/"
)
WITHOUT = frozenset(
    {"JobManagement", "FileSystem", "WorkMasters", "Components", "<GroupIdentifier>", "Lock", "MethodSet"}
)
"""Optional parts that no machine here has, and that would bring whole specifications along."""

ROOTS = (
    ("DI/", "DeviceHealthEnumeration"),
    ("MachineTool/", "MachineToolType"),
    ("MachineTool/", "SpindleMonitoringType"),
    ("MachineTool/", "ChannelMonitoringType"),
    ("MachineTool/", "ToolType"),
    ("MachineTool/", "ProductionJobType"),
    ("MachineTool/", "AlertType"),
    ("Machinery/", "MachineryOperationModeStateMachineType"),
    ("IA/", "StackElementLightType"),
    ("PlasticsRubber/IMM2MES/", "IMM_MES_InterfaceType"),
    ("PlasticsRubber/IMM2MES/", "InjectionUnitType"),
    ("PlasticsRubber/GeneralTypes/", "MouldType"),
    ("PlasticsRubber/GeneralTypes/", "HydraulicUnitType"),
    ("PlasticsRubber/GeneralTypes/", "BarrelTemperatureZoneType"),
    ("PlasticsRubber/GeneralTypes/", "MouldTemperatureZoneType"),
    ("Robotics/", "MotionDeviceSystemType"),
    ("Robotics/", "Controls"),
    ("Robotics/", "Moves"),
    ("Robotics/", "Requires"),
    ("Robotics/", "HasSafetyStates"),
    ("PackML/", "PackMLBaseObjectType"),
    ("PackML/", "ProductionMaintenanceModeEnum"),
)
ENTRIES = {"Machines": ("Machinery/", 1001), "DeviceSet": ("DI/", 5001), "PackMLObjects": ("PackML/", 72)}


def roots(official: Official) -> list[Key]:
    """The types that machines are made of, and the folders where they are found."""
    folders = [Key(UA + uri, number) for uri, number in ENTRIES.values()]
    return [official.type(*each) for each in ROOTS] + folders


def tables(official: Official) -> dict[str, Any]:
    """All tables by their file's name."""
    needed = official.closure(roots(official), WITHOUT)
    made = {}
    for uri in sorted({key.uri for key in needed}):
        version, published = official.models[uri]
        uses = [UA, uri]
        nodes = [
            _row(raw, uses, needed) for raw in _ordered(official, [key for key in needed if key.uri == uri])
        ]
        head = {"uri": uri, "version": version, "published": published, "licence": LICENCE, "uses": uses}
        made[uri.removeprefix(UA).strip("/").replace("/", "_").lower()] = {**head, "nodes": nodes}
    wanted = {
        key.id for raw in map(official.nodes.__getitem__, needed) for key in _of_base(raw) if key.uri == UA
    }
    made["standard"] = {
        "uri": UA,
        "version": "",
        "published": "",
        "licence": LICENCE,
        "uses": [UA],
        "nodes": asyncio.run(_standard(wanted)),
    }
    return made


def _ordered(official: Official, keys: Sequence[Key]) -> Iterator[Raw]:
    """Parents before children, by number."""
    left, done = sorted(keys), set[Key]()
    inside = set(keys)
    while left:
        ready = [key for key in left if (up := official.nodes[key].parent) not in inside or up in done]
        assert ready, left
        for key in ready:
            yield official.nodes[key]
        done.update(ready)
        left = [key for key in left if key not in done]


def _of_base(raw: Raw) -> Iterator[Key]:
    yield from (key for key in (raw.type, raw.data_type, raw.parent, *raw.interfaces) if key is not None)
    for each in raw.element.iterfind(f"{TAG}Definition/{TAG}Field"):
        yield Key(*json.loads(each.get("Key", "")))


def _row(raw: Raw, uses: list[str], needed: set[Key]) -> list[Any]:
    def text(key: Key) -> str:
        if key.uri not in uses:
            uses.append(key.uri)
        return f"{uses.index(key.uri)}:{key.id}"

    uri, name = raw.name
    more: dict[str, Any] = {}
    if raw.type is not None:
        more["type"] = text(raw.type)
    if raw.data_type is not None and raw.kind != "Method":
        more["data"] = text(raw.data_type)
    if raw.rank != -1:
        more["rank"] = raw.rank
    if raw.rule:
        more["rule"] = raw.rule
    if raw.element.get("IsAbstract") == "true":
        more["abstract"] = True
    if raw.interfaces:
        more["has"] = [text(key) for key in raw.interfaces if key in needed or key.uri == UA]
    more.update(_definition(raw, text))
    if (value := values(raw)) is not None:
        more["value"] = [[n, text(k), r] for n, k, r in value] if "Arguments" in name else value
    parent = text(raw.parent) if raw.parent is not None else ""
    return [raw.key.id, raw.kind, f"{text(Key(uri, 0)).partition(':')[0]}:{name}", parent, raw.by, more]


def _definition(raw: Raw, text: Any) -> dict[str, Any]:
    fields = raw.element.findall(f"{TAG}Definition/{TAG}Field")
    if not fields:
        return {}
    if all(each.get("Value") is not None for each in fields):
        return {"enum": [[int(each.get("Value", "0")), each.get("Name", "")] for each in fields]}
    return {
        "fields": [
            [
                each.get("Name", ""),
                text(Key(*json.loads(each.get("Key", "")))),
                int(each.get("ValueRank", "-1")),
            ]
            for each in fields
        ]
    }


async def _standard(wanted: set[int]) -> list[list[Any]]:
    server = InternalServer()
    await server.load_standard_address_space()
    space, rows, todo = server.aspace, dict[int, list[Any]](), sorted(wanted)
    while todo:
        number = todo.pop(0)
        if number in rows or number not in range(1, 100_000):
            continue
        row, more = _base(space, number)
        rows[number] = row
        todo += more
    return _parents_first(rows)


def _parents_first(rows: dict[int, list[Any]]) -> list[list[Any]]:
    done: dict[int, list[Any]] = {}
    while len(done) < len(rows):
        for number, row in sorted(rows.items()):
            up = int(row[3].partition(":")[2] or 0)
            if number not in done and (up not in rows or up in done):
                done[number] = row
    return list(done.values())


def _base(space: Any, number: int) -> tuple[list[Any], list[int]]:
    node = space[node_id(number)]

    def read(name: AttributeIds) -> Any:
        return node.attributes[name].value.Value.Value

    kind = ua.NodeClass(read(AttributeIds.NodeClass)).name
    name = read(AttributeIds.BrowseName).Name
    more: dict[str, Any] = {}
    todo: list[int] = []
    parent, by = "", 0
    for each in node.references:
        way, other = each.ReferenceTypeId.Identifier, each.NodeId.Identifier
        if each.IsForward and way == 40:
            more["type"] = f"0:{other}"
            todo.append(other)
        elif each.IsForward and way == 37:
            more["rule"] = other
        elif not each.IsForward and way in (HAS_SUBTYPE, 46, 47, 49) and not parent:
            parent, by = f"0:{other}", way
            todo.append(other)
        elif each.IsForward and way in (46, 47, 49) and _is_declared(space, each.NodeId):
            todo.append(other)
    if kind == "Variable":
        data = read(AttributeIds.DataType).Identifier
        more["data"] = f"0:{data}"
        todo.append(data)
        if (rank := int(read(AttributeIds.ValueRank))) != -1:
            more["rank"] = rank
    if kind in ("ObjectType", "DataType") and read(AttributeIds.IsAbstract):
        more["abstract"] = True
    return [number, kind, f"0:{name}", parent, by, dict(sorted(more.items()))], todo


KEPT = frozenset(
    {
        "EngineeringUnits",
        "EURange",
        "Number",
        "Name",
        "Id",
        "CurrentState",
        "LastTransition",
        "<OrderedObject>",
    }
)


def _is_declared(space: Any, node: ua.NodeId) -> bool:
    """Mandatory, or optional and of use here."""
    if node not in space:
        return False
    rules = [
        each.NodeId.Identifier for each in space[node].references if each.ReferenceTypeId.Identifier == 37
    ]
    name = space[node].attributes[AttributeIds.BrowseName].value.Value.Value.Name
    method = space[node].attributes[AttributeIds.NodeClass].value.Value.Value == ua.NodeClass.Method
    return bool(rules) and not method and (rules[0] == 78 or name in KEPT)


def text_of(table: Any) -> str:
    """JSON with a node per line, so that changes can be read."""
    head = json.dumps({key: value for key, value in table.items() if key != "nodes"}, indent=1)
    nodes = ",\n".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in table["nodes"])
    return f'{head[:-2]},\n "nodes": [\n{nodes}\n]}}\n'


def main() -> None:
    """Write all tables."""
    place = folder()
    assert place is not None, "no nodesets here: set SHOPFLOOR_NODESETS to their folder"
    TABLES.mkdir(exist_ok=True)
    for name, table in tables(load(place)).items():
        (TABLES / f"{name}.json").write_text(text_of(table), encoding="utf-8")


if __name__ == "__main__":
    main()
