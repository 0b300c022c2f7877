"""A decoder of DataChangeNotifications that is slow and plain: every field by itself, in the order of OPC 10000-6, 5.2.

Written for the tests from the tables of the standard, with nothing of the decoder under test, of the tests' encoder, or of
a library: what two of them agree on is not an accident of one of them.
"""

from __future__ import annotations

import base64
import io
import struct
import uuid
from dataclasses import dataclass, field
from typing import Any

SIMPLE = {
    1: "?", 2: "b", 3: "B", 4: "h", 5: "H", 6: "i", 7: "I", 8: "q", 9: "Q", 10: "f", 11: "d", 13: "q", 19: "I",
}  # fmt: skip
"""Built-in types of fixed size (table 1), DateTime as ticks."""


@dataclass
class Item:
    """type: built-in type of the Variant, 0 for null; None when the DataValue has no Value. dimensions: as encoded."""

    handle: int
    type: int | None = None
    value: Any = None
    is_array: bool = False
    dimensions: list[int] | None = None
    status: int = 0
    source: int = 0
    source_pico: int = 0
    server: int = 0
    server_pico: int = 0
    fields: set[str] = field(default_factory=set)


class Reader:
    """Reads from the front. Raises EOFError at the end."""

    def __init__(self, body: bytes) -> None:
        self._body = io.BytesIO(body)

    def take(self, size: int) -> bytes:
        taken = self._body.read(size)
        if len(taken) != size:
            raise EOFError
        return taken

    def number(self, form: str) -> Any:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def byte_string(self) -> bytes | None:  # 5.2.2.7
        length = self.number("i")
        return None if length < 0 else self.take(length)

    def string(self) -> str | None:  # 5.2.2.4
        raw = self.byte_string()
        return None if raw is None else raw.decode()

    def guid(self) -> str:  # 5.2.2.6: Data1 UInt32, Data2 UInt16, Data3 UInt16, Data4 Byte[8]
        first, second, third = self.number("I"), self.number("H"), self.number("H")
        fourth = self.take(8)
        return str(uuid.UUID(f"{first:08x}{second:04x}{third:04x}{fourth.hex()}"))

    def node_id(self) -> str:  # 5.2.2.9
        form = self.number("B")
        if form == 0:
            return f"i={self.number('B')}"
        if form == 1:
            space, identifier = self.number("B"), self.number("H")
            return self._spaced(space, f"i={identifier}")
        space = self.number("H")
        if form == 2:
            return self._spaced(space, f"i={self.number('I')}")
        if form == 3:
            return self._spaced(space, f"s={self.string()}")
        if form == 4:
            return self._spaced(space, f"g={self.guid()}")
        assert form == 5
        return self._spaced(space, f"b={base64.b64encode(self.byte_string() or b'').decode()}")

    @staticmethod
    def _spaced(space: int, identifier: str) -> str:
        return f"ns={space};{identifier}" if space else identifier

    def builtin(self, kind: int) -> Any:
        if kind in SIMPLE:
            return self.number(SIMPLE[kind])
        if kind in (12, 16):
            return self.string()
        if kind == 15:
            return self.byte_string()
        if kind == 14:
            return self.guid()
        if kind == 17:
            return self.node_id()
        if kind == 20:  # QualifiedName, 5.2.2.13
            index, name = self.number("H"), self.string()
            return f"{index}:{name}" if index and name is not None else name
        if kind == 21:  # LocalizedText, 5.2.2.14
            mask = self.number("B")
            _ = self.string() if mask & 1 else None
            return self.string() if mask & 2 else None
        if kind == 22:  # ExtensionObject, 5.2.2.15
            self.node_id()
            return self.byte_string() if self.number("B") else None
        raise AssertionError(kind)

    def variant(self, item: Item) -> None:  # 5.2.2.16
        encoding = self.number("B")
        item.type, item.is_array = encoding & 0x3F, bool(encoding & 0x80)
        if not item.is_array:
            item.value = self.builtin(item.type) if item.type else None
            return
        length = self.number("i")
        item.value = None if length < 0 else [self.builtin(item.type) for _ in range(length)]
        if encoding & 0x40:
            item.dimensions = [self.number("i") for _ in range(self.number("i"))]

    def data_value(self, item: Item) -> None:  # 5.2.2.17
        mask = self.number("B")
        if mask & 0x01:
            self.variant(item)
        for bit, name, form in (
            (0x02, "status", "I"),
            (0x04, "source", "q"),
            (0x10, "source_pico", "H"),
            (0x08, "server", "q"),
            (0x20, "server_pico", "H"),
        ):
            if mask & bit:
                item.fields.add(name)
                setattr(item, name, self.number(form))


def decode(body: bytes) -> list[Item]:
    """All items of a DataChangeNotification (OPC 10000-4, 7.25.2)."""
    reader, items = Reader(body), []
    for _ in range(reader.number("i")):
        items.append(Item(reader.number("I")))
        reader.data_value(items[-1])
    return items
