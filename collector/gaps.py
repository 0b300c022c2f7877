"""Gap records as values: a known loss travels to every database like a measurement, so that a dashboard can show the hole.

A gap is stored first, in the transaction of the append (or of the deletion, or of the start) that knows of it. From there
the pseudo-source `collector` copies it behind the last one that it copied; how far it came is part of its checkpoint, which
is durable together with the copies. Hence every gap becomes points exactly once, whatever happens in between, and whoever
writes a gap record need not know of any of this. Not written in the same append, because some gaps (a dropped range, a
damaged file) are known where there is no append.

A source that has a gap repaired says so with a second record: the same times and machines, reason `repaired` or `repaired_in_part`. It
adds fields to the row of the first (`repaired`: values brought back, `repair`: what is to be said about it), and is no gap itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from collector.journal.base import NumberedGap, StoredGap
from pipelines.batch import FIELD, Batch, Kind, Point, batch_of
from pipelines.registry import Registry
from pipelines.stage import Gap

MEASUREMENT: Final = "collector_gap"
"""Type, and with the usual template the measurement, of the points of a gap."""

AT_ONCE: Final = 500
"""Gaps in one append."""

_LONGEST: Final = 500  # characters of a detail
_REPAIRED: Final = "repaired"
_NONE: Final[Mapping[int, int]] = MappingProxyType({})

_KINDS: Final = {
    "reason": Kind.TEXT,
    "from": Kind.INTEGER,
    "to": Kind.INTEGER,
    "count": Kind.INTEGER,
    "detail": Kind.TEXT,
    "machines": Kind.TEXT,
    "repaired": Kind.INTEGER,
    "repair": Kind.TEXT,
}


def downtime(alive: int, now: int) -> Gap:
    """Of the collector itself, between its last sign of life and its start; ns."""
    if now >= alive:
        return Gap(alive, now, "collector_down", "the collector was not running")
    words = "the collector was not running, and the computer's clock stands before its last sign of life"
    return Gap(now, alive, "collector_down", words)


def is_repair(gap: Gap) -> bool:
    return gap.reason.startswith(_REPAIRED)


def originals(new: Sequence[NumberedGap], known: Sequence[StoredGap]) -> dict[int, int]:
    """By the number of each repair among these the rank of the gap that it repaired, as far as that is known."""
    ranks: Counter[tuple[str, int]] = Counter()
    places: dict[tuple[str, int, int, tuple[str, ...]], int] = {}
    for source, _, gap in known:
        if not is_repair(gap):
            places[source, gap.begins, gap.ends, gap.machines] = ranks[source, gap.begins]
        ranks[source, gap.begins] += 1
    keys = {n.number: (n.source, n.gap.begins, n.gap.ends, n.gap.machines) for n in new if is_repair(n.gap)}
    return {number: places[key] for number, key in keys.items() if key in places}


def points_of(machine: str, source: str, field: str) -> Point:
    """`gap.<source>.<field>` of the collector's own machine; in InfluxDB the field of that name with the tag `source`."""
    unit = "ns" if field in ("from", "to") else ""
    tags = {"type": MEASUREMENT, "source": source, FIELD: field}
    return Point(machine, f"gap.{source}.{field}", _KINDS[field], unit, tags)


def batches_of(
    registry: Registry, machine: str, gaps: Sequence[NumberedGap], now: int, ranks: Mapping[int, int] = _NONE
) -> list[Batch]:
    """The rows of these gaps, at the time of each gap's beginning: one per field that is known. ranks: as `originals` gives."""
    rows: dict[Kind, list[tuple[int, int, Any]]] = defaultdict(list)
    for gap in gaps:
        fields = _mended(gap) if gap.number in ranks else _fields(gap)
        rank = ranks.get(gap.number, gap.rank)
        for field, value in fields:
            point = points_of(machine, gap.source, field)
            rows[point.kind].append((registry.intern(point), gap.gap.begins + rank, value))
    return [_batch(registry, kind, cells, now) for kind, cells in rows.items()]


def _mended(numbered: NumberedGap) -> Iterator[tuple[str, Any]]:
    gap = numbered.gap
    yield "repaired", gap.count or 0
    yield "repair", f"{gap.reason}: {gap.detail}"[:_LONGEST]


def _fields(numbered: NumberedGap) -> Iterator[tuple[str, Any]]:
    gap = numbered.gap
    yield "reason", gap.reason
    yield "from", gap.begins
    yield "to", gap.ends
    if gap.count is not None:
        yield "count", gap.count
    if gap.detail:
        yield "detail", gap.detail[:_LONGEST]
    if gap.machines:
        yield "machines", ", ".join(gap.machines)[:_LONGEST]


def _batch(registry: Registry, kind: Kind, cells: Sequence[tuple[int, int, Any]], now: int) -> Batch:
    points, at, values = zip(*cells, strict=True)
    return batch_of(kind, points, at, values, received=now, registry_version=registry.version)
