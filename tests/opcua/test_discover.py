"""A look around at servers that are limited, endless or hostile: it ends within its bounds, and what it finds is right."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.clock import SystemClock
from adapters.discovery import Report, Wishes, silent
from adapters.opcua.discover import discover
from adapters.opcua.discover_read import nameless
from adapters.opcua.discover_specs import MACHINES
from adapters.opcua.security import Gate
from adapters.opcua.settings import OpcUaSource
from config.load import load
from config.settings import signals_of
from config.writing import extend
from tests.opcua.encoder import DataValue, Scalar
from tests.opcua.scripted import URI, ScriptedServer, Variable
from tests.opcua.scripted.codec.wire import NodeId
from tests.opcua.scripted.space import Ref

OBJECTS = NodeId(0, 85)
READ_LIMIT, BROWSE_LIMIT, CONTINUATION_POINTS = 11705, 11710, 2735


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer()
    await server.start()
    yield server
    await server.stop()


def source(server: ScriptedServer) -> dict[str, Any]:
    return {"type": "opcua", "url": server.url, "security": "none"}


async def look(server: ScriptedServer, folder: Path, **wishes: Any) -> Report:
    settings = OpcUaSource.model_validate({**source(server), "request_timeout": "60s"})
    gate = Gate("plc", settings, str(folder), SystemClock().wall_now)
    return await discover(
        gate, "plc", source(server), Wishes(watch=0.0, **{"seconds": 600.0, **wishes}), silent
    )


def folder(server: ScriptedServer, below: NodeId, name: str) -> NodeId:
    node = NodeId(2, f"{below.identifier}/{name}")
    server.space.tree.setdefault(below, []).append(Ref(node, (2, name)))
    return node


def leaf(server: ScriptedServer, below: NodeId, name: str, identifier: str = "") -> str:
    node = NodeId(2, identifier or f"{below.identifier}/{name}")
    server.space.tree.setdefault(below, []).append(Ref(node, (2, name), True))
    server.variables[str(node.identifier)] = Variable()
    return str(node.identifier)


async def test_who_tells_events_is_said(server: ScriptedServer, tmp_path: Path) -> None:
    """Issue 6, 4: small: the names of the notifiers, no event is asked for."""
    server.space.own[2253] = DataValue(Scalar(3, 1)).encode()
    folder(server, OBJECTS, "quiet")
    report = await look(server, tmp_path)
    assert report.facts["events"] == "Server"
    assert report.data["events"] == ["Server"]
    server.space.own[2253] = DataValue(Scalar(3, 4)).encode()
    assert "events" not in (await look(server, tmp_path)).facts


def taken(report: Report) -> list[str]:
    """The identifiers of the proposed signals."""
    signals = (s for m in report.proposal.machines for read in m.reads for s in read.signals)
    return [str(s["node"]).removeprefix(f"nsu={URI};s=") for s in signals]


@pytest.mark.parametrize("announced", [True, False])
async def test_a_weak_server_with_circles_is_walked_whole_within_its_limits(
    server: ScriptedServer, tmp_path: Path, announced: bool
) -> None:
    """Two nodes per Browse, three references per answer, one continuation point, few values per Read; every node once."""
    read = 3 if announced else 7
    server.policy.limits = {"Browse": 2, "Read": read} if not announced else {}
    server.policy.per_browse, server.policy.continuation_points = 3, 1
    if announced:
        server.space.limits = {READ_LIMIT: read, BROWSE_LIMIT: 2}
        server.policy.limits = {"Browse": 2, "Read": read}
        server.space.own[CONTINUATION_POINTS] = DataValue(Scalar(5, 1)).encode()
    expected = []
    for number in range(5):
        machine = folder(server, OBJECTS, f"M{number}")
        expected += [leaf(server, machine, f"V{n}") for n in range(10)]
        below = folder(server, machine, "Below")
        expected.append(leaf(server, below, "Deep"))
        server.space.tree[below] += [
            Ref(machine, (2, "Up")),
            Ref(OBJECTS, (0, "Objects")),
            Ref(below, (2, "Me")),
        ]
    report = await look(server, tmp_path)
    assert sorted(taken(report)) == sorted(expected)
    assert (report.data["cut"], report.data["unread"]) == ("", [])
    assert [machine.id for machine in report.proposal.machines] == [f"m{n}" for n in range(5)]


async def test_a_list_without_end_is_left_when_the_time_is_over(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """One reference per answer: only the time can end it before the bound of nodes does."""
    server.policy.per_browse = 1
    server.space.tree[OBJECTS] = [Ref(NodeId(2, f"n{n}"), (2, f"n{n}")) for n in range(19_000)]
    report = await look(server, tmp_path, seconds=0.2)
    assert report.data["cut"] == "after 0.2 s"
    assert server.record.requests.count("BrowseNext") < 15_000
    assert server.machine.points == {}


async def test_an_endless_tree_is_left_at_the_bounds(server: ScriptedServer, tmp_path: Path) -> None:
    def below(node: NodeId) -> list[Ref]:
        return [Ref(NodeId(2, f"{node.identifier}.{n}"), (2, f"{n}")) for n in range(4)]

    server.space.below = below  # type: ignore[method-assign]
    report = await look(server, tmp_path, nodes=300)
    assert report.data["cut"] == "after 300 nodes"
    asked = server.record.requests.count("Browse")
    report = await look(server, tmp_path, depth=3)
    assert (report.data["cut"], len(report.data["unread"])) == ("", 4**3)
    assert server.record.requests.count("Browse") <= asked + 4


HOSTILE = (
    "${env:HOME}", '"', "a: b # c", "a\nb: 1", "😀", "\u202e", "\x1b[2J", "/", "*", "{1..3}", "nsu=x;", "", " ", "x" * 10_000,
)  # fmt: skip


async def test_hostile_names_are_only_words(server: ScriptedServer, tmp_path: Path) -> None:
    """What can be written comes back as the same node; what cannot is left out and named; nothing is looked up."""
    machine = folder(server, OBJECTS, '${env:HOME}\n": #😀')
    for number, name in enumerate(HOSTILE):
        leaf(server, machine, name, f"{number}:{name}")
    report = await look(server, tmp_path)
    left = {f"{n}:{name}" for n, name in enumerate(HOSTILE)} - set(taken(report))
    assert left <= {
        f"{n}:{name}" for n, name in enumerate(HOSTILE) if not name.isprintable() or name in ("{1..3}", " ")
    }
    assert len(report.proposal.left_out) == len(left)
    file = tmp_path / "c.yaml"
    extend(file, report.proposal, {})
    settings = load([file], env={}).settings
    assert settings is not None
    nodes = [getattr(s, "node", "") for m in settings.machines for read in m.read for s in signals_of(read)]
    assert nodes == [f"nsu={URI};s={identifier}" for identifier in taken(report)]
    assert not extend(file, report.proposal, {}).changed


def test_fields_are_shown_without_a_name() -> None:
    assert nameless("3: x.at.x, x.x[0].x ...") == "3: .at.x, .x[0].x ..."
    assert nameless("14: x[0].id, x[0].max …") == "14: [0].id, [0].max …"


async def test_a_folder_of_the_maker_beside_the_object_of_a_specification_is_said(
    server: ScriptedServer, tmp_path: Path
) -> None:
    """Two machines of one name are proposed as two, and what to do if they are one is said with what does it."""
    server.space.namespaces.append(MACHINES)
    machines = NodeId(len(server.space.namespaces) - 1, 1001)
    server.space.tree.setdefault(OBJECTS, []).append(Ref(machines, (machines.namespace, "Machines")))
    for place, below in ((OBJECTS, "Mill"), (OBJECTS, "Press"), (machines, "Mill"), (machines, "Lathe")):
        leaf(server, folder(server, place, below), "Speed", f"{place.identifier}.{below}")
    report = await look(server, tmp_path)
    (said,) = [words for words in report.warnings if "one name" in words]
    assert "Mill, Machines/Mill" in said
    assert '--under "Mill"' in said
    assert "--machine mill" in said
    assert [machine.label for machine in report.proposal.machines].count("Mill") == 2
    for wishes in ({"under": "Mill"}, {"machine": "mill"}):
        one = await look(server, tmp_path, **wishes)
        assert [machine.id for machine in one.proposal.machines] == ["mill"]
        assert [words for words in one.warnings if "one name" in words] == []
