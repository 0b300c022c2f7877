"""Gap records as values: a known loss travels to every database like a measurement, so that a dashboard can show the hole.

A gap is stored first, in the transaction of the append (or of the deletion, or of the start) that knows of it. From there
the pseudo-source `collector` copies it behind the last one that it copied; how far it came is part of its checkpoint, which
is durable together with the copies. Hence every gap becomes points exactly once, whatever happens in between, and whoever
writes a gap record need not know of any of this. Not written in the same append, because some gaps (a dropped range, a
damaged file) are known where there is no append.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

from collector.journal.base import NumberedGap
from pipelines.batch import FIELD, Batch, Kind, Point, batch_of
from pipelines.registry import Registry

MEASUREMENT: Final = "collector_gap"
"""Type, and with the usual template the measurement, of the points of a gap."""

AT_ONCE: Final = 500
"""Gaps in one append."""

_LONGEST: Final = 500  # characters of a detail

_KINDS: Final = {
    "reason": Kind.TEXT,
    "from": Kind.INTEGER,
    "to": Kind.INTEGER,
    "count": Kind.INTEGER,
    "detail": Kind.TEXT,
    "machines": Kind.TEXT,
}


def points_of(machine: str, source: str, field: str) -> Point:
    """`gap.<source>.<field>` of the collector's own machine; in InfluxDB the field of that name with the tag `source`."""
    unit = "ns" if field in ("from", "to") else ""
    tags = {"type": MEASUREMENT, "source": source, FIELD: field}
    return Point(machine, f"gap.{source}.{field}", _KINDS[field], unit, tags)


def batches_of(registry: Registry, machine: str, gaps: Sequence[NumberedGap], now: int) -> list[Batch]:
    """The rows of these gaps, at the time of each gap's beginning: one per field that is known."""
    rows: dict[Kind, list[tuple[int, int, Any]]] = defaultdict(list)
    for gap in gaps:
        for field, value in _fields(gap):
            point = points_of(machine, gap.source, field)
            rows[point.kind].append((registry.intern(point), gap.gap.begins + gap.rank, value))
    return [_batch(registry, kind, cells, now) for kind, cells in rows.items()]


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
