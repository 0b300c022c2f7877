"""Decoded rows become batches: vectorised, one kind each, in the order of the wire for every point.

Rows of one kind are put back into wire order across layouts; a point whose server changes its type in mid-stream (rare)
makes the order across kinds matter too, and only then the rows are cut into runs of one kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adapters.opcua.blocks import SERVER, SERVER_PICO, SOURCE, SOURCE_PICO, STATUS, Block
from adapters.opcua.decode import Group, Rows
from adapters.opcua.gather import Wire, gather
from adapters.opcua.values import EPOCH_TICKS, Damaged
from pipelines import quality as q
from pipelines.batch import Batch, Flag, Kind, column

_MOST_TICKS: Final = (2**63 - 1) // 100 - 100
_NO_VALUE: Final = int(Flag.NO_VALUE)  # plain numbers: an enum member costs more than the operation on it
_TIME_SUBSTITUTED: Final = int(Flag.TIME_SUBSTITUTED)
_INFO_MASK: Final = 0x0C80  # InfoType and the Overflow bit (OPC 10000-4, tables 176 and 177)


class Segment(NamedTuple):
    """Rows of one kind by client handle; `at` and `server_at` are ns since 1970, 0 where the wire had none."""

    kind: Kind
    order: NDArray[np.int64]
    handles: NDArray[np.int64]
    at: NDArray[np.int64]
    values: NDArray[Any]
    quality: NDArray[np.uint32]
    flags: NDArray[np.uint8]
    server_at: NDArray[np.int64]

    def take(self, rows: NDArray[Any]) -> Segment:
        return Segment(self.kind, *(cells[rows] for cells in self[1:]))


@dataclass(slots=True)
class Columns:
    """What is known per client handle. wire: the kind that last came. last: the newest time handed over, ns, 0 if none."""

    points: NDArray[np.int32]
    wire: NDArray[np.int8]
    last: NDArray[np.int64]

    @classmethod
    def of(cls, size: int) -> Columns:
        return cls(np.full(size, -1, np.int32), np.full(size, Kind.NUMBER, np.int8), np.zeros(size, np.int64))

    def grow(self, more: int) -> None:
        new = Columns.of(more)
        self.points = np.concatenate((self.points, new.points))
        self.wire = np.concatenate((self.wire, new.wire))
        self.last = np.concatenate((self.last, new.last))


def segments(rows: Rows, table: Columns) -> Iterator[Segment]:
    """The rows by kind. Rows without a value take the kind that their point had last."""
    wires = [_of_block(block) for block in rows.blocks]
    wires += gather([*rows.pieces, *rows.loose.pieces()])
    wires += [_of_group(kind, group) for kind, group in rows.groups.items()]
    every = [s for s in (_known(_segment(wire), table, rows) for wire in wires) if len(s.handles)]
    typed = [s for s in every if not _silent(s)]
    silent = [s for s in every if _silent(s)]
    for segment in typed:
        table.wire[segment.handles] = segment.kind
    mixed = any(bool(np.any(table.wire[s.handles] != s.kind)) for s in typed)
    parts = [*typed, *(part for segment in silent for part in _by_kind(segment, table))]
    merged = [_merged(kind, parts) for kind in sorted({part.kind for part in parts})]
    yield from _runs(merged) if mixed else merged


def to_batch(segment: Segment, table: Columns, rows: Rows, version: int) -> Batch:
    """The segment as a batch; a row without any time of its own gets the receive time, one ns apart from its neighbours."""
    at, flags = segment.at, segment.flags
    if not at.all():
        at, flags = _timed(segment, rows)
    known = bool(segment.server_at.any())
    return Batch(
        kind=segment.kind,
        points=table.points[segment.handles],
        at=at,
        values=segment.values,
        quality=segment.quality,
        flags=flags,
        received=rows.arrivals[-1][1],
        server_at=segment.server_at if known else None,
        registry_version=version,
    )


def _timed(segment: Segment, rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    second = segment.at == 0
    at = np.where(second, segment.server_at, segment.at)
    flags = segment.flags | np.where(second, _TIME_SUBSTITUTED, 0).astype(np.uint8)
    timeless = at == 0
    at[timeless] = _received(rows, segment.order[timeless])
    return at, flags


def overflowed(quality: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Rows before which the server dropped values, because its queue was full."""
    full: NDArray[np.bool_] = np.equal(quality & _INFO_MASK, q.OVERFLOW)
    return full


