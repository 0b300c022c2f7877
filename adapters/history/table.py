"""Batches -> one Arrow table: the rows of the history, sorted so that a signal's values lie together.

Columns are joined over all batches before Arrow sees them: a range may hold a hundred thousand small batches, and a
table per batch would cost more than everything else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from adapters.base import Entry
from pipelines.batch import Batch, Kind, Point
from pipelines.registry import Registry

_TIME = pa.timestamp("ns", "UTC")
_NAME = pa.dictionary(pa.int32(), pa.string())

SCHEMA = pa.schema(
    [
        pa.field("seq", pa.int64(), nullable=False),  # position in the journal
        pa.field("machine", _NAME, nullable=False),
        pa.field("signal", _NAME, nullable=False),
        pa.field("at", _TIME, nullable=False),  # time of the value
        pa.field(
            "number", pa.float64()
        ),  # the value is in the column of its kind; all null: the row has none
        pa.field("integer", pa.int64()),
        pa.field("unsigned", pa.uint64()),
        pa.field("flag", pa.bool_()),
        pa.field("text", pa.string()),
        pa.field("waveform", pa.list_(pa.float64())),
        pa.field("quality", pa.uint32(), nullable=False),  # OPC UA status code
        pa.field("flags", pa.uint8(), nullable=False),  # pipelines.batch.Flag
        pa.field("server_at", _TIME),
        pa.field("received", _TIME, nullable=False),
        pa.field("unit", _NAME, nullable=False),
        pa.field("tags", _NAME, nullable=False),  # JSON object, keys sorted
    ]
)
"""Everything that a row of the journal says, in columns that any reader of Parquet understands."""

ROW_GROUP = 100_000
"""Rows whose minima and maxima let a reader skip them: some tens of kilobytes each."""


class _Named(NamedTuple):
    """ranks: place of each point in the order of machine and signal; points that differ only in unit or tags share one.
    columns: per column of names the different texts, and which of them each point has.
    """

    points: NDArray[np.intp]
    ranks: NDArray[np.intp]
    columns: dict[str, tuple[pa.Array, NDArray[np.int32]]]


@dataclass(slots=True)
class Names:
    """What points are called, kept from one table to the next: mostly the same ones come, and what a point is never changes."""

    registry: Registry
    _last: _Named | None = None

    def of(self, points: NDArray[np.intp]) -> _Named:
        if self._last is None or not np.array_equal(points, self._last.points):
            known = [self.registry[point] for point in points.tolist()]
            self._last = _Named(points, _ranks(known), _texts(known))
        return self._last


def to_table(registry: Registry, entries: Iterable[Entry], names: Names | None = None) -> pa.Table:
    """The rows of the entries by machine, signal, time and position; `SCHEMA`. names: of this registry, for who makes many."""
    listed = [entry for entry in entries if len(entry.batch)]
    if not listed:
        return SCHEMA.empty_table()
    batches = [entry.batch for entry in listed]
    lengths = np.array([len(batch) for batch in batches])
    seq = np.repeat(np.array([entry.position for entry in listed], np.int64), lengths)
    points, of_row = _numbered(np.concatenate([batch.points for batch in batches]))
    named = (names or Names(registry)).of(points)
    at = np.concatenate([batch.at for batch in batches])
    order = np.lexsort((seq, at, named.ranks[of_row]))
    columns = {
        "seq": pa.array(seq[order]),
        **_of_points(named, of_row[order]),
        "at": _times(at[order]),
        **_values(batches, lengths, order),
        "quality": pa.array(np.concatenate([batch.quality for batch in batches])[order]),
        "flags": pa.array(np.concatenate([batch.flags for batch in batches])[order]),
        "server_at": _server_times(batches, order),
        "received": _times(
            np.repeat(np.array([batch.received for batch in batches], np.int64), lengths)[order]
        ),
    }
    return pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def _numbered(points: NDArray[np.int32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The different points, ascending, and which of them each row has: `np.unique` without its sort of all rows."""
    places = np.zeros(int(points.max()) + 1, np.intp)
    places[points] = 1
    found = np.flatnonzero(places)
    places[found] = np.arange(len(found))
    return found, places[points]


