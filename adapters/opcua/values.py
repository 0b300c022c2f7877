"""Values as OPC 10000-6 section 5.2 encodes them, one at a time: the patient side of the decoder.

Own code instead of the library's, because a length in a message is a claim: nothing here allocates by a declared length,
recurses by the sender's wish, or raises anything but `Malformed`, `struct.error` and `IndexError`. The fast side
(`decode.py`) handles fixed-size scalars and comes here for everything else.
"""

from __future__ import annotations

import base64
import struct
import uuid
from collections.abc import Callable
from math import prod
from typing import Any, Final

import numpy as np

from adapters.opcua.grids import LATER, Bodies, Body, Grid, Octets, Unsupported, hexadecimal
from pipelines.batch import Kind

# 1970-01-01 in 100-ns ticks since 1601-01-01 (OPC 10000-6, 5.2.2.5)
EPOCH_TICKS: Final = 116_444_736_000_000_000
LARGEST_ARRAY: Final = 1_000_000
DEEPEST: Final = 8

Read = Callable[[bytes, int], tuple[Any, int]]

SCALARS: Final = {
    1: "?", 2: "b", 3: "B", 4: "h", 5: "H", 6: "i", 7: "I", 8: "q", 9: "Q", 10: "f", 11: "d", 19: "I",
}  # fmt: skip
"""struct format by built-in type (OPC 10000-6 table 1) of everything that has a fixed size and is a number to us."""

KINDS: Final[dict[int, Kind]] = {
    1: Kind.FLAG,
    **dict.fromkeys((2, 3, 4, 5, 6, 7, 8, 19), Kind.INTEGER),
    9: Kind.UNSIGNED,
    10: Kind.NUMBER,
    11: Kind.NUMBER,
    **dict.fromkeys((12, 13, 14, 16, 17, 18, 20, 21), Kind.TEXT),
}
"""Our kind by built-in type; a type that is missing here cannot be stored yet."""

TEXTS: Final = frozenset((12, 16))
"""Built-in types that are an Int32 length and so many bytes of UTF-8: String, XmlElement."""


class Malformed(ValueError):
    """The bytes break the encoding rules: what follows in the same message cannot be trusted either."""


class Damaged(str):
    """A text that was not valid UTF-8: the bad bytes are U+FFFD now, and its quality must say so."""

    __slots__ = ()


def number(form: str) -> Read:
    unpack, size = struct.Struct("<" + form).unpack_from, struct.calcsize("<" + form)
    return lambda buffer, at: (unpack(buffer, at)[0], at + size)


ReadInteger = Callable[[bytes, int], tuple[int, int]]
int32: ReadInteger = number("i")
uint16: ReadInteger = number("H")
uint32: ReadInteger = number("I")
int64: ReadInteger = number("q")


def octets(buffer: bytes, at: int) -> tuple[bytes | None, int]:
    length, at = int32(buffer, at)
    if length < 0:
        return None, at
    if at + length > len(buffer):
        raise Malformed(f"a string of {length} bytes in a message that has {len(buffer) - at} left")
    return buffer[at : at + length], at + length


def text(buffer: bytes, at: int) -> tuple[str | None, int]:
    raw, at = octets(buffer, at)
    if raw is None:
        return None, at
    try:
        return raw.decode(), at
    except UnicodeDecodeError:
        return Damaged(raw.decode(errors="replace")), at


def moment(buffer: bytes, at: int) -> tuple[str | None, int]:
    """A DateTime as RFC 3339 with all its seven decimals; None for 0, which means that there is none."""
    ticks, at = int64(buffer, at)
    return (None if ticks <= 0 else rfc3339(ticks)), at


def rfc3339(ticks: int) -> str:
    """Ticks of 100 ns since 1601 as text; years beyond 9999 are written as the last moment of 9999."""
    seconds, rest = divmod(min(ticks, 2_650_467_743_999_999_999) - EPOCH_TICKS, 10_000_000)
    whole = np.datetime_as_string(np.datetime64(seconds, "s"))
    return f"{whole}.{rest:07d}Z"


def guid(buffer: bytes, at: int) -> tuple[str, int]:
    if at + 16 > len(buffer):
        raise Malformed("a Guid is cut short")
    return str(uuid.UUID(bytes_le=bytes(buffer[at : at + 16]))), at + 16


