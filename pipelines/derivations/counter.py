"""Counters into increments: what was made between two readings, whatever the counter did meanwhile.

A counter's value depends on when it was last set to zero; its increments can be added up over any shift, order or month.
The rules are those of the field: a rise is the increment; a fall from the last tenth of the declared width to its first
tenth is a rollover (16, 32 or 64 bits); any other fall is a reset, and what was counted since is the increment. With a
signal for rework, a fall that leaves at least half is a correction by hand and not a reset: it is reported there, as a
positive number, and never subtracted from the increments.

The first reading gives no increment: nobody knows what came before. What was counted while readings were missing (source
lost, no value, quality not good, queue overflow at the server, collector not running) is an increment like any other,
because the amount is known; it bears Flag.DURING_GAP, because the time is not. An increment of 0 is not stored, unless it
says that nothing was made during a gap.

Outputs, in the machine of the counter, with its unit, tags and kind: `<name>`; `<rework>` if configured; and texts in
`<name>_event`, whenever there is something to say: `reset`, `rollover`, `correction`, `during_gap`, `out_of_range`.

Late rows (not newer than the last reading) are ignored and counted: what they could add is in the next increment already.
So while a machine's clock is set back, its increments wait and then come as one. Only good values are readings: a value
of doubtful quality could fake a reset. Sums of NUMBER counters are as exact as float64 adds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Final, NamedTuple

from pipelines import quality as q
from pipelines.batch import Batch, Flag, Kind, Point
from pipelines.derivation import TICK, Derived, Made, Reads, Row, Signal, SnapshotError, rows_of
from pipelines.registry import Registry
from pipelines.stage import Remark

NAME: Final = "counter"
VERSION: Final = 1
EVENT: Final = "_event"
INHERITED: Final = Flag.TIME_SUBSTITUTED | Flag.HISTORICAL
_HIGHEST: Final = {Kind.INTEGER: 2**63 - 1, Kind.UNSIGNED: 2**64 - 1, Kind.NUMBER: math.inf}

Number = int | float


@dataclass(frozen=True, slots=True)
class Counter:
    """A signal that counts. increments: name of the output. width: bits at which it rolls over. rework: '' = none."""

    machine: str
    signal: str
    increments: str
    width: int | None = None
    rework: str = ""

    @property
    def outputs(self) -> tuple[str, ...]:
        return (self.increments, self.increments + EVENT, *((self.rework,) if self.rework else ()))


class Step(NamedTuple):
    """What lies between two readings. Counts are never negative; event: '' = nothing to say."""

    made: Number
    reworked: Number = 0
    event: str = ""


def step(old: Number, new: Number, width: int | None, *, rework: bool) -> Step:
    """The rules above, for two readings (semantics: shop-floor counters, rule 10)."""
    if new >= old:
        return Step(new - old)
    if width is not None and 9 << width < 10 * old < 10 << width and 10 * new < 1 << width and new >= 0:
        return Step(new + (1 << width) - old, event="rollover")
    if rework and 2 * new >= old > 0:
        return Step(0, old - new, "correction")
    return Step(max(new, 0), event="reset")


@dataclass(slots=True)
class _Reading:
    """The last good reading of a counter. gap: whether readings may be missing since."""

    value: Number | None = None
    at: int = 0
    unit: str = ""
    gap: bool = False


class _Outputs(NamedTuple):
    made: int
    event: int
    rework: int | None


class Counters:
    """The derivation `counter`, for all counters of a configuration."""

    def __init__(self, registry: Registry, counters: Iterable[Counter]) -> None:
        self._registry = registry
        self._counters: dict[Signal, Counter] = {(c.machine, c.signal): c for c in counters}
        self._readings: dict[Signal, _Reading] = {}
        self._outputs: dict[int, _Outputs] = {}
        self._up_since: int | None = None
        self.name = NAME
        self.reads = Reads(frozenset(self._counters))

    def feed(self, batches: Sequence[Batch]) -> Derived:
        made, remarks = Made(self._registry), dict.fromkeys((Remark.LATE, Remark.UNCASTABLE), 0)
        for batch in batches:
            for row in rows_of(batch):
                remark = self._row(row, batch.kind, made)
                if remark is not None:
                    remarks[remark] += 1
        return Derived(made.batches(), {remark: count for remark, count in remarks.items() if count})

    def _row(self, row: Row, kind: Kind, made: Made) -> Remark | None:
        point = self._registry[row.point]
        signal = (point.machine, point.name)
        if signal == TICK:
            self._tick(row.value)
            return None
        counter = self._counters.get(signal)
        if counter is None:
            return None
        return self._read(row, kind, counter, self._readings.setdefault(signal, _Reading()), made)

    def _tick(self, up_since: int) -> None:
        """The collector was not running between two of its lives: whatever was counted then, nobody saw when."""
        if self._up_since not in (None, up_since):
            for reading in self._readings.values():
                reading.gap = True
        self._up_since = up_since

    def _read(self, row: Row, kind: Kind, counter: Counter, last: _Reading, made: Made) -> Remark | None:
        if kind not in _HIGHEST:
            last.gap = True
            return Remark.UNCASTABLE
        if not _is_reading(row):
            last.gap = True
            return None
        if last.value is not None and row.at <= last.at:
            return Remark.LATE
        point = self._registry[row.point]
        if row.quality & q.OVERFLOW == q.OVERFLOW:
            last.gap = True
        if last.value is not None and last.unit == point.unit:
            self._emit(row, kind, counter, last, made)
        last.value, last.at, last.unit, last.gap = row.value, row.at, point.unit, False
        return None

    def _emit(self, row: Row, kind: Kind, counter: Counter, last: _Reading, made: Made) -> None:
        assert last.value is not None  # noqa: S101 - the caller looked
        went = step(last.value, row.value, counter.width, rework=bool(counter.rework))
        if max(went.made, went.reworked) > _HIGHEST[kind] or not math.isfinite(went.made):
            went = Step(0, event="out_of_range")
        outputs = self._outputs_of(row.point, counter)
        flags = row.flags & INHERITED | (Flag.DURING_GAP if last.gap else 0)
        if went.made or last.gap:
            made.put(outputs.made, row.at, went.made, received=row.received, flags=flags)
        if went.reworked and outputs.rework is not None:
            made.put(outputs.rework, row.at, went.reworked, received=row.received, flags=flags)
        event = ", ".join(filter(None, (went.event, "during_gap" if last.gap else "")))
        if event:
            made.put(outputs.event, row.at, event, received=row.received, flags=flags)

    def _outputs_of(self, counted: int, counter: Counter) -> _Outputs:
        if counted not in self._outputs:
            source, intern = self._registry[counted], self._registry.intern

            def like(name: str) -> int:
                return intern(Point(source.machine, name, source.kind, source.unit, source.tags))

            event = Point(source.machine, counter.increments + EVENT, Kind.TEXT, "", source.tags)
            rework = like(counter.rework) if counter.rework else None
            self._outputs[counted] = _Outputs(like(counter.increments), intern(event), rework)
        return self._outputs[counted]

    def snapshot(self) -> bytes:
        readings = [[*signal, asdict(reading)] for signal, reading in sorted(self._readings.items())]
        kept = {"version": VERSION, "up_since": self._up_since, "readings": readings}
        return json.dumps(kept, separators=(",", ":"), sort_keys=True).encode()

    def restore(self, snapshot: bytes) -> None:
        try:
            kept = json.loads(snapshot)
            if kept["version"] != VERSION:
                raise SnapshotError(f"version {kept['version']} of the counters' memory is not known")
            readings = {(m, s): _Reading(**reading) for m, s, reading in kept["readings"]}
            self._up_since = kept["up_since"]
        except (ValueError, TypeError, KeyError) as error:
            raise SnapshotError(f"the counters' memory does not read back ({error})") from error
        self._readings = {signal: r for signal, r in readings.items() if signal in self._counters}


def _is_reading(row: Row) -> bool:
    return row.has_value and row.quality < q.UNCERTAIN and math.isfinite(row.value)
