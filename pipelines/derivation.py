"""What is computed from stored values and stored like them: the promises, and the tools that every derivation shares.

A derivation is a pure fold over rows in the order of the journal. It has no clock: time is the time of the rows, and the
ticks among them (`TICK`, a point like any other, written by the collector itself), so that a machine that falls silent is
noticed and a shift closes, in a replay exactly as it was live. Ticks are rows and not a second argument of `feed`,
because their place among the rows is part of the input: there is one order, and nothing to keep in step.

Laws (tests/derive/test_laws.py, over every derivation)
  1. Any chunking of the same input gives the same output, row by row and point by point, and the same snapshot.
  2. `restore(snapshot())` at any place changes nothing of what follows.
  3. Every row that it makes has Flag.DERIVED; per output signal the times rise strictly or the row is a repetition.
  4. It never raises for data. A late row (older than what it was derived from) has a stated policy in its docstring; where
     it is left out, it is counted (Remark.LATE).
  5. It never sees what it made itself: `reads` names primary signals and other derivations, in a graph without circles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines import quality as q
from pipelines.batch import Batch, Flag, Kind, batch_of
from pipelines.registry import Registry
from pipelines.stage import Remark

Signal = tuple[str, str]
"""(machine, signal name)."""

TICK: Final[Signal] = ("collector", "tick")
"""INTEGER rows: the time is our clock's, the value says since when the collector runs (ns), so another value is a restart."""

PREFIX: Final = "derived."
"""The source and the follower of a derivation are named this and its name; no other source or sink may be."""


class Circular(ValueError):
    """Derivations that wait for each other, or for one that is not there."""


class SnapshotError(ValueError):
    """The bytes are no snapshot of a known version of this derivation, or were damaged: derive again from what is held."""


@dataclass(frozen=True, slots=True)
class Reads:
    """signals: rows of primary sources, by name. derivations: everything that these derive. Ticks come to everybody."""

    signals: frozenset[Signal]
    derivations: frozenset[str] = frozenset()


class Derived(NamedTuple):
    """What came of a feed: new rows, and what is to be counted in the derivation's account."""

    batches: Sequence[Batch]
    remarks: Mapping[Remark, int]


class Derivation(Protocol):
    """See the laws above. One object lives from a start (or a `restore`) to the end of its job."""

    @property
    def name(self) -> str: ...
    @property
    def reads(self) -> Reads: ...
    def feed(self, batches: Sequence[Batch]) -> Derived:
        """Take the next rows, in the order of the journal. Raises KindConflict when an output's name is taken."""
        ...

    def snapshot(self) -> bytes:
        """All that it remembers, versioned; equal for equal memories."""
        ...

    def restore(self, snapshot: bytes) -> None:
        """Go on where this was taken. Signals that are no longer configured are left out. Raises SnapshotError."""
        ...


def in_order(derivations: Sequence[Derivation]) -> list[Derivation]:
    """Those that are read before those that read them. Raises Circular with the names of the circle."""
    named = {derivation.name: derivation for derivation in derivations}
    done: dict[str, Derivation] = {}
    for name in named:
        _visit(name, named, done, ())
    return list(done.values())


def _visit(
    name: str, named: Mapping[str, Derivation], done: dict[str, Derivation], path: tuple[str, ...]
) -> None:
    if name in path:
        circle = " -> ".join((*path[path.index(name) :], name))
        raise Circular(f"derivations read each other in a circle: {circle}")
    if name not in named:
        raise Circular(f"{path[-1]} reads the derivation {name}, and there is none of that name")
    if name not in done:
        for read in sorted(named[name].reads.derivations):
            _visit(read, named, done, (*path, name))
        done[name] = named[name]


class Selection:
    """The rows of the journal that a derivation reads, by origin: by which source appended them, and by point."""

    def __init__(self, registry: Registry, reads: Reads) -> None:
        self._registry = registry
        self._signals = reads.signals | {TICK}
        self._sources = frozenset(PREFIX + name for name in reads.derivations)
        self._wanted: NDArray[np.bool_] = np.zeros(0, np.bool_)

    def __call__(self, source: str, batch: Batch) -> Batch | None:
        if source.startswith(PREFIX):
            return batch if source in self._sources else None
        self._follow()
        rows = self._wanted[batch.points]
        if rows.all():
            return batch
        return batch.take(rows) if rows.any() else None

    def _follow(self) -> None:
        if self._registry.version > len(self._wanted):
            new = self._registry.since(len(self._wanted))
            wanted = [(point.machine, point.name) in self._signals for point in new]
            self._wanted = np.concatenate([self._wanted, np.array(wanted, np.bool_)])


class Row(NamedTuple):
    """One row as plain Python: derivations look at few rows, and judge each one by its own history."""

    point: int
    at: int
    value: Any
    quality: int
    flags: int
    received: int

    @property
    def has_value(self) -> bool:
        return not self.flags & Flag.NO_VALUE


def rows_of(batch: Batch) -> Iterable[Row]:
    columns = (batch.points, batch.at, batch.values, batch.quality, batch.flags)
    for point, at, value, quality, flags in zip(*(column.tolist() for column in columns), strict=True):
        yield Row(point, at, value, quality, flags, batch.received)


@dataclass(slots=True)
class _Heap:
    """Rows of one kind that were made while one received batch was looked at."""

    kind: Kind
    received: int
    rows: list[tuple[int, int, Any, int, int]] = field(default_factory=list)


class Made:
    """New rows on their way into batches: order per point is kept, and `received` is that of the row they came of."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._heaps: list[_Heap] = []
        self._open: dict[Kind, _Heap] = {}

    def put(
        self, point: int, at: int, value: Any, *, received: int, quality: int = q.GOOD, flags: int = 0
    ) -> None:
        kind = self._registry[point].kind
        heap = self._open.get(kind)
        if heap is None or heap.received != received:
            heap = self._open[kind] = _Heap(kind, received)
            self._heaps.append(heap)
        heap.rows.append((point, at, value, quality, int(flags | Flag.DERIVED)))

    def batches(self) -> list[Batch]:
        return [self._batch(heap) for heap in self._heaps]

    def _batch(self, heap: _Heap) -> Batch:
        points, at, values, quality, flags = zip(*heap.rows, strict=True)
        return batch_of(
            heap.kind,
            points,
            at,
            values,
            received=heap.received,
            quality=quality,
            flags=flags,
            registry_version=self._registry.version,
        )
