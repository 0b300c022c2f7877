"""The official nodesets as they are published, read from their XML: the oracle for the tables and for the machines' trees.

A table holds what a machine's instances need: their types with all instance declarations, not the whole specification.
"""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

UA = "http://opcfoundation.org/UA/"
TAG = "{http://opcfoundation.org/UA/2011/03/UANodeSet.xsd}"
TYPES = "{http://opcfoundation.org/UA/2008/02/Types.xsd}"
PLACES = (
    os.environ.get("SHOPFLOOR_NODESETS", ""),
    str(Path(__file__).parents[4] / "shared" / "nodesets"),
)
HAS_SUBTYPE, HAS_TYPE, HAS_RULE, HAS_INTERFACE, HAS_ENCODING = 45, 40, 37, 17603, 38
CHILDREN = frozenset(
    {35, 46, 47, 49, 17604}
)  # Organizes, HasProperty, HasComponent, HasOrderedComponent, HasAddIn
TRANSITION = 2310


class Key(NamedTuple):
    """A node by its namespace's URI."""

    uri: str
    id: int


@dataclass(slots=True)
class Raw:
    """A node of a nodeset."""

    key: Key
    kind: str
    name: tuple[str, str]
    element: ET.Element
    data_type: Key | None = None
    rank: int = -1
    type: Key | None = None
    rule: int = 0
    parent: Key | None = None
    by: int = 0
    children: list[Key] = field(default_factory=list)
    interfaces: list[Key] = field(default_factory=list)


def folder() -> Path | None:
    """Where the nodesets lie; None where they do not."""
    return next((Path(place) for place in PLACES if place and any(Path(place).glob("*.xml"))), None)


@dataclass(slots=True)
class Reading:
    """One file's own numbering of namespaces, and its aliases."""

    uris: list[str]
    aliases: Mapping[str, str]

    def key(self, text: str) -> Key:
        text = self.aliases.get(text, text).strip()
        index, _, rest = text.rpartition(";")
        return Key(self.uris[int(index.removeprefix("ns=") or 0)], int(rest.removeprefix("i=")))

    def name(self, text: str) -> tuple[str, str]:
        index, colon, rest = text.partition(":")
        return (self.uris[int(index)], rest) if colon and index.isdecimal() else (UA, text)