def node_id(buffer: bytes, at: int) -> tuple[str, int]:
    """A NodeId or ExpandedNodeId in its string form (OPC 10000-6, 5.2.2.9 and 5.2.2.10)."""
    encoding = buffer[at]
    index, written, at = _node_body(buffer, at + 1, encoding & 0x3F)
    uri, server = None, 0
    if encoding & 0x80:
        uri, at = text(buffer, at)
    if encoding & 0x40:
        server, at = uint32(buffer, at)
    space = f"nsu={uri};" if uri is not None else f"ns={index};" if index else ""
    return f"svr={server};{space}{written}" if server else space + written, at


def _node_body(buffer: bytes, at: int, form: int) -> tuple[int, str, int]:
    if form == 0:
        return 0, f"i={buffer[at]}", at + 1
    if form == 1:
        return buffer[at], f"i={uint16(buffer, at + 1)[0]}", at + 3
    index, at = uint16(buffer, at)
    if form == 2:
        return index, f"i={uint32(buffer, at)[0]}", at + 4
    if form == 4:
        written, at = guid(buffer, at)
        return index, f"g={written}", at
    if form not in (3, 5):
        raise Malformed(f"unknown NodeId encoding {form}")
    raw, at = octets(buffer, at)
    shown = (raw or b"").decode(errors="replace") if form == 3 else base64.b64encode(raw or b"").decode()
    return index, f"{'s' if form == 3 else 'b'}={shown}", at


def qualified_name(buffer: bytes, at: int) -> tuple[str | None, int]:
    index, at = uint16(buffer, at)
    name, at = text(buffer, at)
    return (f"{index}:{name}" if index and name is not None else name), at


def localized_text(buffer: bytes, at: int) -> tuple[str | None, int]:
    """The text without its locale."""
    mask, at, shown = buffer[at], at + 1, None
    if mask & 1:
        _, at = text(buffer, at)
    if mask & 2:
        shown, at = text(buffer, at)
    return shown, at


def extension_object(buffer: bytes, at: int) -> tuple[Any, int]:
    """A Body; None for a null or one without a body (OPC 10000-6, 5.2.2.15)."""
    type_id, at = node_id(buffer, at)
    encoding, at = buffer[at], at + 1
    if encoding == 0:
        return None, at
    if encoding not in (1, 2):
        raise Malformed(f"unknown ExtensionObject encoding {encoding}")
    body, at = octets(buffer, at)
    if body is None or encoding == 1:
        return (None if body is None else Body(type_id, body)), at
    return Unsupported(LATER[22]), at


def diagnostic_info(buffer: bytes, at: int, depth: int = 0) -> tuple[Any, int]:
    mask, at = buffer[at], at + 1
    at += 4 * (mask & 0x0F).bit_count()
    if mask & 0x10:
        _, at = octets(buffer, at)
    if mask & 0x20:
        at += 4
    if mask & 0x40:
        if depth >= DEEPEST:
            raise Malformed("diagnostic information is nested too deep")
        _, at = diagnostic_info(buffer, at, depth + 1)
    if at > len(buffer):
        raise Malformed("diagnostic information is cut short")
    return Unsupported(LATER[25]), at


def _byte_string(buffer: bytes, at: int) -> tuple[Any, int]:
    data, at = octets(buffer, at)
    return (None if data is None else Octets(bytes(data))), at


_READ: Final[dict[int, Read]] = {
    **{kind: number(form) for kind, form in SCALARS.items()},
    12: text, 13: moment, 14: guid, 15: _byte_string, 16: text, 17: node_id, 18: node_id,
    20: qualified_name, 21: localized_text, 22: extension_object, 25: diagnostic_info,
}  # fmt: skip


def variant(buffer: bytes, at: int, depth: int = 0) -> tuple[Kind | None, Any, int]:
    """(kind, value, end) of a Variant (OPC 10000-6, 5.2.2.16); kind is None for a null and for `Unsupported`."""
    if depth > DEEPEST:
        raise Malformed("values are nested too deep")
    encoding, at = buffer[at], at + 1
    kind = encoding & 0x3F
    if encoding & 0x80:
        return _array(buffer, at, kind, bool(encoding & 0x40), depth)
    if kind == 0:
        return None, None, at
    value, at = builtin(buffer, at, kind, depth)
    return (None if value is None or isinstance(value, Unsupported) else KINDS[kind]), value, at


