"""Values of Sparkplug's data types (3.0, 6.4.16) as values of ours.

Integers travel as two's complement in unsigned fields. Libraries differ in its width (Int8 -1 is 255, 4294967295 or 2^64-1) and in the
field (int_value or long_value): both are read, and what fits neither width is refused instead of cut. Arrays are packed
little-endian bytes (6.4.17). A value in a field that cannot hold its type is refused by name.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from adapters.mqtt.times import EPOCH
from pipelines.batch import Kind

INTEGERS: Final = {1: (8, True), 2: (16, True), 3: (32, True), 4: (64, True), 5: (8, False), 6: (16, False),
                   7: (32, False), 8: (64, False)}  # fmt: skip
_ORDER: Final = (
    "Unknown", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float", "Double",
    "Boolean", "String", "DateTime", "Text", "UUID", "DataSet", "Bytes", "File", "Template", "PropertySet",
    "PropertySetList", "Int8Array", "Int16Array", "Int32Array", "Int64Array", "UInt8Array", "UInt16Array",
    "UInt32Array", "UInt64Array", "FloatArray", "DoubleArray", "BooleanArray", "StringArray",
    "DateTimeArray",
)  # fmt: skip
NAMES: Final = dict(enumerate(_ORDER))
DATASET: Final = 16
TEMPLATE: Final = 19
_ELEMENTS: Final = dict(zip(range(22, 32), ("i1", "<i2", "<i4", "<i8", "u1", "<u2", "<u4", "<u8", "<f4", "<f8"), strict=True))  # fmt: skip
_SIGN: Final = 1 << 63


class Unreadable(Exception):
    """Why a value cannot be read, in words for a person."""


class Reader(NamedTuple):
    """How a data type is read. take: from a metric, property, parameter or cell of the schema; raises Unreadable."""

    kind: Kind
    take: Callable[[Any], Any]


def _wrong(message: Any, datatype: int) -> Unreadable:
    field = message.WhichOneof("value")
    if field is None:
        return Unreadable("neither a value nor is_null")
    return Unreadable(f"{NAMES[datatype]} in {field}")


def _integer(datatype: int) -> Callable[[Any], int]:
    bits, signed = INTEGERS[datatype]
    top = 1 << bits if not signed else 1 << bits - 1  # below it a number means itself

    def take(message: Any) -> int:
        if message.HasField("int_value"):
            number = message.int_value
        elif message.HasField("long_value"):
            number = message.long_value
        else:
            raise _wrong(message, datatype)
        return number if number < top else extended(number, datatype)

    return take


def extended(number: int, datatype: int) -> int:
    """Of a number beyond the positive half: its meaning in two's complement of the type's width, or of 32 or 64 bits."""
    bits, signed = INTEGERS[datatype]
    if signed:
        for width in {bits, 32, 64}:
            negative = number - (1 << width)
            if width >= bits and -(1 << bits - 1) <= negative < 0:
                return negative
    raise Unreadable(f"{number} does not fit {NAMES[datatype]}")


def _float(message: Any) -> float:
    if message.HasField("float_value"):
        return message.float_value  # type: ignore[no-any-return]
    if message.HasField("double_value"):
        return message.double_value  # type: ignore[no-any-return]
    raise _wrong(message, 9)


def _double(message: Any) -> float:
    if message.HasField("double_value"):
        return message.double_value  # type: ignore[no-any-return]
    if message.HasField("float_value"):
        return message.float_value  # type: ignore[no-any-return]
    raise _wrong(message, 10)


def _boolean(message: Any) -> bool:
    if message.HasField("boolean_value"):
        return message.boolean_value  # type: ignore[no-any-return]
    raise _wrong(message, 11)


def _text(datatype: int) -> Callable[[Any], str]:
    def take(message: Any) -> str:
        if not message.HasField("string_value"):
            raise _wrong(message, datatype)
        text = message.string_value
        if not isinstance(text, str):  # the parser hands over bytes where they are not UTF-8
            raise Unreadable(f"{NAMES[datatype]} that is not UTF-8")
        return text

    return take


def moment(ms: int) -> str:
    """Milliseconds since 1970 UTC (64 bits, two's complement) as RFC 3339, as DateTime of OPC UA is written too."""
    signed = ms - (1 << 64) if ms >= _SIGN else ms
    try:
        return (EPOCH + timedelta(milliseconds=signed)).isoformat(timespec="milliseconds") + "Z"
    except OverflowError:
        raise Unreadable(f"a DateTime beyond the year 9999 or before the year 1: {signed} ms") from None


def _datetime(message: Any) -> str:
    if message.HasField("long_value"):
        return moment(message.long_value)
    if message.HasField("int_value"):
        return moment(message.int_value)
    raise _wrong(message, 13)


def _bytes_of(message: Any, datatype: int) -> bytes:
    if not hasattr(message, "bytes_value") or not message.HasField("bytes_value"):
        raise _wrong(message, datatype)
    return message.bytes_value  # type: ignore[no-any-return]


def _numbers(datatype: int) -> Callable[[Any], Any]:
    element = np.dtype(_ELEMENTS[datatype])

    def take(message: Any) -> Any:
        raw = _bytes_of(message, datatype)
        if len(raw) % element.itemsize:
            raise Unreadable(f"{NAMES[datatype]} of {len(raw)} bytes: not a whole number of elements")
        return np.frombuffer(raw, element).astype(np.float64)

    return take


def _booleans(message: Any) -> Any:
    """A count (uint32, little-endian) and bits, the first in the highest bit."""
    raw = _bytes_of(message, 32)
    if len(raw) < 4 or len(raw) - 4 != (struct.unpack_from("<I", raw)[0] + 7) // 8:
        raise Unreadable(f"BooleanArray of {len(raw)} bytes: its count says otherwise")
    bits = np.unpackbits(np.frombuffer(raw, np.uint8, offset=4))
    return bits[: struct.unpack_from("<I", raw)[0]].astype(np.float64)


def _texts(message: Any) -> str:
    """Texts that end with a zero each, as a JSON list."""
    raw = _bytes_of(message, 33)
    if raw and raw[-1]:
        raise Unreadable("StringArray whose last text has no end")
    try:
        texts = [part.decode() for part in raw.split(b"\0")[:-1]]
    except UnicodeDecodeError:
        raise Unreadable("StringArray that is not UTF-8") from None
    return msgspec.json.encode(texts).decode()


def _moments(message: Any) -> str:
    raw = _bytes_of(message, 34)
    if len(raw) % 8:
        raise Unreadable(f"DateTimeArray of {len(raw)} bytes: not a whole number of elements")
    return msgspec.json.encode([moment(ms) for (ms,) in struct.iter_unpack("<Q", raw)]).decode()


def _refusing(datatype: int) -> Callable[[Any], Any]:
    def take(_message: Any) -> Any:
        raise Unreadable(f"{NAMES[datatype]} is not stored: no column of a database holds it")

    return take


READERS: Final[dict[int, Reader]] = {
    **{kind: Reader(Kind.INTEGER if kind < 8 else Kind.UNSIGNED, _integer(kind)) for kind in INTEGERS},
    9: Reader(Kind.NUMBER, _float),
    10: Reader(Kind.NUMBER, _double),
    11: Reader(Kind.FLAG, _boolean),
    **{kind: Reader(Kind.TEXT, _text(kind)) for kind in (12, 14, 15)},
    13: Reader(Kind.TEXT, _datetime),
    **{kind: Reader(Kind.TEXT, _refusing(kind)) for kind in (17, 18, 20, 21)},
    **{kind: Reader(Kind.WAVEFORM, _numbers(kind)) for kind in _ELEMENTS},
    32: Reader(Kind.WAVEFORM, _booleans),
    33: Reader(Kind.TEXT, _texts),
    34: Reader(Kind.TEXT, _moments),
}
"""By data type. DataSet (16) and Template (19) are not here: they are many values (`flatten.py`)."""
