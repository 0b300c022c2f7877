"""One read entry on one topic: bytes to rows of points."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from adapters.mqtt.adopted import TOO_MANY
from adapters.mqtt.channel import Message
from adapters.mqtt.paths import Path, parse_path
from adapters.mqtt.payload_settings import JsonPayload
from adapters.mqtt.payloads.shape import Decode, Row, Series
from adapters.mqtt.quick import PLAIN, Place, Quick
from adapters.mqtt.settings import MqttSignal
from adapters.mqtt.sheet import Cell, Sheet
from adapters.settings import SignalSettings, intern
from pipelines.batch import Flag, Kind
from pipelines.registry import KindConflict

if TYPE_CHECKING:
    from adapters.mqtt.routes import Route

TRIES = 5  # messages of a topic that are looked at for a shorter way
_RANGES = {Kind.INTEGER: (-(2**63), 2**63), Kind.UNSIGNED: (0, 2**64)}
LONGEST_NAME = 200  # characters (SignalSettings.name)
_NO_NAME = f"the name of the signal is empty or longer than {LONGEST_NAME} characters: list the signal, or change the topic"
_NO_KIND = "no value, and nothing is known yet of its kind: set the signal's kind (number, text, flag)"


class Target(NamedTuple):
    """Where the values of one key go. by_receipt: the signal wants the time of receipt whatever the wire says."""

    point: int
    kind: Kind
    by_receipt: bool


def _can_be_quick(payload: Any) -> bool:
    return isinstance(payload, JsonPayload) and payload.plain and _one_name(parse_path(payload.time))


def _one_name(path: Path) -> bool:
    return len(path) == 1 and isinstance(path[0], str)


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
        self._route, self._tags, self.segment = route, {**route.tags, **chosen}, segment
        self._signals, self._chosen = signals, bool(chosen)
        self._named = route.read.payload.names
        self._targets: dict[int | str | Series, Target] = {}
        self.quick: Quick | None = None
        self._tries = TRIES if _can_be_quick(route.read.payload) else 0

    def read(self, message: Message, where: str, stamp: int, sheet: Sheet) -> bool:
        """Adds what the message says; True if a row took the time of receipt."""
        decoded = self.decode(message.payload)
        sheet.decoded += decoded.seen
        reasons: Counter[str] = Counter()
        for refused in decoded.refused:
            reasons[refused.reason] += refused.values
        stamps = Stamps(stamp, Flag.RETAINED if message.retain else 0)
        for row in decoded.rows:
            target = self._targets.get(row.key) or self._resolve(row)
            reason = _add(sheet, target, row, stamps) if isinstance(target, Target) else target
            if reason:
                reasons[reason] += 1
        if reasons:
            sheet.refuse(where, reasons, message.payload, stamp)
        elif self._tries:
            self._tries -= 1
            self.quick = self._quicken([row.key for row in decoded.rows])
        return bool(stamps.used)

    def _quicken(self, keys: Sequence[int | str | Series]) -> Quick | None:
        """The shortest way for messages like this one, if there is one."""
        payload = self._route.read.payload
        if not isinstance(payload, JsonPayload):
            return None
        places = [self._place(key) for key in (range(len(self._signals)) if self._signals else keys)]
        known = [place for place in places if place is not None]
        if not known or len(known) < len(places) or len({place.path for place in known}) < len(known):
            return None
        time = str(parse_path(payload.time)[0])
        return Quick(known, time, payload.when(), whole=not self._signals)

    def _place(self, key: int | str | Series) -> Place | None:
        target = None if isinstance(key, Series) else self._targets.get(key)
        path = parse_path(self._signals[key].value if isinstance(key, int) else str(key)) if target else ()
        if target is None or target.by_receipt or target.kind not in PLAIN or not _one_name(path):
            return None
        return Place(path, target.point, target.kind)

    def _resolve(self, row: Row) -> Target | str:
        """The target of a key that is met for the first time, or why there is none."""
        route, series = self._route, row.key if isinstance(row.key, Series) else Series(row.key)
        key, tags = series.key, {**_renamed(series, self._tags), **self._tags}
        if row.kind is not None and self._is_one_too_many(series, tags):
            return TOO_MANY
        if not self._nameable(key):
            return _NO_NAME
        signal = self._signal(key)
        if series.unit:
            if signal.unit not in ("", series.unit):
                return f"the message says {series.unit!r} where the configuration says unit: {signal.unit}"
            signal = signal.model_copy(update={"unit": series.unit})
        known = route.registry.kind_of(route.machine, signal.name)
        native = row.kind or known or route.reader.default_kind(key)
        if native is None and signal.kind is None:
            return _NO_KIND
        named_by_message = (
            self._chosen or bool(series.tags or series.unit) or not isinstance(signal, MqttSignal)
        )
        if named_by_message and not route.adopted.admit(route.machine, signal.name, tags, signal.unit):
            return TOO_MANY
        try:
            point = intern(route.registry, route.machine, tags, signal, native or Kind.NUMBER)
        except KindConflict as conflict:
            return str(conflict)
        target = Target(point, route.registry[point].kind, signal.time == "receive")
        self._targets[row.key] = target
        return target

    def _is_one_too_many(self, series: Series, tags: Mapping[str, str]) -> bool:
        """Asked before anything is built for it: a payload may bring a hundred thousand of these."""
        route, key = self._route, series.key
        if not isinstance(key, str) or key in route.by_address:
            return False
        return route.adopted.closed_to(route.machine, self._name(key), tags, series.unit)

    def _nameable(self, key: int | str) -> bool:
        """A name that a topic or payload chose may be none, or longer than a signal's name can be."""
        if isinstance(key, int):
            return bool(self._signals) or 0 < len(self.segment) <= LONGEST_NAME
        return key in self._route.by_address or 0 < len(self._name(key)) <= LONGEST_NAME

    def _signal(self, key: int | str) -> SignalSettings:
        if isinstance(key, int):
            if self._signals:
                return self._signals[key]
            return SignalSettings(name=self.segment)
        if self._named and key in self._route.by_address:
            return self._route.by_address[key]
        return SignalSettings(name=self._name(key))

    def _name(self, key: str) -> str:
        return ".".join(part for part in (self.segment, key) if part)


def _renamed(series: Series, ours: Mapping[str, str]) -> dict[str, str]:
    """Tags of a payload; where one bears a name that says where we are, it is not believed but kept aside."""
    taken = {"machine", *ours}
    return {f"payload_{key}" if key in taken else key: text for key, text in series.tags}


def _add(sheet: Sheet, target: Target, row: Row, stamps: Stamps) -> str:
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


class Stamps:
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
