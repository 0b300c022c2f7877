"""The types of a server's structures as the walk along a body needs them, and what comes out of a body."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from pipelines.batch import Kind

TEXT: Final = ".text"
MOST_LEAVES: Final = 10_000
"""Values that one structure may have."""

_MOST_MISSING: Final = 100
_LONGEST: Final = 100
_INDEX: Final = re.compile(r"\[[\d,]*\]")


class Member(NamedTuple):
    """A field. builtin: its type on the wire, 22 for a structure that says itself which one it is. shape: one that does not.

    rank: dimensions, 0 for none. texts: the names of an enumeration's values.
    """

    name: str
    builtin: int
    rank: int = 0
    optional: bool = False
    shape: Shape | None = None
    texts: Mapping[int, str] = {}


@dataclass(slots=True, eq=False)
class Shape:
    """A structure type. Types may contain themselves, so the members come after the shape."""

    name: str
    form: Literal["structure", "optional", "union"] = "structure"
    members: list[Member] = field(default_factory=list)


@dataclass(slots=True)
class Catalogue:
    """The types of a server by the NodeId of their binary encoding, as it is on the wire. missing: those that came and are not known."""

    shapes: dict[str, Shape] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)

    def find(self, type_id: str) -> Shape | None:
        found = self.shapes.get(type_id)
        if found is None and len(self.missing) < _MOST_MISSING:
            self.missing.add(type_id)
        return found


class Leaf(NamedTuple):
    """path: such as `.tool.number` or `[2].id`. value: None for none; kind: None if nobody knows."""

    path: str
    kind: Kind | None
    value: Any


@dataclass(slots=True)
class Selection:
    """Which leaves are wanted: all, or what is named, with all below it. Indices are of no account. octets: bytes become text.

    most: elements of an array. texts: names of the values of enumerations as well.
    """

    fields: Sequence[str] = ()
    most: int = 100
    octets: bool = False
    texts: bool = True
    _known: dict[str, bool] = field(default_factory=dict)

    def wants(self, path: str) -> bool:
        if not self.fields:
            return True
        known = self._known.get(path)
        if known is None:
            plain = _INDEX.sub("", path).removeprefix(".")
            known = any(plain == name or plain.startswith(name + ".") for name in self.fields)
            if len(self._known) >= MOST_LEAVES:
                self._known.clear()
            self._known[path] = known
        return known


class Unfolded(NamedTuple):
    """troubles: what cannot be stored of it, in words."""

    leaves: list[Leaf]
    troubles: list[str]


def clean(name: str) -> str:
    """A name that a server gave, as a part of ours: bounded, printable, without what has a meaning in a path."""
    shown = "".join(
        letter if letter.isprintable() and letter not in ".[]" else "_" for letter in name[:_LONGEST]
    )
    return shown.strip() or "field"


def distinct(members: Sequence[Member]) -> list[Member]:
    """Two fields of one name would be two values of one point."""
    taken: dict[str, int] = {}
    made = []
    for member in members:
        taken[member.name] = count = taken.get(member.name, 0) + 1
        made.append(member if count == 1 else member._replace(name=f"{member.name}_{count}"))
    return made
