"""Staleness: a signal that said nothing for longer than its `stale_after` has no value any more, stored once as a fact.

One row without value, of the signal itself, at its last time plus `stale_after`: the moment from which nobody could know.
Its quality is BadNoData, not one of the uncertain "last usable value" codes (OPC 10000-4, 7.39), because those go with a
value, and the last value is never repeated here; not BadNoCommunication either, which says that the source was lost.

Silence is measured on our clock, between the arrival of a value and the ticks, because a machine's clock may be an hour
off; the row then gets its place on the machine's own time axis, behind the value that it ends. A machine that hands over
late what it had kept (its times have no hole) was not silent, unless a tick has already said so: what was stored stays,
because it was true when it was said. Between two ticks a silence ends with the next value and is told all the same, if
both clocks agree on it.

A row without value needs no second one. Rows that are historical on purpose (backfill) do not make a signal fresh.
Late rows: an older value that arrives late shows that the signal lives, and changes nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from pipelines import quality as q
from pipelines.batch import Batch, Flag
from pipelines.derivation import TICK, Derived, Made, Reads, Row, Signal, SnapshotError, rows_of
from pipelines.registry import Registry

NAME: Final = "stale"
VERSION: Final = 1
QUALITY: Final = q.BAD_NO_DATA


@dataclass(slots=True)
class _Last:
    """The newest value: which point, its time, when it arrived (ns, our clock), and whether it still counts."""

    point: int
    at: int
    arrived: int
    fresh: bool = True


class Stale:
    """The derivation `stale`. after: ns by (machine, signal)."""

    def __init__(self, registry: Registry, after: Mapping[Signal, int]) -> None:
        self._registry, self._after = registry, dict(after)
        self._last: dict[Signal, _Last] = {}
        self.name = NAME
        self.reads = Reads(frozenset(self._after))

    def feed(self, batches: Sequence[Batch]) -> Derived:
        made = Made(self._registry)
        for batch in batches:
            for row in rows_of(batch):
                self._row(row, made)
        return Derived(made.batches(), {})

    def _row(self, row: Row, made: Made) -> None:
        point = self._registry[row.point]
        signal = (point.machine, point.name)
        if signal == TICK:
            self._tick(row, made)
        elif signal in self._after and not row.flags & Flag.HISTORICAL:
            self._heard(signal, row, made)

    def _tick(self, tick: Row, made: Made) -> None:
        for signal, after in self._after.items():
            last = self._last.get(signal)
            if last is not None and last.fresh and tick.at - last.arrived >= after:
                self._end(last, after, tick.received, made)

    def _heard(self, signal: Signal, row: Row, made: Made) -> None:
        last, after = self._last.get(signal), self._after[signal]
        if not row.has_value:
            if last is not None:
                last.fresh = False
            return
        if last is not None and last.fresh and min(row.received - last.arrived, row.at - last.at) > after:
            self._end(last, after, row.received, made)
        newest = row.at if last is None else max(row.at, last.at)
        self._last[signal] = _Last(row.point, newest, row.received)

    def _end(self, last: _Last, after: int, received: int, made: Made) -> None:
        empty = self._registry[last.point].kind.empty
        made.put(last.point, last.at + after, empty, received=received, quality=QUALITY, flags=Flag.NO_VALUE)
        last.fresh = False

    def snapshot(self) -> bytes:
        signals = [[*signal, asdict(last)] for signal, last in sorted(self._last.items())]
        return json.dumps({"version": VERSION, "signals": signals}, separators=(",", ":")).encode()

    def restore(self, snapshot: bytes) -> None:
        try:
            kept = json.loads(snapshot)
            if kept["version"] != VERSION:
                raise SnapshotError(f"version {kept['version']} of the memory of staleness is not known")
            found = {(machine, name): _Last(**last) for machine, name, last in kept["signals"]}
        except (ValueError, TypeError, KeyError) as error:
            raise SnapshotError(f"the memory of staleness does not read back ({error})") from error
        self._last = {signal: last for signal, last in found.items() if signal in self._after}
