"""Which read entries a topic belongs to, and which point each of its values is.

A topic is looked up once and remembered: millions of messages come over few topics. A topic that no entry matches (left
over in a persistent session after the configuration changed) is refused into the quarantine, because the broker was told to keep it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from adapters.base import Bench
from adapters.mqtt.channel import Message
from adapters.mqtt.paths import parse_path
from adapters.mqtt.payloads.bare import BARE
from adapters.mqtt.payloads.document import adopting, listed
from adapters.mqtt.payloads.shape import Decode, Row
from adapters.mqtt.payloads.shdr import Items, shdr
from adapters.mqtt.settings import JsonPayload, MqttRead, MqttSignal, ShdrPayload
from adapters.mqtt.sheet import Cell, Sheet
from adapters.mqtt.times import reader
from adapters.mqtt.topics import Template
from adapters.settings import Reading, SignalSettings, intern
from pipelines.batch import Flag, Kind
from pipelines.registry import KindConflict, Registry

REMEMBERED = 10_000  # topics; beyond it the memory starts anew
NUMERIC = (Kind.NUMBER, Kind.INTEGER, Kind.UNSIGNED)
_RANGES = {Kind.INTEGER: (-(2**63), 2**63), Kind.UNSIGNED: (0, 2**64)}
_NO_KIND = "no value, and nothing is known yet of its kind: set the signal's kind (number, text, flag)"


class Target(NamedTuple):
    """Where the values of one key go. by_receipt: the signal wants the time of receipt whatever the wire says."""

    point: int
    kind: Kind
    by_receipt: bool


_TOO_MANY = "one signal more than adopt_limit allows: raise it, or list the signals"


class Adopted:
    """The series whose name or tags a message chose, counted together, for as long as the collector runs: strangers choose
    them, and a series that was stored once is in every database for ever.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._series: set[tuple[str, str, tuple[tuple[str, str], ...]]] = set()

    def closed_to(self, machine: str, name: str, tags: Mapping[str, str]) -> bool:
        """It would be one too many."""
        return len(self._series) >= self._limit and _series(machine, name, tags) not in self._series

    def admit(self, machine: str, name: str, tags: Mapping[str, str]) -> bool:
        if self.closed_to(machine, name, tags):
            return False
        self._series.add(_series(machine, name, tags))
        return True


def _series(machine: str, name: str, tags: Mapping[str, str]) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    return machine, name, tuple(sorted(tags.items()))


class Route:
    """One read entry, compiled."""

    def __init__(self, reading: Reading, registry: Registry, adopted: Adopted) -> None:
        self.read: MqttRead = reading.read
        self.machine, self.tags = reading.machine, reading.tags
        self.template: Template = self.read.template.bound(machine=reading.machine)
        self.registry, self.adopted = registry, adopted
        self.by_address: dict[str, MqttSignal] = {signal.address: signal for signal in self.read.signals}
        self.named = "signal" in self.template.names
        self._items = _items(self.read)

    @property
    def filters(self) -> Sequence[str]:
        """What to subscribe: the listed signals one by one where the topic names them, so that nothing else comes."""
        if not self.named or self.read.adopt:
            return (self.template.filter,)
        return tuple(self.template.bound(signal=signal.address).filter for signal in self.read.signals)

    def bind(self, topic: str) -> Binding | None:
        """This route for one topic, or None."""
        segments = self.template.match(topic)
        if segments is None:
            return None
        segment = segments.pop("signal", "")
        listed = self.by_address.get(segment)
        if self.named and listed is None and not self.read.adopt:
            return None
        signals = ([listed] if listed else []) if self.named else list(self.read.signals)
        return Binding(self, segments, segment, signals, self._decoder(signals))

    def _decoder(self, signals: Sequence[MqttSignal]) -> Decode:
        payload = self.read.payload
        if isinstance(payload, ShdrPayload):
            return shdr(self._items)
        if not isinstance(payload, JsonPayload):
            return BARE[payload.type]
        time = parse_path(payload.time) if payload.time else None
        if self.read.adopt and not signals:
            return adopting(time, reader(payload.time_unit))
        return listed([parse_path(signal.value) for signal in signals], time, reader(payload.time_unit))

    def default_kind(self, key: int | str) -> Kind | None:
        """The kind of a point whose first row has no value, where the payload's own rules tell it."""
        if not isinstance(self.read.payload, ShdrPayload) or isinstance(key, int):
            return None
        return Kind.NUMBER if self._items.is_number(key) else Kind.TEXT


