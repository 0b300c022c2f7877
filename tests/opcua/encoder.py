"""An encoder of OPC UA binary in the order of OPC 10000-6 section 5.2, written for the tests alone.

It shares no line with the decoder under test nor with asyncua: `struct.pack` field by field, as the tables of the
specification have them. DataValue: Value, Status, SourceTimestamp, SourcePicoseconds, ServerTimestamp, ServerPicoseconds.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

EPOCH_SECONDS = 11_644_473_600  # between 1601 and 1970: 369 years with 89 leap days
FORMS = {
    1: "?",
    2: "b",
    3: "B",
    4: "h",
    5: "H",
    6: "i",
    7: "I",
    8: "q",
    9: "Q",
    10: "f",
    11: "d",
    13: "q",
    19: "I",
}


def ticks(ns: int) -> int:
    """ns since 1970 as 100-ns ticks since 1601."""
    assert ns % 100 == 0
    return ns // 100 + EPOCH_SECONDS * 10_000_000


def octets(data: bytes | None) -> bytes:
    return struct.pack("<i", -1) if data is None else struct.pack("<i", len(data)) + data


def string(text: str | bytes | None) -> bytes:
    return octets(text.encode() if isinstance(text, str) else text)


@dataclass(frozen=True)
class Null:
    """A null Variant."""


@dataclass(frozen=True)
class Scalar:
    """value by built-in type; a LocalizedText is (locale, text)."""

    kind: int
    value: Any


@dataclass(frozen=True)
class Array:
    kind: int
    values: Sequence[Any]
    dimensions: Sequence[int] | None = None


@dataclass(frozen=True)
class Structure:
    """An ExtensionObject with a binary body; of a type nobody knows, unless something else is said."""

    body: bytes
    type_id: tuple[int, int] = (3, 5001)


Value = Null | Scalar | Array | Structure


def builtin(kind: int, value: Any) -> bytes:
    if kind in FORMS:
        return struct.pack("<" + FORMS[kind], value)
    if kind in (12, 15, 16):
        return string(value)
    if kind == 14:
        assert isinstance(value, uuid.UUID)
        f = value.fields
        return struct.pack("<IHHBB", *f[:5]) + f[5].to_bytes(6, "big")
    if kind == 21:
        locale, text = value
        mask = (locale is not None) | (text is not None) << 1
        parts = [string(cell) for cell in (locale, text) if cell is not None]
        return struct.pack("<B", mask) + b"".join(parts)
    if kind == 20:
        return struct.pack("<H", value[0]) + string(value[1])
    if kind == 22:
        return node(*value.type_id) + b"\1" + octets(value.body)
    raise AssertionError(kind)


def variant(value: Value) -> bytes:
    if isinstance(value, Null):
        return b"\0"
    if isinstance(value, Scalar):
        return struct.pack("<B", value.kind) + builtin(value.kind, value.value)
    if isinstance(value, Structure):
        return b"\x16" + builtin(22, value)
    shaped = value.dimensions is not None
    head = struct.pack("<Bi", value.kind | 0x80 | (0x40 if shaped else 0), len(value.values))
    body = b"".join(builtin(value.kind, cell) for cell in value.values)
    tail = (
        b""
        if value.dimensions is None
        else struct.pack(f"<i{len(value.dimensions)}i", len(value.dimensions), *value.dimensions)
    )
    return head + body + tail


@dataclass(frozen=True)
class DataValue:
    value: Value | None = None
    status: int | None = None
    source: int | None = None  # ticks
    source_pico: int | None = None
    server: int | None = None
    server_pico: int | None = None

    def encode(self) -> bytes:
        cells = (self.value, self.status, self.source, self.server, self.source_pico, self.server_pico)
        mask = sum(1 << bit for bit, cell in enumerate(cells) if cell is not None)
        out = struct.pack("<B", mask)
        out += b"" if self.value is None else variant(self.value)
        out += b"" if self.status is None else struct.pack("<I", self.status)
        out += b"" if self.source is None else struct.pack("<q", self.source)
        out += b"" if self.source_pico is None else struct.pack("<H", self.source_pico)
        out += b"" if self.server is None else struct.pack("<q", self.server)
        return out + (b"" if self.server_pico is None else struct.pack("<H", self.server_pico))


def data_change(items: Sequence[tuple[int, DataValue]]) -> bytes:
    """A DataChangeNotification: MonitoredItems, then no DiagnosticInfos."""
    body = b"".join(struct.pack("<I", handle) + value.encode() for handle, value in items)
    return struct.pack("<i", len(items)) + body + struct.pack("<i", -1)


def status_change(code: int) -> bytes:
    return struct.pack("<I", code) + b"\0"


def node(namespace: int, identifier: int) -> bytes:
    return struct.pack("<BBH", 1, namespace, identifier)


def extension(type_id: int, body: bytes) -> bytes:
    return node(0, type_id) + b"\1" + octets(body)


def response_header(handle: int = 1, result: int = 0, stamp: int = 0) -> bytes:
    """Timestamp, RequestHandle, ServiceResult, no diagnostics, no strings, no additional header."""
    return struct.pack("<qII", stamp, handle, result) + b"\0" + struct.pack("<i", -1) + b"\0\0\0"


def message(sequence: int, parts: Sequence[tuple[int, bytes]], published: int = 0) -> bytes:
    """A NotificationMessage; parts are (type id of the encoding, body)."""
    return struct.pack("<Iqi", sequence, published, len(parts)) + b"".join(extension(*part) for part in parts)


def publish_response(
    subscription: int,
    sequence: int,
    parts: Sequence[tuple[int, bytes]],
    *,
    available: Sequence[int] = (),
    handle: int = 1,
    published: int = 0,
) -> bytes:
    known = struct.pack(f"<i{len(available)}I", len(available), *available)
    return (
        node(0, 829)
        + response_header(handle)
        + struct.pack("<I", subscription)
        + known
        + b"\0"
        + message(sequence, parts, published)
        + struct.pack("<ii", 0, -1)
    )


def republish_response(sequence: int, parts: Sequence[tuple[int, bytes]], handle: int = 1) -> bytes:
    return node(0, 835) + response_header(handle) + message(sequence, parts)


def service_fault(code: int, handle: int = 1) -> bytes:
    return node(0, 397) + response_header(handle, code)
