"""Binary messages by a layout that the configuration describes: numbers at fixed places, once or as records.

A message of another length than the layout is refused: reading what seems to fit would give numbers of another layout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import Any

from adapters.mqtt.payload_layouts import BinaryField
from adapters.mqtt.payload_settings import BinaryPayload
from adapters.mqtt.payloads.shape import MOST, TOO_MUCH, Decode, Decoded, Out, Row, Series, refusal
from adapters.mqtt.payloads.status import Status, unit_of
from adapters.mqtt.times import bounded
from pipelines import quality as q
from pipelines.batch import Kind

_CODES = {
    "uint8": "B", "int8": "b", "uint16": "H", "int16": "h", "uint32": "I", "int32": "i", "uint64": "Q", "int64": "q",
    "float32": "f", "float64": "d",
}  # fmt: skip
Take = Callable[[bytes, int], Any]


def layout(payload: BinaryPayload, wanted: frozenset[str] | None) -> Decode:
    """The decoder. wanted: the fields that are signals; None: all but time, quality and unit."""
    places = _Places(payload, wanted)
    when, status = payload.when(), Status(payload.quality) if payload.quality else None

    def decode(message: bytes) -> Decoded:
        starts = places.starts(message)
        if isinstance(starts, str):
            return refusal(starts)
        head = {name: take(message, 0) for name, take in places.header.items()}
        out = Out()
        for number, start in enumerate(starts):
            found = {**head, **{name: take(message, start) for name, take in places.fields.items()}}
            at = when(_said(found[payload.time])) if payload.time else None
            if at is not None and payload.time in head:
                at = bounded(at + number * places.every)
            quality = status.of(_said(found[payload.quality.value])) if status and payload.quality else q.GOOD
            unit = unit_of(_said(found[payload.unit_from])) if payload.unit_from else ""
            _add(places.chosen if number else places.first, found, (at, quality, unit), out)
        return out.decoded()

    return decode


def _said(value: Any) -> Any:
    return value.decode("utf-8", "replace") if type(value) is bytes else value


class _Places:
    """Where everything stands. chosen: the signals of every record; first: those and the header's."""

    def __init__(self, payload: BinaryPayload, wanted: frozenset[str] | None) -> None:
        order = ">" if payload.endian == "big" else "<"
        self.fields = _takes(payload.fields, order)
        self.header = _takes(payload.header, order)
        special = {payload.time, payload.unit_from, payload.quality.value if payload.quality else ""}
        self.chosen = [n for n in self.fields if (n not in special if wanted is None else n in wanted)]
        self.first = [
            n for n in self.header if (n not in special if wanted is None else n in wanted)
        ] + self.chosen
        self.records = payload.records
        self.every = round((payload.records.every or 0) * 1e9) if payload.records else 0
        self.size = payload.size or max(field.end for field in payload.fields)

    def starts(self, message: bytes) -> Sequence[int] | str:
        """Where each record begins, or why the message does not fit the layout."""
        if self.records is None:
            if len(message) == self.size:
                return (0,)
            return f"{len(message)} bytes where the layout describes {self.size}"
        rest = len(message) - self.records.at
        if rest < self.records.size or rest % self.records.size:
            return f"{len(message)} bytes are not {self.records.at} and whole records of {self.records.size}"
        if rest // self.records.size * len(self.first) > MOST:
            return TOO_MUCH
        return range(self.records.at, len(message), self.records.size)


def _takes(fields: Sequence[BinaryField], order: str) -> Mapping[str, Take]:
    return {field.name: _take(field, order) for field in fields}


def _take(field: BinaryField, order: str) -> Take:
    at, bit = field.at, field.bit
    if field.as_ == "text":
        return lambda message, start: message[start + at : start + at + field.length].partition(b"\0")[0]
    unpack = Struct(order + _CODES[field.as_]).unpack_from
    if bit is None:
        return lambda message, start: unpack(message, start + at)[0]
    return lambda message, start: bool(unpack(message, start + at)[0] >> bit & 1)


def _add(names: Sequence[str], found: Mapping[str, Any], head: tuple[int | None, int, str], out: Out) -> None:
    at, quality, unit = head
    for name in names:
        out.seen += 1
        value = found[name]
        key = Series(name, unit) if unit else name
        if type(value) is bytes:
            try:
                out.rows.append(Row(key, Kind.TEXT, value.decode(), at, quality))
            except UnicodeDecodeError:
                out.refuse(f"field {name[:60]!r}: not UTF-8")
        else:
            out.rows.append(Row(key, Kind.FLAG if type(value) is bool else Kind.NUMBER, value, at, quality))