def ticks_to_ns(ticks: NDArray[np.int64], picoseconds: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """100-ns ticks since 1601, with the tens of picoseconds behind them, as ns since 1970; 0 for none or out of range.

    0 and 1601 mean that there is no time (OPC 10000-6, 5.2.2.5); 1970-01-01T00:00:00 itself is taken for none too.
    """
    since = ticks - EPOCH_TICKS
    fits = (ticks > 0) & (np.abs(since) <= _MOST_TICKS)
    ns = np.where(fits, since, 0) * 100
    if picoseconds is None:
        return ns
    fine = np.where(picoseconds <= 9999, picoseconds, 0) // 100
    return np.where(fits, ns + fine, 0)


def _of_block(block: Block) -> Wire:
    records = block.records
    values = records["value"] != 0 if block.kind is Kind.FLAG else records["value"].astype(block.kind.dtype)
    order = np.arange(block.first, block.first + len(records))
    fields = {bit: records[str(bit)] for bit in block.fields}
    return Wire(block.kind, order, records["handle"].astype(np.int64), values, fields)


def _of_group(kind: Kind | None, group: Group) -> Wire:
    handles, values, status, source, source_pico, server, server_pico = zip(*group.rows, strict=True)
    fields: dict[int, NDArray[Any]] = {
        STATUS: np.array(status, np.uint32),
        SOURCE: np.array(source, np.int64),
        SOURCE_PICO: np.array(source_pico, np.int64),
        SERVER: np.array(server, np.int64),
        SERVER_PICO: np.array(server_pico, np.int64),
    }
    return Wire(kind, np.array(group.order, np.int64), np.array(handles, np.int64), values, fields)


def _segment(wire: Wire) -> Segment:
    n, fields = len(wire.handles), wire.fields

    def times(field: int, fine: int) -> NDArray[np.int64]:
        if field not in fields:
            return np.zeros(n, np.int64)
        behind = fields[fine].astype(np.int64) if fine in fields else None
        return ticks_to_ns(fields[field].astype(np.int64), behind)

    quality = fields[STATUS].astype(np.uint32) if STATUS in fields else np.zeros(n, np.uint32)
    return Segment(
        wire.kind or Kind.NUMBER,
        wire.order,
        wire.handles,
        times(SOURCE, SOURCE_PICO),
        np.zeros(n) if wire.kind is None else _values(wire.kind, wire.values, quality),
        quality,
        np.full(n, 0 if wire.kind else _NO_VALUE, np.uint8),
        times(SERVER, SERVER_PICO),
    )


def _values(kind: Kind, cells: Any, quality: NDArray[np.uint32]) -> NDArray[Any]:
    if kind is Kind.TEXT:
        cells = list(cells)
        for row in [n for n, cell in enumerate(cells) if type(cell) is Damaged]:
            quality[row] |= 0 if quality[row] >> 30 else q.UNCERTAIN
            cells[row] = str(cells[row])
    return column(kind, cells)


def _known(segment: Segment, table: Columns, rows: Rows) -> Segment:
    strangers = segment.handles >= len(table.points)
    if not strangers.any():
        return segment
    rows.strange.extend((int(h), "a value that nobody asked for", b"") for h in segment.handles[strangers])
    return segment.take(np.flatnonzero(~strangers))


def _silent(segment: Segment) -> bool:
    return bool(segment.flags[0] & _NO_VALUE)


def _by_kind(silent: Segment, table: Columns) -> Iterator[Segment]:
    kinds = table.wire[silent.handles]
    for number in np.unique(kinds):
        kind = Kind(number)
        part = silent.take(np.flatnonzero(kinds == number))
        empty: NDArray[Any] = column(kind, [kind.empty] * len(part.handles))
        yield part._replace(kind=kind, values=empty)


def _merged(kind: Kind, parts: Iterable[Segment]) -> Segment:
    same = [part for part in parts if part.kind is kind]
    if len(same) == 1:
        return same[0]
    same.sort(key=lambda part: int(part.order[0]))
    joined = Segment(kind, *(np.concatenate(cells) for cells in zip(*(s[1:] for s in same), strict=True)))
    if bool((np.diff(joined.order) > 0).all()):
        return joined
    return joined.take(np.argsort(joined.order, kind="stable"))


def _runs(merged: Sequence[Segment]) -> Iterator[Segment]:
    """Cut so that reading the pieces one after the other gives all rows in the order of the wire."""
    order = np.concatenate([s.order for s in merged])
    kinds = np.concatenate([np.full(len(s.order), s.kind) for s in merged])
    sorted_kinds = kinds[np.argsort(order, kind="stable")]
    starts = np.flatnonzero(np.diff(sorted_kinds, prepend=-1))
    taken = dict.fromkeys((s.kind for s in merged), 0)
    by_kind = {s.kind: s for s in merged}
    for start, stop in zip(starts, [*starts[1:], len(sorted_kinds)], strict=True):
        kind = Kind(sorted_kinds[start])
        first, taken[kind] = taken[kind], taken[kind] + int(stop - start)
        yield by_kind[kind].take(np.arange(first, taken[kind]))


def _received(rows: Rows, order: NDArray[np.int64]) -> NDArray[np.int64]:
    starts = np.array([start for start, _ in rows.arrivals], np.int64)
    stamps = np.array([stamp for _, stamp in rows.arrivals], np.int64)
    stamped: NDArray[np.int64] = stamps[np.searchsorted(starts, order, side="right") - 1] + order - starts[0]
    return stamped
