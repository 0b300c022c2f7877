"""Browse paths and patterns against the scripted server: what they find, in how many requests, and what is said when not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.contracts.rig import eventually
from tests.opcua import encoder as enc
from tests.opcua.encoder import DataValue, Scalar
from tests.opcua.opened import opened
from tests.opcua.scripted import URI, Unsupported, Variable
from tests.opcua.scripted.codec.wire import NodeId
from tests.opcua.scripted.events import node
from tests.opcua.scripted.space import Ref
from tests.opcua.test_session import Bed, Line, begin

OBJECTS = NodeId(0, 85)
PROPERTY = 46


class Shop(Bed):
    """Machines/CNC1 and CNC2, each with Monitoring/SpindleLoad (a property below it) and Axis1, Axis2 with Position."""

    def __init__(self) -> None:
        super().__init__()
        machines = self.folder(OBJECTS, "Machines")
        for cnc in ("CNC1", "CNC2"):
            monitoring = self.folder(self.folder(machines, cnc), "Monitoring")
            load = self.leaf(monitoring, "SpindleLoad")
            self.leaf(load, "EngineeringUnits", PROPERTY)
            for axis in ("Axis1", "Axis2"):
                self.leaf(self.folder(monitoring, axis), "Position")

    @property
    def tree(self) -> dict[NodeId, list[Ref]]:
        return self.server.space.tree

    def folder(self, below: NodeId, name: str, namespace: int = 2) -> NodeId:
        node = NodeId(2, f"{below.identifier}.{name}")
        self.tree.setdefault(below, []).append(Ref(node, (namespace, name)))
        return node

    def leaf(self, below: NodeId, name: str, kind: int = 47) -> NodeId:
        node = NodeId(2, f"{below.identifier}.{name}")
        self.tree.setdefault(below, []).append(Ref(node, (2, name), True, kind))
        number = float(len(self.server.variables) + 1)
        self.server.variables[node.identifier] = Variable(
            value=DataValue(Scalar(11, number), source=enc.ticks(10**18))
        )
        return node

    def path(self, name: str, path: str, **signal: Any) -> None:
        self.signals.append(
            {"name": name, "path": path, "every": "10ms", "unit": "P1", "range": [0, 1e9]} | signal
        )

    def asked(self, service: str) -> int:
        return self.server.record.requests.count(service)


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async for made in opened(Shop()):
        yield made


async def names(shop: Shop, count: int) -> tuple[Line, list[str]]:
    line = await begin(shop)
    await eventually(lambda: len({row.signal for row in line.rows}) >= count, f"{count} signals")
    return line, sorted({row.signal for row in line.rows})


async def test_a_path_without_namespaces(shop: Shop) -> None:
    shop.path("load", "Machines/CNC2/Monitoring/SpindleLoad")
    line, found = await names(shop, 1)
    assert found == ["load"]
    assert line.values("load") == [
        shop.server.variables["85.Machines.CNC2.Monitoring.SpindleLoad"].value.value.value
    ]
    assert shop.asked("TranslateBrowsePathsToNodeIds") == 0


async def test_paths_with_namespaces_are_one_request(shop: Shop) -> None:
    for cnc in ("CNC1", "CNC2"):
        path = f"nsu={URI};Machines/2:{cnc}/nsu={URI}:Monitoring/2:SpindleLoad"
        shop.path(cnc, path)
    _, found = await names(shop, 2)
    assert found == ["CNC1", "CNC2"]
    assert (shop.asked("TranslateBrowsePathsToNodeIds"), shop.asked("Browse")) == (1, 0)


async def test_a_server_that_cannot_translate_is_browsed(shop: Shop) -> None:
    shop.server.scripts.append(Unsupported(["TranslateBrowsePathsToNodeIds", "TransferSubscriptions"]))
    shop.path("load", "2:Machines/2:CNC1/2:Monitoring/2:SpindleLoad")
    _, found = await names(shop, 1)
    assert found == ["load"]
    assert shop.asked("Browse") == 4


@pytest.mark.parametrize(
    ("pattern", "rule", "expected"),
    [
        ("Machines/*/Monitoring/SpindleLoad", "load_{1}", ["load_CNC1", "load_CNC2"]),
        ("Machines/CNC1/Monitoring/Axis*/Position", "axis_{1}", ["axis_1", "axis_2"]),
        (
            "Machines/*/Monitoring/**",
            "{1}.{2}",
            [
                f"CNC{n}.{what}"
                for n in (1, 2)
                for what in ("Axis1/Position", "Axis2/Position", "SpindleLoad")
            ],
        ),
        ("**/Position", "{1}", [f"Machines/CNC{c}/Monitoring/Axis{a}" for c in (1, 2) for a in (1, 2)]),
        ("Machines/**/SpindleLoad", "{1}", ["CNC1/Monitoring", "CNC2/Monitoring"]),
        ("Machines/CNC1/Monitoring/**/SpindleLoad", "[{1}]", ["[]"]),
    ],
)
async def test_patterns(shop: Shop, pattern: str, rule: str, expected: list[str]) -> None:
    shop.path(rule, pattern)
    _, found = await names(shop, len(expected))
    assert found == expected


@pytest.mark.parametrize(
    ("page", "points", "limit"), [(1, 1000, 0), (1, 1, 0), (1, 1000, 2), (1000, 1000, 1)]
)
async def test_pages_and_limits_change_nothing(shop: Shop, page: int, points: int, limit: int) -> None:
    shop.server.policy.per_browse, shop.server.policy.continuation_points = page, points
    shop.server.space.limits[11710] = limit
    shop.path("{1}", "Machines/**")
    _, found = await names(shop, 6)
    assert len(found) == 6
    assert not shop.server.machine.points, "every continuation point was used up"


async def test_as_many_requests_as_levels_and_not_as_nodes(shop: Shop) -> None:
    for n in range(100):
        shop.folder(shop.folder(OBJECTS, f"Other{n}"), "Deeper")
    shop.path("{1}_{2}", "Machines/*/Monitoring/*/Position")
    shop.path("load_{1}", "Machines/*/Monitoring/SpindleLoad")
    _, _found = await names(shop, 3)
    assert shop.asked("Browse") == 5


async def test_a_cycle_ends(shop: Shop) -> None:
    cnc = NodeId(2, "85.Machines.CNC1")
    shop.tree[NodeId(2, "85.Machines.CNC1.Monitoring")].append(Ref(cnc, (2, "Again")))
    shop.path("{1}", "Machines/CNC1/**")
    _, found = await names(shop, 3)
    assert found == ["Monitoring/Axis1/Position", "Monitoring/Axis2/Position", "Monitoring/SpindleLoad"]


async def test_folders_that_all_hold_each_other_are_looked_at_once(shop: Shop) -> None:
    folders = [shop.folder(OBJECTS, f"Folder{n}") for n in range(20)]
    for folder in folders:
        shop.tree[folder] = [Ref(other, (2, "To" + str(other.identifier))) for other in folders]
    shop.leaf(folders[7], "Position")
    shop.path("{1}", "Folder3/**/Position")
    _, found = await names(shop, 1)
    assert found == ["To85.Folder7"]


@pytest.mark.parametrize(
    ("signal", "words"),
    [
        ({"path": "Machines/CNC3/Monitoring"}, "Machines has no 'CNC3' (it has CNC1, CNC2)"),
        ({"path": "Machines/CNC1"}, "is an object and has no value itself"),
        ({"path": "nsu=urn:other;Machines/x"}, "the server has no namespace urn:other"),
        ({"path": "x", "root": "nsu=urn:other;i=1"}, "no namespace urn:other, where the path begins"),
        ({"path": "Nothing/*", "name": "{1}"}, "i=85 has no 'Nothing' (it has Machines)"),
        ({"path": "Machines/**", "name": "{1}", "max_found": 2}, "more than 2 variables match"),
        (
            {"path": "Machines/*/Monitoring/Axis*/Position", "name": "axis_{2}"},
            "2 nodes would be named axis_1",
        ),
    ],
)
async def test_what_cannot_be_found_is_said_by_name(shop: Shop, signal: dict[str, Any], words: str) -> None:
    shop.path(**{"name": "wanted", **signal})
    line = await begin(shop)
    assert line.session is not None
    facts = getattr(line.session, "facts")  # noqa: B009
    await eventually(lambda: words in facts["failed"], f"{words} in {facts['failed']}")


async def test_two_nodes_of_one_name_need_a_namespace(shop: Shop) -> None:
    machines = NodeId(2, "85.Machines")
    shop.tree[machines].append(Ref(NodeId(2, "else"), (1, "CNC1")))
    shop.tree[NodeId(2, "else")] = [Ref(NodeId(2, "85.Machines.CNC2.Monitoring"), (2, "Monitoring"))]
    shop.path("load", "Machines/CNC1/Monitoring/SpindleLoad")
    shop.path("clear", "Machines/2:CNC1/Monitoring/SpindleLoad")
    line, found = await names(shop, 1)
    assert found == ["clear"]
    assert "2 nodes have this path" in getattr(line.session, "facts")["failed"]  # noqa: B009


@pytest.mark.parametrize(
    "root", ["Machines/CNC1", f"nsu={URI};s=85.Machines.CNC1", "ns=2;s=85.Machines.CNC1"]
)
async def test_a_path_begins_at_its_root(shop: Shop, root: str) -> None:
    shop.path("load", "Monitoring/SpindleLoad", root=root)
    _, found = await names(shop, 1)
    assert found == ["load"]


async def test_what_comes_later_is_found_later(shop: Shop) -> None:
    shop.path("load", "Machines/CNC3/Monitoring/SpindleLoad")
    shop.path("{1}", "Machines/*/Monitoring/SpindleLoad")
    line, found = await names(shop, 2)
    assert found == ["CNC1", "CNC2"]
    shop.leaf(shop.folder(shop.folder(NodeId(2, "85.Machines"), "CNC3"), "Monitoring"), "SpindleLoad")
    await eventually(lambda: bool(line.values("load") and line.values("CNC3")), "the third machine")


@pytest.mark.parametrize("told", [True, False])
async def test_what_a_pattern_would_find_now_is_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, *, told: bool
) -> None:
    """Nothing has failed and no namespace has changed: the server says that its model has, or some time has passed."""
    monkeypatch.setattr("adapters.opcua.models.AT_MOST_EVERY", 0.1)
    monkeypatch.setattr("adapters.opcua.models.EVERY", 600.0 if told else 0.1)
    shop.path("{1}", "Machines/*/Monitoring/SpindleLoad")
    line, found = await names(shop, 2)
    assert found == ["CNC1", "CNC2"]
    shop.leaf(shop.folder(shop.folder(NodeId(2, "85.Machines"), "CNC3"), "Monitoring"), "SpindleLoad")
    alarms = shop.server.machine.alarms
    (item,) = alarms.items.values()
    assert (item.node, item.selected, item.operators) == (NodeId(0, 2253), ["EventType"], [14]), (
        "of that type alone"
    )
    if told:
        alarms.tell(shop.server.machine, {"EventType": node(0, 2133)})
    await eventually(lambda: bool(line.values("CNC3")), "the third machine")
    assert [delivery.refused for delivery in line.deliveries if delivery.refused] == []
    assert shop.server.record.opened == 1


async def test_other_names_of_namespaces_after_a_restart(shop: Shop) -> None:
    shop.path("load_{1}", "Machines/*/Monitoring/SpindleLoad")
    line, _ = await names(shop, 2)
    await shop.server.stop()
    await eventually(line.task.done, "the session ends")
    shop.server.space.namespaces.insert(1, "urn:new")
    moved = {NodeId(3 if n.namespace else 0, n.identifier): refs for n, refs in shop.tree.items()}
    shop.server.space.tree = {
        node: [r._replace(node=NodeId(3, r.node.identifier), name=(3, r.name[1])) for r in refs]
        for node, refs in moved.items()
    }
    await shop.server.start()
    _, found = await names(shop, 2)
    assert found == ["load_CNC1", "load_CNC2"]


async def test_check_lists_what_a_pattern_found(shop: Shop) -> None:
    shop.path("load_{1}", "Machines/*/Monitoring/SpindleLoad")
    shop.path("none", "Machines/CNC9/x")
    findings = await shop.source().probe()
    told = {finding.where: finding.message for finding in findings}
    assert any(where.startswith("m/load_CNC2 (Machines/CNC2/Monitoring/SpindleLoad → nsu=") for where in told)
    errors = [f for f in findings if f.level == "error"]
    assert [(f.where, f.hint.startswith("check the path")) for f in errors] == [
        ("m/none (Machines/CNC9/x)", True)
    ]


async def test_a_subscription_is_taken_up_with_what_was_found(shop: Shop) -> None:
    shop.server.policy.reactivate = True
    shop.server.scripts.clear()
    shop.path("load_{1}", "Machines/*/Monitoring/SpindleLoad")
    source = shop.source()
    line = await begin(shop, source=source)
    await eventually(lambda: len(line.rows) >= 2, "both values")
    await eventually(lambda: line.checkpoint is not None, "a checkpoint")
    shop.server.cut()
    await eventually(line.task.done, "the session ends")
    name = "85.Machines.CNC1.Monitoring.SpindleLoad"
    shop.server.emit(name, DataValue(Scalar(11, 77.0), source=enc.ticks(10**18 + 100)))
    again = await begin(shop, source=source, resume=line.checkpoint)
    await eventually(lambda: again.values("load_CNC1") == [77.0], "what was queued arrives")
    assert shop.asked("CreateMonitoredItems") == 2, "of the first session: the values, and model changes"