def _items(read: MqttRead) -> Items:
    if not isinstance(read.payload, ShdrPayload):
        return Items()
    payload = read.payload
    exact = [signal.address for signal in read.signals if signal.kind in ("number", "integer", "unsigned")]
    return Items(payload.numbers, exact, payload.conditions, payload.messages, payload.time_series)


class Binding:
    """One route on one topic: bytes to rows of points."""

    def __init__(
        self,
        route: Route,
        chosen: Mapping[str, str],
        segment: str,
        signals: Sequence[MqttSignal],
        decode: Decode,
    ) -> None:
        """chosen: the tags that the topic names."""
        self.decode = decode
        self._route, self._tags, self._segment = route, {**route.tags, **chosen}, segment
        self._signals, self._chosen = signals, bool(chosen)
        self._shdr = route.read.payload.type == "shdr"
        self._targets: dict[int | str, Target] = {}

    def read(self, message: Message, where: str, stamp: int, sheet: Sheet) -> bool:
        """Adds what the message says; True if a row took the time of receipt."""
        decoded = self.decode(message.payload)
        sheet.decoded += decoded.seen
        reasons: Counter[str] = Counter()
        for refused in decoded.refused:
            reasons[refused.reason] += refused.values
        stamps = _Stamps(stamp, Flag.RETAINED if message.retain else 0)
        for row in decoded.rows:
            target = self._targets.get(row.key) or self._resolve(row)
            reason = _add(sheet, target, row, stamps) if isinstance(target, Target) else target
            if reason:
                reasons[reason] += 1
        if reasons:
            sheet.refuse(where, reasons, message.payload, stamp)
        return bool(stamps.used)

    def _resolve(self, row: Row) -> Target | str:
        """The target of a key that is met for the first time, or why there is none."""
        route, key = self._route, row.key
        if row.kind is not None and self._is_one_too_many(key):
            return _TOO_MANY
        signal = self._signal(key)
        known = route.registry.kind_of(route.machine, signal.name)
        native = row.kind or known or route.default_kind(row.key)
        if native is None and signal.kind is None:
            return _NO_KIND
        named_by_message = self._chosen or not isinstance(signal, MqttSignal)
        if named_by_message and not route.adopted.admit(route.machine, signal.name, self._tags):
            return _TOO_MANY
        try:
            point = intern(route.registry, route.machine, self._tags, signal, native or Kind.NUMBER)
        except KindConflict as conflict:
            return str(conflict)
        target = Target(point, route.registry[point].kind, signal.time == "receive")
        self._targets[row.key] = target
        return target

    def _is_one_too_many(self, key: int | str) -> bool:
        """Asked before anything is built for it: a payload may bring a hundred thousand of these."""
        route = self._route
        if not isinstance(key, str) or key in route.by_address:
            return False
        return route.adopted.closed_to(route.machine, self._name(key), self._tags)

    def _signal(self, key: int | str) -> SignalSettings:
        if isinstance(key, int):
            if self._signals:
                return self._signals[key]
            return SignalSettings(name=self._segment)
        if self._shdr and key in self._route.by_address:
            return self._route.by_address[key]
        return SignalSettings(name=self._name(key))

    def _name(self, key: str) -> str:
        return ".".join(part for part in (self._segment, key) if part)


