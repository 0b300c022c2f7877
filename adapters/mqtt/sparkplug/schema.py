"""The messages of Sparkplug B (3.0, 6.4: field numbers of sparkplug_b.proto), as google's parser in C reads them.

Built at run time in a pool of our own, so that no generated file and no name can clash with somebody else's copy. What lies
deeper than a metric (properties, DataSet, Template) is declared as bytes: it is only parsed where somebody wants it, and each
level is counted before (`crowded`), because two bytes of a hostile payload become a message of fifty in memory.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

__all__ = ["MOST", "DataSet", "DecodeError", "Metric", "Payload", "PropertySet", "Row", "Template", "crowded"]

MOST: Final = 10_000
"""Metrics of a payload, rows of a DataSet, members of a Template."""

_TYPES: Final = {"double": 1, "float": 2, "uint64": 4, "bool": 8, "string": 9, "bytes": 12, "uint32": 13}
_PLAIN: Final = (("int_value", "uint32"), ("long_value", "uint64"), ("float_value", "float"), ("double_value", "double"),
                 ("boolean_value", "bool"), ("string_value", "string"))  # fmt: skip


def _value(first: int) -> dict[int, tuple[str, str]]:
    """The oneof of a metric, a property, a parameter or a cell: the same six fields from another number on."""
    return dict(enumerate(((name, f"?{kind}") for name, kind in _PLAIN), first))


# name -> {field number: (name, type)}; * repeated, ? in the oneof "value"
_MESSAGES: Final[dict[str, dict[int, tuple[str, str]]]] = {
    "Payload": {1: ("timestamp", "uint64"), 2: ("metrics", "*Metric"), 3: ("seq", "uint64"), 4: ("uuid", "string"),
                5: ("body", "bytes")},
    "Metric": {1: ("name", "string"), 2: ("alias", "uint64"), 3: ("timestamp", "uint64"), 4: ("datatype", "uint32"),
               5: ("is_historical", "bool"), 6: ("is_transient", "bool"), 7: ("is_null", "bool"),
               9: ("properties", "bytes"), **_value(10), 16: ("bytes_value", "?bytes"), 17: ("dataset_value", "?bytes"),
               18: ("template_value", "?bytes")},
    "PropertySet": {1: ("keys", "*string"), 2: ("values", "*Property")},
    "Property": {1: ("type", "uint32"), 2: ("is_null", "bool"), **_value(3)},
    "DataSet": {1: ("num_of_columns", "uint64"), 2: ("columns", "*string"), 3: ("types", "*uint32"), 4: ("rows", "*bytes")},
    "Row": {1: ("elements", "*Cell")},
    "Cell": _value(1),
    "Template": {1: ("version", "string"), 2: ("metrics", "*Metric"), 3: ("parameters", "*Parameter"),
                 4: ("template_ref", "string"), 5: ("is_definition", "bool")},
    "Parameter": {1: ("name", "string"), 2: ("datatype", "uint32"), **_value(3)},
}  # fmt: skip


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="shopfloor_sparkplug.proto", package="shopfloor.sparkplug", syntax="proto2"
    )
    for name, fields in _MESSAGES.items():
        _describe(file.message_type.add(name=name), fields)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"shopfloor.sparkplug.{name}"))
        for name in _MESSAGES
    }


def _describe(message: Any, fields: dict[int, tuple[str, str]]) -> None:
    for number, (name, kind) in fields.items():
        field = message.field.add(name=name, number=number, label=3 if kind[0] == "*" else 1)
        if kind[0] == "?":
            if not message.oneof_decl:
                message.oneof_decl.add(name="value")
            field.oneof_index = 0
        plain = kind.lstrip("*?")
        field.type = _TYPES.get(plain, 11)
        if plain not in _TYPES:
            field.type_name = f".shopfloor.sparkplug.{plain}"


_MADE: Final = _classes()
Payload: Final = _MADE["Payload"]
Metric: Final = _MADE["Metric"]
PropertySet: Final = _MADE["PropertySet"]
DataSet: Final = _MADE["DataSet"]
Row: Final = _MADE["Row"]
Template: Final = _MADE["Template"]

_FIXED: Final = {1: 8, 3: 0, 4: 0, 5: 4}
_SAFE: Final = 2 * MOST  # bytes in which no more than MOST fields have room


def crowded(raw: bytes, limit: int = MOST) -> bool:
    """More than `limit` fields on the first level. Asked before parsing; what is malformed is left to the parser."""
    if len(raw) <= _SAFE:
        return False
    place, count, end = 0, 0, len(raw)
    while place < end:
        count += 1
        if count > limit:
            return True
        key, place = _varint(raw, place)
        if key & 7 == 2:
            size, place = _varint(raw, place)
            place += size
        elif key & 7 == 0:
            _, place = _varint(raw, place)
        else:
            place += _FIXED.get(key & 7, end)
    return False


def _varint(raw: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    for at in range(place, min(place + 10, len(raw))):
        value |= (raw[at] & 0x7F) << shift
        if raw[at] < 0x80:
            return value, at + 1
        shift += 7
    return 0, len(raw)
