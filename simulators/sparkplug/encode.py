"""Payloads to bytes, in a dialect. Field numbers are those of sparkplug_b.proto (3.0, appendix A)."""

import gzip
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from simulators.sparkplug import wire
from simulators.sparkplug.habits import Habits
from simulators.sparkplug.model import (
    DataSet,
    DataType,
    Kind,
    MetaData,
    Metric,
    Parameter,
    Payload,
    Properties,
    Template,
)

COMPRESSED: Final = "SPBV1.0_COMPRESSED"
_WIDTHS: Final = {DataType.INT8: 8, DataType.INT16: 16, DataType.INT32: 32, DataType.INT64: 64}
_SMALL: Final = {DataType.INT8, DataType.INT16, DataType.INT32, DataType.UINT8, DataType.UINT16}
_ELEMENTS: Final = dict(
    zip(
        range(DataType.INT8_ARRAY, DataType.DOUBLE_ARRAY + 1),
        ("b", "h", "i", "q", "B", "H", "I", "Q", "f", "d"),
        strict=True,
    )
)
_OTHERS: Final[Mapping[int, Kind]] = {
    DataType.INT64: "long",
    DataType.UINT64: "long",
    DataType.DATETIME: "long",
    DataType.FLOAT: "float",
    DataType.DOUBLE: "double",
    DataType.BOOLEAN: "boolean",
    DataType.DATASET: "dataset",
    DataType.TEMPLATE: "template",
    DataType.PROPERTY_SET: "propertyset",
    DataType.PROPERTY_SET_LIST: "propertysets",
    DataType.BYTES: "bytes",
    DataType.FILE: "bytes",
}
_METRIC: Final[Mapping[Kind, int]] = {
    "int": 10,
    "long": 11,
    "float": 12,
    "double": 13,
    "boolean": 14,
    "string": 15,
    "bytes": 16,
    "dataset": 17,
    "template": 18,
}
_PROPERTY: Final[Mapping[Kind, int]] = {
    "int": 3,
    "long": 4,
    "float": 5,
    "double": 6,
    "boolean": 7,
    "string": 8,
    "propertyset": 9,
    "propertysets": 10,
}
_ELEMENT: Final[Mapping[Kind, int]] = {
    "int": 1,
    "long": 2,
    "float": 3,
    "double": 4,
    "boolean": 5,
    "string": 6,
}
_PARAMETER: Final[Mapping[Kind, int]] = {
    "int": 3,
    "long": 4,
    "float": 5,
    "double": 6,
    "boolean": 7,
    "string": 8,
}


