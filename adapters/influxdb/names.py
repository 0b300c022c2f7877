"""What a point is called in InfluxDB: measurement, tags and field, cleaned and escaped once per point, not per value.

Backslashes, double quotes and control characters are forbidden in names instead of escaped: parsers disagree about them
(a newline in a tag made foreign measurements in InfluxDB 1.6, a trailing backslash another series, a quote opens a string
for some), so they become `/`, `'` and `_`. Two
points that would thereby get the same name are told apart here: the second one is refused, not mixed into the first.

Line protocol: https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/, special characters and reserved keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipelines.batch import FIELD, Kind, Point
from pipelines.registry import Registry

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_IN_KEYS = re.compile(r"([,= ])")
_IN_MEASUREMENTS = re.compile(r"([, ])")
_ESCAPED = re.compile(r"\\([,= ])")
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
_RESERVED = frozenset({"time", "_time", "_field", "_measurement", "_start", "_stop", "_value"})

QUALITY = "quality"
"""Measurement of the changes of quality."""

CANARY = "collector_canary"
"""Measurement of what is written only to be read back (canary.py)."""

TYPES: Mapping[Kind, str] = {
    Kind.NUMBER: "float",
    Kind.INTEGER: "integer",
    Kind.UNSIGNED: "unsigned",
    Kind.FLAG: "boolean",
    Kind.TEXT: "string",
    Kind.WAVEFORM: "string",
}
"""Type of the field by kind, in InfluxDB's words; API v1 has no unsigned one."""


def clean(name: str) -> str:
    """The name without what parsers disagree about."""
    return _CONTROL.sub("_", name.replace("\\", "/").replace('"', "'"))


def key(name: str) -> str:
    """A tag key, tag value or field key, escaped."""
    return _IN_KEYS.sub(r"\\\1", clean(name))


def measurement(name: str) -> str:
    """A measurement, escaped; a leading `#` would make a comment of the line."""
    return _IN_MEASUREMENTS.sub(r"\\\1", re.sub("^#", "_", clean(name)))


def tag_set(tags: Mapping[str, str]) -> str:
    """`,key=value` for every tag, sorted; empty ones do not exist in InfluxDB."""
    pairs = ((key(_free(name)), key(value)) for name, value in sorted(tags.items()))
    return "".join(f",{name}={value}" for name, value in pairs if name and value)


def _free(name: str) -> str:
    return f"{name}_" if name in _RESERVED else name


@dataclass(frozen=True, slots=True)
class Slot:
    """A field of a series: what one signal of one machine with one set of tags is written to."""

    machine: str
    signal: str
    kind: Kind
    field: str  # escaped key
    series: int
    quality: str  # measurement and tags of its changes of quality


@dataclass(slots=True)
class Names:
    """Slots of the registry's points, found once and kept: append-only like the registry itself.

    of_point: slot by point id, -1 for none. series_of, prefixes (`key=`), starts (series and prefix: how a line begins) and
    rank (by series, then slot): by slot.
    """

    registry: Registry
    template: str = "machine"
    slots: list[Slot] = field(default_factory=list)
    series: list[str] = field(default_factory=list)
    of_point: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    rank: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    series_of: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    prefixes: list[str] = field(default_factory=list)
    starts: list[str] = field(default_factory=list)
    _series_of: dict[str, int] = field(default_factory=dict)
    _slot_of: dict[tuple[int, str], int] = field(default_factory=dict)
    _machine_of: list[str] = field(default_factory=list)
    _measurements: list[str] = field(default_factory=list)
    _twins: dict[int, str | None] = field(default_factory=dict)
    unsigned: bool = True  # whether the API has unsigned integers

    def update(self) -> None:
        """Name the points that the registry has learned since the last call. A point without a free name gets -1."""
        fresh = self.registry.since(len(self.of_point))
        if not fresh:
            return
        found = np.fromiter((self._slot(point) for point in fresh), np.int64, len(fresh))
        self.of_point = np.concatenate([self.of_point, found])
        self.series_of = np.fromiter((slot.series for slot in self.slots), np.int64, len(self.slots))
        new = self.slots[len(self.prefixes) :]
        self.prefixes += [f"{slot.field}=" for slot in new]
        self.starts += [f"{self.series[slot.series]} {slot.field}=" for slot in new]
        self.rank = np.empty(len(self.slots), np.int64)
        self.rank[np.argsort(self.series_of, kind="stable")] = np.arange(len(self.slots))

    def points_of(self, slot: int) -> list[int]:
        """The ids of the points that are written there: a signal gets another one when its unit or a tag changes."""
        found: list[int] = np.flatnonzero(self.of_point == slot).tolist()
        return found

    def _slot(self, point: Point) -> int:
        tags = {**point.tags, "machine": point.machine}
        shown = tags.pop(FIELD, point.name)
        name = measurement(self._measurement(point))
        head = name + tag_set(tags)
        series = self._series_of.setdefault(head, len(self.series))
        if series == len(self.series):
            self.series.append(head)
            self._machine_of.append(point.machine)
            self._measurements.append(_ESCAPED.sub(r"\1", name))
        name = key(_free(f"{shown}_" if shown in tags else shown))
        taken = self._slot_of.setdefault((series, name), len(self.slots))
        if taken == len(self.slots):
            quality = QUALITY + tag_set({**tags, "signal": point.name})
            self.slots.append(Slot(point.machine, point.name, point.kind, name, series, quality))
        slot = self.slots[taken]
        same = (slot.machine, slot.signal) == (point.machine, point.name) and self._machine_of[
            series
        ] == point.machine
        return taken if same else -1

    def field_of(self, slot: int, *, twin: bool = False) -> tuple[str, str, str]:
        """Measurement, field (or twin field) and type of a slot, as the server words them: not escaped."""
        known = self.slots[slot]
        name = (self._twins.get(slot) or "") if twin else known.field
        return self._measurements[known.series], _ESCAPED.sub(r"\1", name), self.type_of(known.kind)

    def type_of(self, kind: Kind) -> str:
        return "integer" if kind is Kind.UNSIGNED and not self.unsigned else TYPES[kind]

    def twin(self, slot: int) -> str | None:
        """The key of the field that takes values of this slot's kind when its own field has another type in the database.

        `<signal>_<type>`, the type being that of the kind: so the same value always gets the same place. None if that
        is the name of another signal or tag.
        """
        if slot not in self._twins:
            known = self.slots[slot]
            wanted = f"{known.field}_{self.type_of(known.kind)}"
            owner = self._slot_of.setdefault((known.series, wanted), slot)
            free = owner == slot and f",{wanted}=" not in self.series[known.series]
            self._twins[slot] = wanted if free else None
        return self._twins[slot]

    def _measurement(self, point: Point) -> str:
        known = {**point.tags, "machine": point.machine}
        name = _PLACEHOLDER.sub(lambda match: known.get(match[1], ""), self.template) or "machine"
        return f"{name}_" if name in (QUALITY, CANARY) else name
