"""Values as variables of their data types carry them: numbers, texts, node ids, and the structures of the specifications.

Structures are encoded by the tables' own fields. The library would want a Python class for each, in a registry of the whole
process by namespace index, where two servers with other indices spoil each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from asyncua import ua
from asyncua.ua.ua_binary import pack_uatype, struct_to_binary

from simulators.faces.spaces.nodes import LOCALE, Numbers
from simulators.faces.spaces.table import Book, Key

NODE_ID: Final = 17
LOCALIZED: Final = 21
STRUCTURE: Final = 22


@dataclass(frozen=True, slots=True)
class Wire:
    """For one server."""

    book: Book
    numbers: Numbers

    def variant(self, value: Any, data: Key | None, builtin: int, rank: int) -> ua.Variant:
        """A value that a machine says."""
        kind = ua.VariantType(builtin)
        if rank >= 0:
            return ua.Variant([self._plain(each, data, builtin) for each in value], kind, is_array=True)
        return ua.Variant(self._plain(value, data, builtin), kind)

    def _plain(self, value: Any, data: Key | None, builtin: int) -> Any:
        if builtin == STRUCTURE and isinstance(value, Mapping) and data is not None:
            encoding = self.numbers.node(self.book.encoding(data))
            return ua.ExtensionObject(encoding, ua.ByteString(self._body(value, data)))
        if builtin == NODE_ID and isinstance(value, Key):
            return self.numbers.node(value)
        return plain(value, builtin)

    def _body(self, value: Mapping[str, Any], data: Key) -> bytes:
        fields = self.book.declared[data].fields
        return b"".join(self._field(value[name], kind) for name, kind, _ in fields)

    def _field(self, value: Any, data: Key) -> bytes:
        builtin = self.book.builtin(data)
        if builtin != STRUCTURE:
            packed: bytes = pack_uatype(ua.VariantType(builtin), self._plain(value, data, builtin))
            return packed
        if isinstance(value, Mapping):
            return self._body(value, data)
        body: bytes = struct_to_binary(value)
        return body


def plain(value: Any, builtin: int) -> Any:
    """In the Python type of the built-in type (OPC 10000-6, table 1)."""
    if builtin == 1:
        return bool(value)
    if 2 <= builtin <= 9:
        return round(float(value))
    if builtin in (10, 11):
        return float(value)
    if builtin == 12:
        return str(value)
    return ua.LocalizedText(str(value), LOCALE) if builtin == LOCALIZED else value
