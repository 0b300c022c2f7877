"""Refining said plainly: one value at a time, no arrays. The oracle of test_refinery.py."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipelines import quality as q
from pipelines.batch import Batch, Flag, Kind
from pipelines.registry import Registry
from pipelines.stage import Treatments

DAY = 86_400 * 10**9
YEAR_1990 = 631_152_000 * 10**9
YEAR_2020 = 1_577_836_800 * 10**9
NUMERIC = (Kind.NUMBER, Kind.INTEGER, Kind.UNSIGNED)
LOST = object()


@dataclass
class Row:
    kind: Kind
    point: int
    at: int
    value: Any
    quality: int
    flags: int
    server_at: int | None = None
    moved: int = 0

    @property
    def present(self) -> bool:
        return not self.flags & Flag.NO_VALUE

    def bad(self, code: int) -> None:
        if not self.quality >> 31:
            self.quality = code

    def blank(self, code: int) -> None:
        self.bad(code)
        self.flags |= Flag.NO_VALUE


def rows_of(batch: Batch) -> list[Row]:
    server = [None] * len(batch) if batch.server_at is None else batch.server_at.tolist()
    moved = [0] * len(batch) if batch.moved is None else batch.moved.tolist()
    columns = (batch.points, batch.at, batch.values, batch.quality, batch.flags)
    cells = zip(*(column.tolist() for column in columns), server, moved, strict=True)
    return [Row(batch.kind, *cell) for cell in cells]


def visible(row: Row) -> tuple[Any, ...]:
    """What may be compared: a placeholder is nobody's business, floats by bits."""
    value = row.value if row.present else None
    if isinstance(value, float):
        value = value.hex() if not math.isnan(value) else "nan"
    if isinstance(value, np.ndarray):
        value = value.tobytes()
    return (row.kind, row.point, row.at, type(value), value, row.quality, row.flags, row.server_at, row.moved)


def to_kind(value: Any, kind: Kind) -> Any:
    wire_wave = isinstance(value, np.ndarray)
    if wire_wave or kind is Kind.WAVEFORM:
        return value if wire_wave and kind is Kind.WAVEFORM else LOST
    if kind is Kind.TEXT:
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, float) and value == int(value) and abs(value) < 2**53:
            return str(int(value))
        return str(value)
    if isinstance(value, str):
        if len(value) > 400:
            return LOST
        if kind is Kind.FLAG:
            word = value.strip().lower()
            return word in ("true", "on", "1") if word in ("true", "on", "1", "false", "off", "0") else LOST
        if not re.fullmatch(r"[-+0-9.eE]+|[-+]?(nan|inf|infinity)", value.strip().lower(), re.ASCII):
            return LOST
        try:
            value = int(value)
        except ValueError:
            try:
                value = float(value)
            except ValueError:
                return LOST
    if kind is Kind.NUMBER:
        return float(value)
    if isinstance(value, float) and (not math.isfinite(value) or value != int(value)):
        return LOST
    whole = int(value)
    if kind is Kind.FLAG:
        return bool(whole) if whole in (0, 1) else LOST
    low, high = (-(2**63), 2**63) if kind is Kind.INTEGER else (0, 2**64)
    return whole if low <= whole < high else LOST


