"""The types of the companion specifications, as tables derived from the official nodesets: not the XML, which takes seconds.

A table has what machines here are made of, with the official numeric ids: types with their instance declarations (without
methods that are optional and without transitions), enumerations, states, and the folders where machines are found.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final, NamedTuple

import msgspec

UA: Final = "http://opcfoundation.org/UA/"
MANDATORY: Final = 78
PLACEHOLDERS: Final = frozenset({11508, 11510})
HAS_SUBTYPE: Final = 45


class Key(NamedTuple):
    """A node by its namespace's URI."""

    uri: str
    id: int


class Name(NamedTuple):
    """A BrowseName."""

    uri: str
    text: str


@dataclass(frozen=True, slots=True)
class Declared:
    """A type, or an instance declaration of one (OPC 10000-3, 6.2.5). by: the reference from its parent."""

    key: Key
    kind: str
    name: Name
    parent: Key | None
    by: int
    type: Key | None = None
    data: Key | None = None
    rank: int = -1
    rule: int = 0
    abstract: bool = False
    has: tuple[Key, ...] = ()
    enum: tuple[tuple[int, str], ...] = ()
    fields: tuple[tuple[str, Key, int], ...] = ()
    value: Any = None


class Table(msgspec.Struct):
    """A file of `tables/`."""

    uri: str
    uses: list[str]
    nodes: list[list[Any]]


@dataclass(slots=True)
class Book:
    """The declarations of several specifications."""

    declared: dict[Key, Declared] = field(default_factory=dict)
    children: dict[Key, list[Key]] = field(default_factory=dict)

    def own(self, uri: str) -> Iterator[Declared]:
        """All of one namespace, parents before children."""
        return (each for each in self.declared.values() if each.key.uri == uri)

    def chain(self, key: Key | None) -> Iterator[Declared]:
        """A type and the types above it, as far as they are known."""
        while key is not None and (found := self.declared.get(key)) is not None:
            yield found
            key = found.parent if found.by == HAS_SUBTYPE else None

    def members(self, layers: Sequence[Declared], more: Key | None = None) -> dict[str, tuple[Declared, ...]]:
        """What an instance of these declarations may have, by name: each with all that is declared about it, best last.

        layers: all declarations of one place, such as `Monitoring` of a type and of its subtype. more: a type of the instance
        that says more than theirs.
        """
        found: dict[str, list[Declared]] = {}
        for layer in layers:
            self._inherited(layer.type if layer.kind in ("Object", "Variable") else layer.key, found)
            self._collect(layer.key, found)
        self._inherited(more, found)
        return {name: tuple(all_) for name, all_ in found.items()}

    def type(self, uri: str, name: str) -> Key:
        """A type by its name."""
        wanted = Name(uri, name)
        return next(
            k for k, each in self.declared.items() if each.name == wanted and each.kind.endswith("Type")
        )

    def states(self, machine: Key) -> dict[str, tuple[Key, int]]:
        """The states of a state machine's type by name: node and number (OPC 10000-16, 4.4)."""
        found: dict[str, tuple[Key, int]] = {}
        for each in self.chain(machine):
            for key in self.children.get(each.key, ()):
                state = self.declared[key]
                if state.type in STATES and state.name.text not in found:
                    found[state.name.text] = (key, self._number(key))
        return found

    def builtin(self, data: Key | None) -> int:
        """The built-in type that carries values of a data type (OPC 10000-6, 5.1.2); abstract numbers travel as Double."""
        for each in self.chain(data):
            if each.key.uri == UA and each.key.id in ABSTRACT:
                return ABSTRACT[each.key.id]
            if each.key.uri == UA and each.key.id <= 25:
                return each.key.id
        return 24

    def encoding(self, data: Key) -> Key:
        """How values of a structured data type are marked in the binary encoding (OPC 10000-6, 5.2.2.15)."""
        return next(key for key in self.children[data] if self.declared[key].name.text == "Default Binary")

    def _inherited(self, kind: Key | None, found: dict[str, list[Declared]]) -> None:
        for each in reversed(list(self.chain(kind))):
            for interface in each.has:
                self._inherited(interface, found)
            self._collect(each.key, found)

    def _collect(self, key: Key, found: dict[str, list[Declared]]) -> None:
        for child in self.children.get(key, ()):
            declared = self.declared[child]
            known = found.setdefault(declared.name.text, []) if declared.rule else [declared]
            if declared not in known:
                known.append(declared)

    def _number(self, state: Key) -> int:
        return next(
            int(self.declared[k].value or 0)
            for k in self.children[state]
            if self.declared[k].name.text == "StateNumber"
        )


STATES: Final = frozenset({Key(UA, 2307), Key(UA, 2309)})  # StateType, InitialStateType
ABSTRACT: Final[Mapping[int, int]] = {24: 24, 26: 11, 27: 6, 28: 7, 29: 6, 22: 22}


def book(names: Sequence[str]) -> Book:
    """The tables of these names (`machinery`), and the few declarations of the base specification."""
    made = Book()
    for name in ("standard", *names):
        for declared in _read(name):
            made.declared[declared.key] = declared
            if declared.parent is not None and declared.by != HAS_SUBTYPE:
                made.children.setdefault(declared.parent, []).append(declared.key)
    return made


def table(name: str) -> Table:
    """One file."""
    file = resources.files("simulators.faces.spaces").joinpath("tables", f"{name}.json")
    return msgspec.json.decode(file.read_bytes(), type=Table)


def _read(name: str) -> Iterator[Declared]:
    read = table(name)

    def key(text: str) -> Key:
        index, _, number = text.partition(":")
        return Key(read.uses[int(index)], int(number))

    for number, kind, browse, parent, by, more in read.nodes:
        index, _, text = browse.partition(":")
        yield Declared(
            Key(read.uri, number), kind, Name(read.uses[int(index)], text), key(parent) if parent else None, by,
            type=key(more["type"]) if "type" in more else None,
            data=key(more["data"]) if "data" in more else None,
            rank=more.get("rank", -1), rule=more.get("rule", 0), abstract=more.get("abstract", False),
            has=tuple(key(each) for each in more.get("has", ())),
            enum=tuple((number, word) for number, word in more.get("enum", ())),
            fields=tuple((word, key(data), rank) for word, data, rank in more.get("fields", ())),
            value=[[word, key(data), rank] for word, data, rank in more["value"]] if "Arguments" in text and "value" in more
            else more.get("value"),
        )  # fmt: skip
