"""The built-in types from bytes (OPC 10000-6, 5.2.2); into bytes they go by tests/opcua/encoder.py."""

from __future__ import annotations

import struct
import uuid
from typing import Any, Final, NamedTuple

from tests.opcua import encoder as enc

NULL_NODE: Final = b"\0\0"


class Truncated(Exception):
    """The bytes end before the field does."""


class NodeId(NamedTuple):
    """namespace index and identifier (int, str, uuid.UUID or bytes)."""

    namespace: int
    identifier: Any


class ReadWish(NamedTuple):
    """ReadValueId (OPC 10000-4, 7.29)."""

    node: NodeId
    attribute: int


class ItemWish(NamedTuple):
    """MonitoredItemCreateRequest (OPC 10000-4, 5.13.2); sampling in ms."""

    node: NodeId
    attribute: int
    mode: int
    handle: int
    sampling: float
    queue: int
    discard_oldest: bool
    filter: Extension


class ItemChange(NamedTuple):
    """MonitoredItemModifyRequest (OPC 10000-4, 5.13.3)."""

    item: int
    handle: int
    sampling: float
    queue: int
    discard_oldest: bool


class MethodCall(NamedTuple):
    """CallMethodRequest (OPC 10000-4, 5.12.2); arguments are (built-in type, value) of scalars."""

    object: NodeId
    method: NodeId
    arguments: list[tuple[int, Any]]


class Extension(NamedTuple):
    """ExtensionObject with a ByteString body (OPC 10000-6, 5.2.2.15)."""

    type_id: NodeId
    body: bytes


class Reader:
    """Takes one field after the other from a message."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at = data, at

    def take(self, count: int) -> bytes:
        piece = self.data[self.at : self.at + count]
        if count < 0 or len(piece) != count:
            raise Truncated(f"{count} bytes at {self.at} of {len(self.data)}")
        self.at += count
        return piece

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)

    def _number(self, form: str) -> Any:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def boolean(self) -> bool:
        return bool(self._number("B"))

    def u8(self) -> int:
        return int(self._number("B"))

    def u16(self) -> int:
        return int(self._number("H"))

    def u32(self) -> int:
        return int(self._number("I"))

    def i32(self) -> int:
        return int(self._number("i"))

    def i64(self) -> int:
        return int(self._number("q"))

    def double(self) -> float:
        return float(self._number("d"))

    def octets(self) -> bytes | None:
        length = self.i32()
        return None if length < 0 else self.take(length)

    def string(self) -> str | None:
        data = self.octets()
        return None if data is None else data.decode()

    def many(self, one: Any) -> list[Any]:
        """An array; null is read as empty, as clients may send either."""
        return [one() for _ in range(max(0, self.i32()))]

    def node(self) -> NodeId:
        """NodeId, or ExpandedNodeId with its URI and server index skipped (5.2.2.9 and 5.2.2.10)."""
        head = self.u8()
        made = self._node(head & 0x3F)
        if head & 0x80:
            self.string()
        if head & 0x40:
            self.u32()
        return made

    def _node(self, form: int) -> NodeId:
        if form == 0:
            return NodeId(0, self.u8())
        if form == 1:
            return NodeId(self.u8(), self.u16())
        namespace = self.u16()
        if form == 2:
            return NodeId(namespace, self.u32())
        if form == 3:
            return NodeId(namespace, self.string())
        if form == 4:
            return NodeId(namespace, uuid.UUID(bytes_le=self.take(16)))
        return NodeId(namespace, self.octets())

    def qualified_name(self) -> tuple[int, str | None]:
        return self.u16(), self.string()

    def localized_text(self) -> tuple[str | None, str | None]:
        mask = self.u8()
        return (self.string() if mask & 1 else None), (self.string() if mask & 2 else None)

    def extension(self) -> Extension:
        type_id, coding = self.node(), self.u8()
        return Extension(type_id, (self.octets() or b"") if coding else b"")

    def scalar(self) -> tuple[int, Any]:
        """A Variant that holds one value of a simple type."""
        kind = self.u8()
        if kind == 12:
            return kind, self.string()
        return kind, self._number(enc.FORMS[kind])

    def read_wish(self) -> ReadWish:
        node, attribute = self.node(), self.u32()
        self.string()
        self.qualified_name()
        return ReadWish(node, attribute)

    def history_wish(self) -> tuple[NodeId, bytes | None]:
        """A HistoryReadValueId: the node, and where to go on."""
        node = self.node()
        self.string()
        self.qualified_name()
        return node, self.octets()

    def item_wish(self) -> ItemWish:
        wanted, mode = self.read_wish(), self.u32()
        handle, sampling, chosen, queue, oldest = self._parameters()
        return ItemWish(wanted.node, wanted.attribute, mode, handle, sampling, queue, oldest, chosen)

    def item_change(self) -> ItemChange:
        number = self.u32()
        handle, sampling, _, queue, oldest = self._parameters()
        return ItemChange(number, handle, sampling, queue, oldest)

    def _parameters(self) -> tuple[int, float, Extension, int, bool]:
        return self.u32(), self.double(), self.extension(), self.u32(), self.boolean()

    def method_call(self) -> MethodCall:
        return MethodCall(self.node(), self.node(), self.many(self.scalar))

    def acknowledgement(self) -> tuple[int, int]:
        """(subscription, sequence number)"""
        return self.u32(), self.u32()

    def signature(self) -> tuple[str | None, bytes]:
        return self.string(), self.octets() or b""


def array(form: str, values: Any) -> bytes:
    """An array of numbers; None is the null array."""
    if values is None:
        return struct.pack("<i", -1)
    return struct.pack(f"<i{len(values)}{form}", len(values), *values)


def several(cells: list[bytes]) -> bytes:
    """An array of what is encoded already."""
    return struct.pack("<i", len(cells)) + b"".join(cells)


def text(words: str | None) -> bytes:
    """A LocalizedText."""
    return b"\0" if words is None else b"\2" + enc.string(words)


def node_bytes(node: NodeId) -> bytes:
    """A NodeId in the general form of its identifier."""
    namespace, identifier = node
    if isinstance(identifier, int):
        return struct.pack("<BHI", 2, namespace, identifier)
    if isinstance(identifier, str):
        return struct.pack("<BH", 3, namespace) + enc.string(identifier)
    if isinstance(identifier, uuid.UUID):
        return struct.pack("<BH", 4, namespace) + identifier.bytes_le
    return struct.pack("<BH", 5, namespace) + enc.octets(identifier)


def no_diagnostics() -> bytes:
    """A null array of DiagnosticInfo."""
    return struct.pack("<i", -1)