def _add(sheet: Sheet, target: Target, row: Row, stamps: _Stamps) -> str:
    """Adds the row, or says why not."""
    at, flags = row.at, stamps.flags
    if at is None or target.by_receipt:
        receipt = stamps.next(target.point)
        if at is None:
            at, flags = receipt, flags | Flag.TIME_SUBSTITUTED
    kind, value = _on_the_wire(row, target.kind)
    if kind is None:
        kind, value, flags = target.kind, target.kind.empty, flags | Flag.NO_VALUE
    elif kind is Kind.WAVEFORM and target.kind is not Kind.WAVEFORM:
        return f"a list where a {target.kind.name.lower()} was expected (kind: waveform takes lists)"
    sheet.row(
        kind, Cell(target.point, at, value, row.quality, flags), stamps.base if target.by_receipt else 0
    )
    return ""


class _Stamps:
    """Times of receipt for the rows of one message: rows of one point get a nanosecond each."""

    def __init__(self, base: int, flags: int) -> None:
        self.base, self.flags = base, flags
        self.used: dict[int, int] = {}

    def next(self, point: int) -> int:
        n = self.used.get(point, 0)
        self.used[point] = n + 1
        return self.base + n


def _on_the_wire(row: Row, wanted: Kind) -> tuple[Kind | None, Any]:
    """The value in its kind; an integer stays exact where the point asks for integers and it fits."""
    if row.kind is Kind.NUMBER and type(row.value) is int:
        if wanted not in _RANGES:
            return Kind.NUMBER, float(row.value)
        low, high = _RANGES[wanted]
        if low <= row.value < high:
            return wanted, row.value
        return Kind.NUMBER, math.copysign(
            math.inf, row.value
        )  # its nearest double could fit, and be another number
    return row.kind, row.value


class Routes:
    """All read entries of one source."""

    def __init__(self, readings: Sequence[Reading], bench: Bench, adopted: Adopted) -> None:
        self._routes = [Route(reading, bench.registry, adopted) for reading in readings]
        self._bound: dict[bytes, tuple[str, tuple[Binding, ...]]] = {}

    @property
    def filters(self) -> dict[str, int]:
        """Every filter once, with the highest QoS that an entry asks for."""
        asked: dict[str, int] = {}
        for route in self._routes:
            for name in route.filters:
                asked[name] = max(asked.get(name, 0), route.read.qos)
        return asked

    def read(self, message: Message, stamp: int, sheet: Sheet) -> bool:
        """Adds what the message says to the sheet; True if a row took the time of receipt."""
        where, bindings = self._bound.get(message.topic) or self._bind(message.topic)
        problem = _problem(message, where, bindings)
        if problem:
            sheet.decoded += 1
            sheet.refuse(where, Counter([problem]), message.payload, stamp)
            return False
        used = False
        for binding in bindings:
            used |= binding.read(message, where, stamp, sheet)
        return used

    def _bind(self, topic: bytes) -> tuple[str, tuple[Binding, ...]]:
        if len(self._bound) >= REMEMBERED:
            self._bound.clear()
        where = topic.decode("utf-8", "backslashreplace")
        found: tuple[Binding, ...] = ()
        if where.encode("utf-8", "replace") == topic:
            bindings = [route.bind(where) for route in self._routes]
            found = tuple(binding for binding in bindings if binding is not None)
        self._bound[topic] = where, found
        return where, found


def _problem(message: Message, where: str, bindings: Sequence[Binding]) -> str:
    if message.size > len(message.payload):
        return f"a message of {message.size} bytes is larger than max_packet: raise it, or send less at once"
    if not bindings and where.encode("utf-8", "replace") != message.topic:
        return "the topic is not UTF-8: nothing can be matched with it"
    return (
        ""
        if bindings
        else "no read entry matches this topic (the broker kept it from an earlier configuration)"
    )
