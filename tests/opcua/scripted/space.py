"""The address space: variables of one namespace, and the server's own nodes (OPC 10000-5, NodeIds.csv)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.opcua import encoder as enc
from tests.opcua.encoder import DataValue, Scalar
from tests.opcua.scripted.codec.wire import NodeId, ReadWish, several

URI = "urn:test:machine"
DOUBLE, INT32, STRING = 11, 6, 12
GOOD, NODE_UNKNOWN, ATTRIBUTE_INVALID = 0, 0x80340000, 0x80350000
NODE_CLASS, DISPLAY_NAME, DESCRIPTION, VALUE = 2, 4, 5, 13
DATA_TYPE, VALUE_RANK, USER_ACCESS_LEVEL = 14, 15, 18


@dataclass
class Variable:
    """A node `nsu=urn:test:machine;s=<name>`: its DataType (a number of namespace 0) and present value.

    create: the status of its monitored item. known: False is a node that the server has not (yet).
    """

    data_type: int = DOUBLE
    value: DataValue = field(default_factory=lambda: DataValue(Scalar(DOUBLE, 0.0), source=enc.ticks(10**18)))
    rank: int = -1
    create: int = 0
    known: bool = True
    uri: str = URI
    display_name: str = ""
    description: str = ""
    access: int = 1  # UserAccessLevel: 1 the present value can be read, 4 its history


class Ref(NamedTuple):
    """A reference to a node below another one, or (not forward) above. kind: the reference's type (35 Organizes, 38 HasEncoding,
    39 HasDescription, 45 HasSubtype, 46 HasProperty, 47 HasComponent)."""

    node: NodeId
    name: tuple[int, str]
    variable: bool = False
    kind: int = 47
    forward: bool = True


@dataclass
class Space:
    """What can be read. limits: OperationLimits by node id; 0 is not announced."""

    variables: dict[str, Variable] = field(default_factory=dict)
    namespaces: list[str] = field(
        default_factory=lambda: ["http://opcfoundation.org/UA/", "urn:test:server", URI]
    )
    state: int = 0
    started: int = 10**18  # ns; StartTime
    service_level: int = 255
    redundancy: int = 0  # RedundancySupport: 0 none, 1 cold, 2 warm, 3 hot
    redundant: list[tuple[str, int, int]] = field(
        default_factory=list
    )  # (ServerId, ServiceLevel, ServerState)
    application_uri: str = "urn:test:server"
    product: str = "Scripted"
    decoys: dict[tuple[str, str], Variable] = field(
        default_factory=dict
    )  # by (URI, name), of other namespaces
    limits: dict[int, int] = field(default_factory=dict)
    tree: dict[NodeId, list[Ref]] = field(default_factory=dict)  # when there is one, browsing follows it
    own: dict[int, bytes] = field(default_factory=dict)  # encoded DataValues that a test sets by node id

    def find(self, node: NodeId) -> tuple[str, Variable] | None:
        name = str(node.identifier)
        if node.namespace >= len(self.namespaces):
            return None
        decoy = self.decoys.get((self.namespaces[node.namespace], name))
        if decoy is not None:
            return "decoy", decoy
        variable = self.variables.get(name)
        known = variable is not None and variable.known
        return (
            (name, variable)
            if variable and known and self.namespaces[node.namespace] == variable.uri
            else None
        )

    def below(self, node: NodeId) -> list[Ref]:
        """What hierarchical references lead to; without a tree all variables are in the Objects folder."""
        if self.tree:
            return self.tree.get(node, [])
        named = [(self.node(name), name) for name in self.variables] if node == (0, 85) else []
        return [Ref(found, (found.namespace, name), True, 35) for found, name in named]

    def around(self, node: NodeId, inverse: bool, kind: int) -> list[Ref]:
        """The same the other way, or for references that are not hierarchical."""
        exact = kind in (38, 39, 45)
        return [
            ref
            for ref in self.below(node)
            if ref.forward is not inverse and (ref.kind == kind if exact else ref.kind not in (38, 39, 45))
        ]

    def node(self, name: str) -> NodeId:
        return NodeId(self.namespaces.index(self.variables[name].uri), name)

    def read(self, wish: ReadWish, times: int = 3) -> bytes:
        """An encoded DataValue. times: TimestampsToReturn (0 source, 1 server, 2 both, 3 neither)."""
        if wish.node.namespace == 0:
            return self.own.get(wish.node.identifier) or self._own(wish.node.identifier)
        found = self.find(wish.node)
        if found is None:
            return DataValue(None, NODE_UNKNOWN).encode()
        _, variable = found
        if wish.attribute == DATA_TYPE:
            return b"\1\x11" + enc.node(0, variable.data_type)
        if wish.attribute == VALUE_RANK:
            return DataValue(Scalar(6, variable.rank)).encode()
        if wish.attribute in (DISPLAY_NAME, DESCRIPTION):
            words = variable.display_name if wish.attribute == DISPLAY_NAME else variable.description
            return DataValue(Scalar(21, (None, words))).encode()
        if wish.attribute == NODE_CLASS:
            return DataValue(Scalar(6, 2)).encode()
        if wish.attribute == USER_ACCESS_LEVEL:
            return DataValue(Scalar(3, variable.access)).encode()
        if wish.attribute != VALUE:
            return DataValue(None, ATTRIBUTE_INVALID).encode()
        now = variable.value
        source = now.source if times in (0, 2) else None
        server = now.server if times in (1, 2) else None
        return DataValue(now.value, now.status, source, now.source_pico if source else None, server).encode()

    def _own(self, identifier: int) -> bytes:
        known = {
            2254: _strings([self.application_uri]),
            2255: _strings(self.namespaces),
            2257: DataValue(Scalar(13, enc.ticks(self.started // 100 * 100))).encode(),
            2259: DataValue(Scalar(6, self.state)).encode(),
            2261: DataValue(Scalar(12, self.product)).encode(),
            2267: DataValue(Scalar(3, self.service_level)).encode(),
            3709: DataValue(Scalar(6, self.redundancy)).encode(),
            11313: self._redundant(),
            11314: _strings([server[0] for server in self.redundant]),
        }
        if self.limits.get(identifier):
            known[identifier] = DataValue(Scalar(7, self.limits[identifier])).encode()
        return known.get(identifier, DataValue(None, NODE_UNKNOWN).encode())

    def _redundant(self) -> bytes:
        """An array of RedundantServerDataType (OPC 10000-5, 12.6)."""
        bodies = [
            enc.extension(855, enc.string(name) + struct.pack("<BI", level, state))
            for name, level, state in self.redundant
        ]
        return b"\1\x96" + several(bodies)


def _strings(texts: list[str]) -> bytes:
    return b"\1\x8c" + several([enc.string(text) for text in texts])
