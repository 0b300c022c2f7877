"""Which variables a configuration should take, under which machines and names; and why the others stay out.

A machine is what the server calls one: a member of the Machines folder (OPC 40001-1), of the DeviceSet (OPC 10000-100) or of
PackMLObjects (OPC 30050), else an object directly below Objects. `--machine` overrules all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from adapters.discovery import (
    LeftOut,
    Proposal,
    ProposedMachine,
    ProposedRead,
    Wishes,
    every_text,
    machine_id,
    names,
    unique,
)
from adapters.opcua.discover_browse import Node
from adapters.opcua.discover_found import Found
from adapters.opcua.discover_read import About
from adapters.opcua.discover_specs import DEVICES, MACHINES, PACKML
from pipelines.units import Unit, known_unit_problem, unit_of

_GATHERING: Final = (f"nsu={MACHINES};i=1001", f"nsu={DEVICES};i=5001", f"nsu={PACKML};i=72")
_FOLDER, _PLAIN = "i=61", "i=58"  # FolderType, BaseObjectType
_LONGEST: Final = 200
_SHOWN: Final = 5
_Members = list[tuple[tuple[str, ...], About]]
PROPERTY: Final = "a property: it says what something is, and does not change"


def proposed(name: str, source: Mapping[str, Any], found: Found, wishes: Wishes) -> Proposal:
    """Everything that can be stored and is wanted, machine by machine in the order of the server."""
    machines: dict[str, ProposedMachine] = {}
    for title, members in _groups(name, found, wishes).values():
        made = unique(wishes.machine or machine_id(title), machines, "-")
        machines[made] = ProposedMachine(made, title if title != made else "", (_read(members),))
    left_out, namespaces = tuple(_left_out(found, wishes)), tuple(found.namespaces)
    return Proposal(name, source, tuple(machines.values()), left_out, namespaces)


def _groups(name: str, found: Found, wishes: Wishes) -> dict[str, tuple[str, _Members]]:
    """What each machine is called, and what is taken of it."""
    groups: dict[str, tuple[str, _Members]] = {}
    gathering = _gathering(found)
    for about in found.abouts:
        if about.why or not wishes.wants(about.node.path):
            continue
        key, title, path = _place(about.node, gathering, name, wishes.machine)
        groups.setdefault(key, (title, []))[1].append((path, about))
    return groups


def twins(name: str, found: Found, wishes: Wishes) -> Iterator[str]:
    """Machines of one name, such as a folder of the maker's beside the object of a companion specification.

    Said and not decided: whether they are one, only the workshop knows. No standard has them refer to each other.
    """
    places: dict[str, list[str]] = {}
    for title, members in _groups(name, found, wishes).values():
        path, about = members[0]
        whole = about.node.path
        places.setdefault(title.strip().casefold(), []).append("/".join(whole[: len(whole) - len(path)]))
    for title, alike in places.items():
        if len(alike) > 1:
            alike.sort(key=lambda place: (place.count("/"), place))
            shown = ", ".join(place or "Objects" for place in alike[:_SHOWN])
            shown += " …" if len(alike) > _SHOWN else ""
            one = next(place for place in alike if place)
            choice = f'take one place (--under "{one}"), or all of it as one (--machine {machine_id(title)})'
            yield f"{len(alike)} machines would have one name: {shown}. If that is the same machine: {choice}."


def _place(
    node: Node, gathering: frozenset[str], name: str, machine: str
) -> tuple[str, str, tuple[str, ...]]:
    """Which machine, what it is called, and the path of the value within it."""
    line = [node]
    while line[0].parent is not None and line[0].parent.parent is not None:
        line.insert(0, line[0].parent)
    path = node.path
    if machine:
        return "", machine, path
    depth = 2 if line[0].id in gathering and len(line) > 2 else 1
    if len(line) <= depth or line[depth - 1].variable:
        return "", name, path
    return str(line[depth - 1].raw), line[depth - 1].label or line[depth - 1].name, path[depth:]


def _gathering(found: Found) -> frozenset[str]:
    """Folders whose members are machines."""
    below = found.root.children if found.root else []
    return frozenset({*_GATHERING, *(node.id for node in below if _holds_machines(node))})


def _holds_machines(node: Node) -> bool:
    """A plain folder with nothing but two or more objects of one type of their own."""
    kinds = {child.type for child in node.children}
    alike = len(kinds) == 1 and not kinds & {_FOLDER, _PLAIN, ""}
    return (
        node.type == _FOLDER
        and len(node.children) > 1
        and alike
        and not any(c.variable for c in node.children)
    )


def _read(members: list[tuple[tuple[str, ...], About]]) -> ProposedRead:
    called = names([path for path, _ in members])
    return ProposedRead(
        {}, tuple(_signal(name, about) for name, (_, about) in zip(called, members, strict=True))
    )


def _signal(name: str, about: About) -> dict[str, Any]:
    signal: dict[str, Any] = {"name": name, "node": about.node.id}
    if label := label_of(about.node):
        signal["label"] = label
    if unit := unit_text(about.unit):
        signal["unit"] = unit
    return {**signal, "every": every_text(about.every)}


def label_of(node: Node) -> str:
    """What the server calls a node for people, where that is not its name anyway."""
    label = node.label.strip()
    return label if label != node.name and label.isprintable() and len(label) <= _LONGEST else ""


def unit_text(unit: Unit | None) -> str:
    """The symbol where it says the same, else the code; empty where the configuration would call it a mistake."""
    if unit is None:
        return ""
    text = unit.symbol if unit_of(unit.symbol) == unit else unit.code
    return "" if unit_of(text) != unit or known_unit_problem(text) else text


def _left_out(found: Found, wishes: Wishes) -> Iterator[LeftOut]:
    for about in found.abouts:
        if about.why:
            yield LeftOut("/".join(about.node.path), about.why)
        elif not wishes.wants(about.node.path):
            yield LeftOut("/".join(about.node.path), "not asked for (--under, --select)")
    for node in found.properties:
        yield LeftOut("/".join(node.path), PROPERTY)
