"""What a look at a server found: the plain facts from which the tree, the proposal and the JSON are made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.opcua.credentials import Offer
from adapters.opcua.discover_browse import Node
from adapters.opcua.discover_read import About
from adapters.opcua.discover_specs import specification


@dataclass(slots=True)
class Found:
    """Everything that was found. types: browse names of object and data types by their id."""

    url: str
    offers: Sequence[Offer]
    used: str
    server: Mapping[str, Any] = field(default_factory=dict)
    namespaces: Sequence[str] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    root: Node | None = None
    abouts: Sequence[About] = ()
    properties: Sequence[Node] = ()
    types: Mapping[str, str] = field(default_factory=dict)
    unread: Sequence[tuple[Node, str]] = ()
    cut: str = ""
    notifiers: Sequence[str] = ()

    def specifications(self) -> dict[str, tuple[str, int]]:
        """By namespace URI: the companion specification, and how many nodes are of a type from there."""
        nodes = self.root.below() if self.root else ()
        used = Counter(node.type.partition(";")[0].removeprefix("nsu=") for node in nodes)
        named = ((uri, specification(uri)) for uri in self.namespaces)
        return {uri: (name, used[uri.replace("%", "%25").replace(";", "%3B")]) for uri, name in named if name}

    def kind_words(self, about: About) -> str:
        """The data type by its name, with [] per dimension."""
        name = _TYPES.get(about.data_type) or self.types.get(about.data_type) or about.data_type
        return name + "[]" * max(about.rank, 0)


_NAMES = (
    "Boolean", "SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64", "Float", "Double", "String",
    "DateTime", "Guid", "ByteString", "XmlElement", "NodeId", "ExpandedNodeId", "StatusCode", "QualifiedName",
    "LocalizedText", "Structure", "DataValue", "BaseDataType", "DiagnosticInfo", "Number", "Integer", "UInteger",
    "Enumeration",
)  # fmt: skip
_TYPES = {f"i={number}": name for number, name in enumerate(_NAMES, 1)}
"""The built-in types and their abstract parents (OPC 10000-6, table 1)."""
