"""From what a server says of its types to shapes: what a field of a type looks like on the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from adapters.opcua.nodeid import canonical
from adapters.opcua.shapes import Member, Shape, clean, distinct
from adapters.opcua.structure_dictionary import standard

LEVELS: Final = 20
_ABSTRACT: Final = {0: 24, 26: 24, 27: 24, 28: 24, 29: 6}
"""What is of any type (0: none is said), or a number of any type, travels as a Variant; enumerations as Int32."""
_ENUMERATION: Final = 29


@dataclass(slots=True)
class Known:
    """A DataType: its definition (None: the server says none), its supertype, and its encodings by name."""

    definition: Any = None
    name: str = ""
    abstract: bool = False
    parent: str = ""
    encodings: Mapping[str, str] = field(default_factory=dict)


class Wire(NamedTuple):
    """How a type travels as a field."""

    builtin: int
    shape: Shape | None = None
    texts: Mapping[int, str] = {}


class Unresolved(Exception):
    """A type of which too little is known."""


@dataclass(slots=True)
class Maker:
    """Makes shapes of what is known. texts: names of values, by enumeration."""

    known: dict[str, Known] = field(default_factory=dict)
    texts: dict[str, Mapping[int, str]] = field(default_factory=dict)
    _shapes: dict[str, Shape] = field(default_factory=dict)
    _standard: Mapping[str, Shape] = field(default_factory=standard)

    def shape(self, kind: str) -> Shape:
        if kind in self._shapes:
            return self._shapes[kind]
        known = self.known.get(kind)
        definition: Any = None if known is None else known.definition
        if known is None or not hasattr(definition, "StructureType"):
            if kind in self._standard:
                return self._standard[kind]
            raise Unresolved(kind)
        subtyped = int(definition.StructureType) in (3, 4)
        forms = {1: "optional", 2: "union", 4: "union"}
        form: Any = forms.get(int(definition.StructureType), "structure")
        before = dict(self._shapes)
        self._shapes[kind] = shape = Shape(clean(known.name) if known.name else kind, form)
        try:
            members = [self._member(one, subtyped) for one in definition.Fields or ()]
            shape.members[:] = distinct([*self._inherited(known, members), *members])
        except Unresolved:
            self._shapes = before  # those that were made of it are not whole either
            raise
        return shape

    def _inherited(self, known: Known, members: Sequence[Member]) -> list[Member]:
        """Fields of the supertype, which come first: a definition has them (OPC 10000-3, 8.48), but not every server's."""
        if not known.parent or base(known.parent):
            return []
        try:
            above = self.shape(known.parent).members
        except Unresolved:
            return []
        names = [member.name for member in above]
        return [] if [member.name for member in members[: len(names)]] == names else above

    def _member(self, one: Any, subtyped: bool) -> Member:
        wire = self._wire(text_of(one.DataType), 0)
        if subtyped and one.IsOptional:
            wire = Wire(22 if wire.shape is not None or wire.builtin == 22 else 24)
        rank = max(0, int(one.ValueRank))
        optional = bool(one.IsOptional) and not subtyped
        return Member(clean(str(one.Name or "")), wire.builtin, rank, optional, wire.shape, wire.texts)

    def _wire(self, kind: str, depth: int) -> Wire:
        """How a field of this type travels. Raises Unresolved."""
        if base(kind):
            number = int(kind[2:] or 0)
            return Wire(_ABSTRACT.get(number, number))
        known = self.known.get(kind)
        if depth > LEVELS or (known is None and kind not in self._standard):
            raise Unresolved(kind)
        if known is not None and known.abstract and self._is_structure(kind):
            return Wire(22)
        if known is None or hasattr(known.definition, "StructureType") or kind in self._standard:
            return Wire(22, self.shape(kind))
        if not known.parent:
            raise Unresolved(kind)
        above = self._wire(known.parent, depth + 1)
        texts = self.texts.get(kind, {}) if above.builtin == 6 else {}
        if above.builtin == 22 and known.encodings:  # a structure of which nobody says what is in it
            raise Unresolved(kind)
        return above._replace(texts=texts or above.texts)

    def _is_structure(self, kind: str) -> bool:
        for _ in range(LEVELS):
            if kind == "i=22" or kind not in self.known:
                return kind == "i=22"
            kind = self.known[kind].parent
        return False


def base(kind: str) -> bool:
    """Built-in and abstract types of the standard (OPC 10000-6, table 1), and what is no type at all."""
    return not kind or kind == "i=0" or (kind.startswith("i=") and int(kind[2:]) <= _ENUMERATION)


def text_of(node: Any) -> str:
    """As it is on the wire (values.node_id): by index."""
    return canonical(node.NodeIdType.value, node.Identifier, node.NamespaceIndex, ())


def fields_of(definition: Any) -> list[str]:
    if not hasattr(definition, "StructureType"):
        return []
    return [text_of(one.DataType) for one in definition.Fields or ()]
