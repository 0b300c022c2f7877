"""Sealed rows as batches again, file by file in bounded memory: for whoever writes them to a database once more.

Not through DuckDB, which would sort everything before the first row comes: the files are in the order of the journal, and
within a file the values of a signal are in the order of time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from adapters.history.files import File, all_files, current
from pipelines.batch import Batch, Flag, Kind, Point, batch_of
from pipelines.registry import Registry

AT_ONCE = 20_000
"""Rows in memory at a time, beside one row group of a file."""

_COLUMNS = {kind: kind.name.lower() for kind in Kind}


@dataclass(frozen=True, slots=True)
class Span:
    """What is wanted. first, last: positions, inclusive. begins, ends: times of the values (ns), inclusive and exclusive."""

    first: int
    last: int
    begins: int | None = None
    ends: int | None = None


class Gone(Exception):
    """A file was compacted or expired while it was read: look at the folder again."""


def damage() -> tuple[type[Exception], ...]:
    """What reading a damaged file raises."""
    return (OSError, pa.ArrowException)


@dataclass(frozen=True, slots=True)
class Replay:
    """The history in a folder. registry: what the points of the batches are numbered by; grows by points that it lacks."""

    folder: Path | None
    registry: Registry
    _known: dict[tuple[str, str, str, str, Kind | None], int] = field(default_factory=dict)

    def files(self, first: int) -> Sequence[File]:
        """Those that hold this position or later ones, in order."""
        found = [] if self.folder is None else current(all_files(self.folder))
        return [file for file in found if file.last >= first]

    def rows(self, file: File) -> int:
        try:
            return int(pq.read_metadata(file.path).num_rows)
        except (OSError, pa.ArrowException):
            return 0

    def batches(self, file: File, span: Span) -> Iterator[list[Batch]]:
        """The wanted rows of a file, every value under the point, time, quality and flags that it was stored with.

        Raises Gone, and pyarrow.ArrowException for a file that is damaged.
        """
        try:
            with pq.ParquetFile(file.path) as opened:
                for part in opened.iter_batches(AT_ONCE):
                    table = pa.Table.from_batches([part])
                    wanted = table.filter(_wanted(table, span))
                    if wanted.num_rows:
                        yield self._batches(wanted)
        except FileNotFoundError as error:
            raise Gone(str(file.path)) from error

    def _batches(self, table: pa.Table) -> list[Batch]:
        """One batch per kind; the rows of a point have one kind and keep their order."""
        kinds = _kinds(table)
        names = [table.column(name).to_pylist() for name in ("machine", "signal", "unit", "tags")]
        points = np.array([self._point(*row) for row in zip(*names, kinds.tolist(), strict=True)], np.int32)
        of_point = np.array([self.registry[point].kind for point in points.tolist()])
        return [
            _batch(kind, table.filter(pa.array(of_point == kind)), points[of_point == kind])
            for kind in sorted({Kind(k) for k in of_point.tolist()})
        ]

    def _point(self, machine: str, signal: str, unit: str, tags: str, kind: int) -> int:
        """kind: 0 for a row without value, whose kind only the registry knows."""
        real = Kind(kind) if kind else self.registry.kind_of(machine, signal) or Kind.NUMBER
        key = (machine, signal, unit, tags, real)
        if key not in self._known:
            self._known[key] = self.registry.intern(Point(machine, signal, real, unit, json.loads(tags)))
        return self._known[key]


def _wanted(table: pa.Table, span: Span) -> pa.Array:
    seq, at = table.column("seq"), table.column("at").cast(pa.int64())
    wanted = pc.and_(pc.greater_equal(seq, span.first), pc.less_equal(seq, span.last))
    if span.begins is not None:
        wanted = pc.and_(wanted, pc.greater_equal(at, span.begins))
    return wanted if span.ends is None else pc.and_(wanted, pc.less(at, span.ends))


def _kinds(table: pa.Table) -> NDArray[np.int8]:
    found = np.zeros(table.num_rows, np.int8)
    for kind, name in _COLUMNS.items():
        found[table.column(name).is_valid().to_numpy()] = kind
    return found


def _batch(kind: Kind, table: pa.Table, points: NDArray[np.int32]) -> Batch:
    flags = table.column("flags").to_numpy()
    column = table.column(_COLUMNS[kind])
    present = column.is_valid().to_numpy()
    server = _ns(table.column("server_at"))
    return batch_of(
        kind,
        points,
        _ns(table.column("at")),
        _values(kind, column, present),
        received=int(_ns(table.column("received")).max()),
        quality=table.column("quality").to_numpy(),
        flags=np.where(present, flags, flags | np.uint8(Flag.NO_VALUE)),
        server_at=server if server.any() else None,
    )


def _ns(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """0 where there is none."""
    return pc.fill_null(column.cast(pa.int64()), 0).to_numpy()  # type: ignore[no-any-return]


def _values(kind: Kind, column: pa.ChunkedArray, present: NDArray[np.bool_]) -> Any:
    if kind.dtype != object:
        return pc.fill_null(column, kind.empty).to_numpy()
    cells = column.to_pylist()
    return [cell if there else kind.empty for cell, there in zip(cells, present.tolist(), strict=True)]
