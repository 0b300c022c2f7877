"""The decoder of a read entry: which one its payload settings ask for, made ready for the signals it lists."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.mqtt.paths import parse_path
from adapters.mqtt.payload_settings import (
    AnyPayload,
    BinaryPayload,
    CborPayload,
    CsvPayload,
    DocumentPayload,
    LinePayload,
    MessagePackPayload,
    ShdrPayload,
)
from adapters.mqtt.payloads.bare import BARE
from adapters.mqtt.payloads.binary import layout
from adapters.mqtt.payloads.cbor import parse_cbor
from adapters.mqtt.payloads.compressed import inflating
from adapters.mqtt.payloads.csvrows import kind_of_column, rows
from adapters.mqtt.payloads.document import Parse, adopting, listed, parse_json
from adapters.mqtt.payloads.lineprotocol import lines
from adapters.mqtt.payloads.messagepack import parse_messagepack
from adapters.mqtt.payloads.records import Plan, recording
from adapters.mqtt.payloads.shape import Decode
from adapters.mqtt.payloads.shdr import Items, shdr
from adapters.mqtt.settings import MqttRead, MqttSignal
from pipelines.batch import Kind


class Reader:
    """How one read entry reads payloads. wanted: the names that are taken where the payload names its signals; None: all."""

    def __init__(self, read: MqttRead) -> None:
        self.payload: AnyPayload = read.payload
        self.adopt = read.adopt
        addresses = [signal.address for signal in read.signals]
        self.wanted = None if read.adopt else frozenset(addresses)
        self.kinds = {signal.address: signal.kind for signal in read.signals if signal.kind is not None}
        self.items = _items(read)

    def decoder(self, signals: Sequence[MqttSignal]) -> Decode:
        return inflating(self._decoder(signals), self.payload.compression)

    def _decoder(self, signals: Sequence[MqttSignal]) -> Decode:
        payload = self.payload
        if isinstance(payload, DocumentPayload):
            return self._document(payload, signals)
        if isinstance(payload, ShdrPayload):
            return shdr(self.items)
        if isinstance(payload, CsvPayload):
            return rows(payload, self.wanted, self.kinds)
        if isinstance(payload, LinePayload):
            return lines(payload.precision, self.wanted)
        if isinstance(payload, BinaryPayload):
            return layout(payload, self.wanted)
        return BARE[payload.type]

    def _document(self, payload: DocumentPayload, signals: Sequence[MqttSignal]) -> Decode:
        adopt = self.adopt and not signals
        paths = [parse_path(signal.value) for signal in signals]
        if (
            payload.each is not None
            or payload.names
            or payload.samples
            or payload.quality
            or payload.unit_from
        ):
            return recording(_parser(payload), Plan(payload, None if adopt else paths, self.wanted))
        time = parse_path(payload.time) if payload.time else None
        return (
            adopting(time, payload.when(), _parser(payload))
            if adopt
            else listed(paths, time, payload.when(), _parser(payload))
        )

    def default_kind(self, key: int | str) -> Kind | None:
        """The kind of a point whose first row has no value, where the payload's own rules tell it."""
        if isinstance(key, int):
            return None
        if isinstance(self.payload, CsvPayload):
            return kind_of_column(self.payload, key, self.kinds.get(key))
        if isinstance(self.payload, ShdrPayload):
            return Kind.NUMBER if self.items.is_number(key) else Kind.TEXT
        return None


def _parser(payload: DocumentPayload) -> Parse:
    if isinstance(payload, CborPayload):
        return parse_cbor
    return parse_messagepack if isinstance(payload, MessagePackPayload) else parse_json


def _items(read: MqttRead) -> Items:
    if not isinstance(read.payload, ShdrPayload):
        return Items()
    payload = read.payload
    exact = [signal.address for signal in read.signals if signal.kind in ("number", "integer", "unsigned")]
    return Items(payload.numbers, exact, payload.conditions, payload.messages, payload.time_series)