def _ranks(known: Sequence[Point]) -> NDArray[np.intp]:
    names = [(point.machine, point.name) for point in known]
    places = {name: place for place, name in enumerate(sorted(set(names)))}
    return np.array([places[name] for name in names], np.intp)


def _key(point: Point) -> tuple[tuple[str, str], ...]:
    return tuple(point.tags.items())


def _texts(known: Sequence[Point]) -> dict[str, tuple[pa.Array, NDArray[np.int32]]]:
    different = {_key(point) for point in known}  # few: those of machines and not of signals
    tags = {key: json.dumps(dict(key), sort_keys=True, ensure_ascii=False) for key in different}
    texts = {
        "machine": [point.machine for point in known],
        "signal": [point.name for point in known],
        "unit": [point.unit for point in known],
        "tags": [tags[_key(point)] for point in known],
    }
    return {name: _dictionary(cells) for name, cells in texts.items()}


def _dictionary(cells: Sequence[str]) -> tuple[pa.Array, NDArray[np.int32]]:
    """Each different text once: Parquet readers expect the entries of a dictionary to differ."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(cells))}
    return _strings(list(numbers)), np.array([numbers[text] for text in cells], np.int32)


def _of_points(named: _Named, of_row: NDArray[np.intp]) -> dict[str, pa.Array]:
    return {
        name: pa.DictionaryArray.from_arrays(pa.array(numbers[of_row]), texts)
        for name, (texts, numbers) in named.columns.items()
    }


def _times(ns: NDArray[np.int64], absent: NDArray[np.bool_] | None = None) -> pa.Array:
    """As they are: `cast` would load pyarrow's functions for computing, 9 MB that nothing else here needs."""
    return pa.array(ns, mask=absent).view(_TIME)


def _server_times(batches: Sequence[Batch], order: NDArray[np.intp]) -> pa.Array:
    """0 where a row lacks a server time, whole batches included."""
    columns = [np.zeros(len(b), np.int64) if b.server_at is None else b.server_at for b in batches]
    ns = np.concatenate(columns)[order]
    return _times(ns, ns == 0)


def _values(batches: Sequence[Batch], lengths: NDArray[Any], order: NDArray[np.intp]) -> dict[str, pa.Array]:
    """A column per kind, null where the row is of another kind or has no value; a kind that is not there costs nothing."""
    ends, here = np.cumsum(lengths), {batch.kind for batch in batches}
    return {
        name: _column(kind, batches, ends, order)
        if kind in here
        else pa.nulls(len(order), SCHEMA.field(name).type)
        for kind, name in ((kind, kind.name.lower()) for kind in Kind)
    }


def _column(kind: Kind, batches: Sequence[Batch], ends: NDArray[Any], order: NDArray[np.intp]) -> pa.Array:
    n = len(order)
    cells: NDArray[Any] = np.full(n, None if kind.dtype == object else kind.empty, kind.dtype)
    present = np.zeros(n, np.bool_)
    for batch, end in zip(batches, ends.tolist(), strict=True):
        if batch.kind is kind:
            cells[end - len(batch) : end] = batch.values
            present[end - len(batch) : end] = batch.has_value
    return _arrow(kind, cells[order], present[order])


def _arrow(kind: Kind, cells: NDArray[Any], present: NDArray[np.bool_]) -> pa.Array:
    if kind is Kind.TEXT:
        return _strings(
            [cell if there else None for cell, there in zip(cells.tolist(), present.tolist(), strict=True)]
        )
    if kind is Kind.WAVEFORM:
        return _waveforms(cells, present)
    return pa.array(cells, mask=~present)


def _strings(texts: list[Any]) -> pa.Array:
    """Lone surrogates are no Unicode and cannot be stored: they become their escapes."""
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:
        safe = [None if text is None else text.encode(errors="backslashreplace").decode() for text in texts]
        return pa.array(safe, pa.string())


def _waveforms(cells: NDArray[Any], present: NDArray[np.bool_]) -> pa.Array:
    waves = [wave if there else np.zeros(0) for wave, there in zip(cells, present, strict=True)]
    offsets = np.concatenate([[0], np.cumsum([len(wave) for wave in waves])]).astype(np.int32)
    values = np.concatenate(waves).astype(np.float64)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values), mask=pa.array(~present))