class Encoder:
    """One dialect's way of writing."""

    def __init__(self, habits: Habits) -> None:
        self._habits = habits

    def payload(self, payload: Payload) -> bytes:
        parts = [b"" if payload.timestamp is None else wire.uint(1, payload.timestamp)]
        parts += [wire.blob(2, self.metric(metric)) for metric in payload.metrics]
        parts += [b"" if payload.seq is None else wire.uint(3, payload.seq)]
        parts += [b"" if payload.uuid is None else wire.text(4, payload.uuid)]
        parts += [b"" if payload.body is None else wire.blob(5, payload.body)]
        return b"".join(parts)

    def wrapped(self, payload: Payload) -> bytes:
        """Compressed if the dialect does that, in the envelope of Eclipse Tahu: uuid, body, and which algorithm."""
        inner, algorithm = self.payload(payload), self._habits.compress
        if not algorithm:
            return inner
        body = gzip.compress(inner, mtime=0) if algorithm == "gzip" else zlib.compress(inner)
        named = Metric("algorithm", datatype=DataType.STRING, value=algorithm.upper())
        return self.payload(Payload([named], uuid=COMPRESSED, body=body))

    def metric(self, metric: Metric) -> bytes:
        parts = [
            b"" if metric.name is None else wire.text(1, metric.name),
            *(
                wire.uint(number, int(value))
                for number, value in enumerate(
                    (
                        metric.alias,
                        metric.timestamp,
                        metric.datatype,
                        metric.is_historical,
                        metric.is_transient,
                        metric.is_null,
                    ),
                    2,
                )
                if value is not None
            ),
            b"" if metric.metadata is None else wire.blob(8, _metadata(metric.metadata)),
            b"" if metric.properties is None else wire.blob(9, self.properties(metric.properties)),
        ]
        if metric.value is not None:
            shape = metric.datatype if metric.encode_as is None else metric.encode_as
            parts.append(self._value(_METRIC, shape or 0, metric.value, metric.kind))
        return b"".join(parts)

    def properties(self, properties: Properties) -> bytes:
        keys = [wire.text(1, key) for key in properties]
        values = []
        for entry in properties.values():
            known = (
                wire.uint(2, 1)
                if entry.value is None
                else self._value(_PROPERTY, entry.type, entry.value, None)
            )
            values.append(wire.blob(2, wire.uint(1, entry.type) + known))
        return b"".join((*keys, *values))

    def dataset(self, table: DataSet) -> bytes:
        announced = len(table.columns) if table.announced is None else table.announced
        parts = [wire.uint(1, announced), *(wire.text(2, column) for column in table.columns)]
        parts += [wire.uint(3, kind) for kind in table.types]
        for row in table.rows:
            cells = [
                wire.blob(1, b"" if cell is None else self._value(_ELEMENT, kind, cell, None))
                for kind, cell in zip(_types(table, len(row)), row, strict=True)
            ]
            parts.append(wire.blob(4, b"".join(cells)))
        return b"".join(parts)

    def template(self, template: Template) -> bytes:
        parts = [b"" if template.version is None else wire.text(1, template.version)]
        parts += [wire.blob(2, self.metric(metric)) for metric in template.metrics]
        parts += [wire.blob(3, self._parameter(parameter)) for parameter in template.parameters]
        parts += [b"" if template.ref is None else wire.text(4, template.ref)]
        return b"".join((*parts, wire.uint(5, int(template.is_definition))))

    def _parameter(self, parameter: Parameter) -> bytes:
        head = wire.text(1, parameter.name) + wire.uint(2, parameter.type)
        if parameter.value is None:
            return head
        return head + self._value(_PARAMETER, parameter.type, parameter.value, None)

    def _value(self, numbers: Mapping[Kind, int], datatype: int, value: Any, kind: Kind | None) -> bytes:
        kind = kind or self._kind(datatype)
        number = numbers[kind]
        if kind in ("int", "long", "boolean"):
            return wire.uint(number, self._integer(datatype, int(value), kind))
        if kind == "float":
            return wire.single(number, value)
        if kind == "double":
            return wire.double(number, value)
        return wire.blob(number, self._blob(datatype, value, kind))

    def _kind(self, datatype: int) -> Kind:
        if datatype in _SMALL:
            return self._habits.small
        if datatype == DataType.UINT32:
            return self._habits.uint32
        if datatype >= DataType.INT8_ARRAY:
            return "bytes"
        return _OTHERS.get(datatype, "string")

    def _integer(self, datatype: int, value: int, kind: Kind) -> int:
        width = 64 if kind == "long" else 32
        if self._habits.sign == "type":
            width = min(width, _WIDTHS.get(DataType(datatype), width))
        return value & (1 << width) - 1

    def _blob(self, datatype: int, value: Any, kind: Kind) -> bytes:
        if kind == "string":
            return str(value).encode()
        if kind == "dataset":
            return self.dataset(value)
        if kind == "template":
            return self.template(value)
        if kind == "propertyset":
            return self.properties(value)
        if kind == "propertysets":
            return b"".join(wire.blob(1, self.properties(each)) for each in value)
        return bytes(value) if isinstance(value, bytes) else self.array(datatype, value)

    def array(self, datatype: int, values: Sequence[Any]) -> bytes:
        """6.4.17: packed little-endian; booleans as a count and bits, the first the highest; texts end with a zero."""
        order = "<" if self._habits.arrays == "little" else ">"
        if datatype == DataType.STRING_ARRAY:
            return b"".join(text.encode() + b"\0" for text in values)
        if datatype == DataType.BOOLEAN_ARRAY:
            return struct.pack(order + "I", len(values)) + _bits(values)
        return struct.pack(f"{order}{len(values)}{_ELEMENTS.get(datatype, 'Q')}", *values)


def _bits(values: Sequence[bool]) -> bytes:
    made = bytearray((len(values) + 7) // 8)
    for place, value in enumerate(values):
        made[place // 8] |= bool(value) << 7 - place % 8
    return bytes(made)


def _types(table: DataSet, cells: int) -> list[DataType]:
    """The types of a row's cells; a row that is too long repeats the last."""
    types = list(table.types) or [DataType.STRING]
    return (types + [types[-1]] * cells)[:cells]


def _metadata(meta: MetaData) -> bytes:
    fields = (
        meta.is_multi_part,
        meta.content_type,
        meta.size,
        meta.seq,
        meta.file_name,
        meta.file_type,
        meta.md5,
        meta.description,
    )
    return b"".join(
        wire.text(number, value) if isinstance(value, str) else wire.uint(number, int(value))
        for number, value in enumerate(fields, 1)
        if value is not None
    )