@dataclass(slots=True)
class Official:
    """All nodes of all nodesets."""

    nodes: dict[Key, Raw] = field(default_factory=dict)
    models: dict[str, tuple[str, str]] = field(default_factory=dict)

    def read(self, path: Path) -> None:
        root = ET.parse(path).getroot()
        uris = [UA, *(each.text or "" for each in root.iterfind(f"{TAG}NamespaceUris/{TAG}Uri"))]
        aliases = {
            each.get("Alias", ""): each.text or "" for each in root.iterfind(f"{TAG}Aliases/{TAG}Alias")
        }
        model = root.find(f"{TAG}Models/{TAG}Model")
        assert model is not None
        self.models[uris[1]] = (model.get("Version", ""), model.get("PublicationDate", "")[:10])
        reading = Reading(uris, aliases)
        for element in root:
            if element.tag.startswith(f"{TAG}UA") and "i=" in element.get("NodeId", ""):
                self._add(element, reading)

    def _add(self, element: ET.Element, reading: Reading) -> None:
        key, data_type = reading.key(element.get("NodeId", "")), element.get("DataType")
        kind = element.tag.removeprefix(f"{TAG}UA")
        raw = Raw(key, kind, reading.name(element.get("BrowseName", "")), element)
        raw.rank = int(element.get("ValueRank", "-1"))
        if data_type:
            raw.data_type = reading.key(data_type)
        elif kind in ("Variable", "VariableType"):
            raw.data_type = Key(UA, 24)
        self.nodes[key] = raw
        fields = element.findall(f"{TAG}Definition/{TAG}Field")
        for each in fields:
            each.set("Key", json.dumps(reading.key(each.get("DataType", "i=24"))))
        for each in element.iter(f"{TYPES}Argument"):
            identifier = each.find(f"{TYPES}DataType/{TYPES}Identifier")
            if identifier is not None:
                each.set("Key", json.dumps(reading.key(identifier.text or "")))
        element.set("Links", json.dumps(list(_links(element, reading))))

    def join(self) -> None:
        """References in both directions, whichever the file has."""
        for key, raw in list(self.nodes.items()):
            for by, forward, other in json.loads(raw.element.get("Links", "[]")):
                self._link(key, Key(*by), forward, Key(*other))

    def _link(self, key: Key, by: Key, forward: bool, other: Key) -> None:
        raw = self.nodes[key]
        if by.uri != UA:
            return
        if forward and by.id == HAS_TYPE:
            raw.type = other
        elif forward and by.id == HAS_RULE:
            raw.rule = other.id
        elif forward and by.id == HAS_INTERFACE:
            raw.interfaces.append(other)
        elif by.id in CHILDREN or by.id in (HAS_SUBTYPE, HAS_ENCODING):
            above, below = (key, other) if forward else (other, key)
            if by.id == HAS_ENCODING and self.nodes[below].name[1] != "Default Binary":
                return
            if below in self.nodes and self.nodes[below].parent in (None, above):
                self.nodes[below].parent, self.nodes[below].by = above, by.id
                if by.id != HAS_SUBTYPE and above in self.nodes and below not in self.nodes[above].children:
                    self.nodes[above].children.append(below)

    def type(self, uri: str, name: str) -> Key:
        """A type by its name."""
        wanted = (UA + uri, name)
        return next(
            key for key, raw in self.nodes.items() if raw.name == wanted and raw.kind.endswith("Type")
        )

    def closure(self, roots: Iterable[Key], without: frozenset[str]) -> set[Key]:
        """What is needed to declare these: types of types, data types, interfaces, and all that they declare."""
        needed: set[Key] = set()
        todo = list(roots)
        while todo:
            raw = self.nodes.get(todo.pop())
            if raw is None or raw.key in needed or self._unwanted(raw, without):
                continue
            needed.add(raw.key)
            more = (raw.type, raw.data_type, raw.parent, *raw.children, *raw.interfaces, *_fields(raw))
            todo += [key for key in more if key is not None]
        return needed

    def _unwanted(self, raw: Raw, without: frozenset[str]) -> bool:
        optional = raw.kind in ("Object", "Variable", "Method") and raw.rule not in (78, 11510)
        return (optional and (raw.name[1] in without or raw.kind == "Method")) or raw.type == Key(
            UA, TRANSITION
        )


def _fields(raw: Raw) -> Iterator[Key]:
    for each in raw.element.iterfind(f"{TAG}Definition/{TAG}Field"):
        yield Key(*json.loads(each.get("Key", "")))


def _links(element: ET.Element, reading: Reading) -> Iterator[tuple[Key, bool, Key]]:
    for each in element.iterfind(f"{TAG}References/{TAG}Reference"):
        forward = each.get("IsForward", "true") == "true"
        text = reading.aliases.get((each.text or "").strip(), (each.text or "").strip())
        if ";i=" in text or text.startswith("i="):
            yield reading.key(each.get("ReferenceType", "")), forward, reading.key(text)


def load(place: Path) -> Official:
    """Everything in this folder."""
    official = Official()
    for path in sorted(place.glob("*.xml")):
        official.read(path)
    official.join()
    return official


def values(raw: Raw) -> Any:
    """The value of a declaration that machines read: numbers of states, names of enumerations, arguments."""
    element = raw.element.find(f"{TAG}Value")
    if element is None or not len(element):
        return None
    texts = [each.text or "" for each in element.iter(f"{TYPES}Text")]
    if raw.name[1] == "EnumStrings":
        return texts
    if raw.name[1] == "EnumValues":
        numbers = [
            int(each.text or 0)
            for each in element.iter(f"{TYPES}Value")
            if (each.text or "").strip().lstrip("-").isdecimal()
        ]
        names = [next(each.iter(f"{TYPES}Text")).text or "" for each in element.iter(f"{TYPES}DisplayName")]
        return [list(pair) for pair in zip(numbers, names, strict=True)]
    if raw.name[1] == "StateNumber":
        return int(element[0].text or 0)
    if raw.name[1] in ("InputArguments", "OutputArguments"):
        return [_argument(each) for each in element.iter(f"{TYPES}Argument")]
    return None


def _argument(element: ET.Element) -> tuple[str, Key, int]:
    rank = element.findtext(f"{TYPES}ValueRank", "-1")
    return (
        element.findtext(f"{TYPES}Name", ""),
        Key(*json.loads(element.get("Key", "null") or "null")),
        int(rank),
    )