@dataclass
class Model:
    registry: Registry
    treatments: Treatments
    given: dict[int, int] = field(default_factory=dict)
    last: dict[int, tuple[int, int, float]] = field(default_factory=dict)
    groups: dict[tuple[int, int], dict[Any, int]] = field(default_factory=dict)
    taken: set[tuple[int, int]] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)

    def refine(self, batch: Batch) -> list[Row]:
        return [row for raw in rows_of(batch) if (row := self.one(raw, batch.received)) is not None]

    def one(self, row: Row, received: int) -> Row | None:
        point = self.registry[row.point]
        treatment = self.treatments.of(point.machine, point.name)
        if row.flags & Flag.RETAINED and not treatment.keep_retained:
            return self.drop("retained")
        self.time(row, received, treatment.time)
        self.finite(row)
        scaled = (treatment.scale, treatment.offset) != (1.0, 0.0) and point.kind in (*NUMERIC, Kind.WAVEFORM)
        if scaled:
            self.cast(row, Kind.WAVEFORM if point.kind is Kind.WAVEFORM else Kind.NUMBER)
            self.finite(row)
            if row.present:
                with np.errstate(all="ignore"):
                    row.value = row.value * treatment.scale + treatment.offset
            self.finite(row)
        self.cast(row, point.kind)
        self.finite(row)
        self.holes(row)
        if row.present and point.kind in NUMERIC:
            low, high = treatment.low, treatment.high
            number = float(row.value)
            if (low is not None and number < low) or (high is not None and number > high):
                self.counts["out_of_range"] += 1
                row.bad(q.UNCERTAIN_LIMITS_EXCEEDED)
        band = treatment.deadband if point.kind in NUMERIC else 0.0
        return self.thin(row, band, treatment.min_interval)

    def times(self, point: int) -> int:
        """How many different base times of this point there were."""
        return sum(known == point for known, _ in self.groups)

    def drop(self, reason: str) -> Row | None:
        self.counts[reason] += 1
        return None

    def time(self, row: Row, received: int, wanted: str) -> None:
        top = received + DAY if received >= YEAR_2020 else 2**62
        given = row.at
        order = {
            "source": [row.at, row.server_at or 0],
            "server": [row.server_at or 0],
            "receive": [],
        }[wanted]
        chosen = next((k for k, time in enumerate(order) if YEAR_1990 <= time <= min(top, 2**62)), None)
        if chosen is None:
            row.at = max(received, self.given.get(row.point, -(2**70)) + 1)
            self.given[row.point] = row.at
        else:
            row.at = order[chosen]
        if received < YEAR_2020 and (chosen is None or given == received):
            self.counts["clock_untrusted"] += 1
            row.quality = row.quality if row.quality >> 30 else 0x00DC0000 + row.quality % 65536
        if wanted != "receive" and chosen != 0:
            row.flags |= Flag.TIME_SUBSTITUTED
        self.counts["time_substituted"] += bool(row.flags & Flag.TIME_SUBSTITUTED)

    def finite(self, row: Row) -> None:
        if row.present and isinstance(row.value, float) and not math.isfinite(row.value):
            self.counts["not_finite"] += 1
            row.blank(q.BAD_OUT_OF_RANGE)

    def holes(self, row: Row) -> None:
        if (
            row.present
            and isinstance(row.value, np.ndarray)
            and not all(map(math.isfinite, row.value.tolist()))
        ):
            self.counts["not_finite"] += 1
            row.bad(q.BAD_OUT_OF_RANGE)

    def cast(self, row: Row, kind: Kind) -> None:
        if row.kind is not kind and row.present:
            row.value = to_kind(row.value, kind)
            if row.value is LOST:
                self.counts["uncastable"] += 1
                row.blank(q.BAD_TYPE_MISMATCH)
        row.kind = kind

    def thin(self, row: Row, band: float, interval: int) -> Row | None:
        if band > 0 or interval > 0:
            known = self.last.get(row.point)
            if known is not None and row.flags & Flag.HISTORICAL and row.at < known[0]:
                return self.identify(row)
            value = float(row.value) if row.present and row.kind in NUMERIC else 0.0
            if known is not None and row.present and row.quality == known[1]:
                if abs(row.at - known[0]) < interval:
                    return self.drop("interval")
                if band > 0 and abs(value - known[2]) <= band:
                    return self.drop("deadband")
            before = known[2] if known else math.nan
            self.last[row.point] = (row.at, row.quality, value if row.present else before)
        return self.identify(row)

    def identify(self, row: Row) -> Row | None:
        value = row.value.tobytes() if isinstance(row.value, np.ndarray) else row.value
        value = value.hex() if isinstance(value, float) else value
        what = (row.present and value, row.present, row.quality >> 16)
        group = self.groups.setdefault((row.point, row.at), {})
        if what in group:
            return self.drop("duplicate")
        key = max(group.values()) + 1 if group else row.at
        while (row.point, key) in self.taken:
            key += 1
        group[what] = key
        self.taken.add((row.point, key))
        if key != row.at:
            self.counts["shifted"] += 1
            row.flags |= Flag.SHIFTED
            row.moved = key - row.at
        row.at = key
        return row