def builtin(buffer: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    """A value of a built-in type (OPC 10000-6, table 1)."""
    if kind == 24:
        *_, at = variant(buffer, at, depth + 1)
        return Unsupported(LATER[24]), at
    if kind == 23:
        return Unsupported(LATER[23]), _data_value_end(buffer, at, depth + 1)
    if 26 <= kind <= 31:  # reserved types are ByteStrings on the wire (OPC 10000-6, 5.2.2.16)
        return _byte_string(buffer, at)
    if kind not in _READ:
        raise Malformed(f"unknown built-in type {kind}")
    return _READ[kind](buffer, at)


def _data_value_end(buffer: bytes, at: int, depth: int) -> int:
    mask, at = buffer[at], at + 1
    if mask & 1:
        *_, at = variant(buffer, at, depth)
    return at + sum(size for bit, size in ((2, 4), (4, 8), (16, 2), (8, 8), (32, 2)) if mask & bit)


def _array(buffer: bytes, at: int, kind: int, shaped: bool, depth: int) -> tuple[Kind | None, Any, int]:
    length, at = int32(buffer, at)
    # every element of every type but null takes a byte or more
    if length > min(LARGEST_ARRAY, len(buffer) - at):
        raise Malformed(f"an array of {length} elements in a message that has {len(buffer) - at} bytes left")
    if kind in SCALARS and kind not in (1, 19):
        value, at = _wave(buffer, at, SCALARS[kind], max(length, 0))
    else:
        cells = []
        for _ in range(length if kind else 0):
            cell, at = builtin(buffer, at, kind, depth)
            cells.append(cell)
        value = _grid(kind, cells)
    if shaped:
        value, at = _shaped(buffer, at, value, kind)
    if length < 0:
        return None, None, at
    return (None if isinstance(value, Unsupported) else Kind.WAVEFORM), value, at


def _grid(kind: int, cells: list[Any]) -> Unsupported:
    """The elements of an array as one value; why not, if they cannot be stored one by one either."""
    odd = [c for c in cells if isinstance(c, Unsupported) and not isinstance(c, Octets | Body)]
    if odd:
        return odd[0]
    if kind == 22:
        return Bodies(cells, (len(cells),))
    binary = kind not in KINDS  # ByteStrings, and the reserved types that travel as such
    shown = [None if cell is None else hexadecimal(cell) for cell in cells] if binary else cells
    return Grid(KINDS.get(kind, Kind.TEXT), shown, (len(cells),), binary)


def _wave(buffer: bytes, at: int, form: str, length: int) -> tuple[Any, int]:
    size = struct.calcsize("<" + form) * length
    if at + size > len(buffer):
        raise Malformed(f"an array of {length} numbers in a message that has {len(buffer) - at} bytes left")
    return np.frombuffer(buffer, "<" + _NUMPY[form], length, at).copy(), at + size


_NUMPY: Final = {
    "b": "i1", "B": "u1", "h": "i2", "H": "u2", "i": "i4", "I": "u4", "q": "i8", "Q": "u8", "f": "f4", "d": "f8",
}  # fmt: skip


def _shaped(buffer: bytes, at: int, value: Any, kind: int) -> tuple[Any, int]:
    dimensions, at = int32(buffer, at)
    if dimensions > DEEPEST:
        raise Malformed(f"an array of {dimensions} dimensions")
    end = at + 4 * max(dimensions, 0)
    if end > len(buffer):
        raise Malformed("the dimensions of an array are cut short")
    if dimensions <= 1:
        return value, end
    shape = struct.unpack_from(f"<{dimensions}i", buffer, at)
    return _matrix(value, kind, shape), end


def _matrix(value: Any, kind: int, shape: tuple[int, ...]) -> Unsupported:
    if isinstance(value, Unsupported) and not isinstance(value, Grid | Bodies):
        return value
    cells = value.cells if isinstance(value, Grid | Bodies) else value
    if min(shape) < 0 or prod(shape) != len(cells):
        return Unsupported(f"a matrix of {len(cells)} elements that says that it is {shape}")
    if isinstance(value, Bodies):
        return Bodies(value.cells, shape)
    return Grid(KINDS.get(kind, Kind.TEXT), cells, shape, isinstance(value, Grid) and value.octets)
