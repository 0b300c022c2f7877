"""Reading sealed files: DuckDB in this process over the Parquet files, while the archive goes on writing others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from adapters.history.files import File, all_files, current
from adapters.history.table import SCHEMA, to_table

__all__ = ["SCHEMA", "HistoryFiles", "to_table"]

LOG = logging.getLogger("collector.history")
_ATTEMPTS = 5


class HistoryFiles:
    """The history in a folder, as it is at each call; None or a missing folder is an empty one."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def select(
        self,
        machine: str = "*",
        signal: str = "*",
        begins: int | None = None,
        ends: int | None = None,
        *,
        extra: pa.Table | None = None,
    ) -> pa.Table:
        """Rows (`SCHEMA`) by machine, signal and time, each (machine, signal, time) once: the lowest `seq`.

        machine, signal: globs (*, ?, [ab]), case matters. begins inclusive, ends exclusive: ns since 1970 UTC.
        extra: more rows of the same schema, such as the tail of the journal.
        """
        condition = _condition(machine, signal, begins, ends)
        for attempt in range(_ATTEMPTS):
            files = self._readable(whole=attempt > 1) if attempt else self._current()
            try:
                return _unique(_read(files, extra, condition))
            except duckdb.Error as error:
                if attempt == _ATTEMPTS - 1:
                    raise
                LOG.info("history: reading again, because a file was replaced or is damaged: %s", error)
        raise AssertionError("unreachable")

    def _current(self) -> list[File]:
        return [] if self._path is None else current(all_files(self._path))

    def _readable(self, *, whole: bool) -> list[File]:
        """Without files that are damaged (said aloud). Where one is gone (compacted or expired meanwhile), what is in its place
        is not in this list: the folder is looked at again. whole: read to their ends, and not their feet alone.
        """
        for _ in range(_ATTEMPTS):
            try:
                return [file for file in self._current() if _is_readable(file, whole=whole)]
            except FileNotFoundError as error:
                LOG.info("history: looking again, because a file was replaced: %s", error)
        return self._current()


def _is_readable(file: File, *, whole: bool) -> bool:
    """Raises FileNotFoundError if it is gone."""
    try:
        with pq.ParquetFile(file.path) as opened:
            for _ in opened.iter_batches() if whole else ():
                pass
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as error:
        LOG.warning("history: %s is damaged and left out: %s", file.path, error)
        return False
    return True


def _condition(machine: str, signal: str, begins: int | None, ends: int | None) -> duckdb.Expression:
    """What a row must satisfy, as an expression and not as text: a glob typed by a user is never SQL."""
    wanted = duckdb.ConstantExpression(True)
    for column, glob in (("machine", machine), ("signal", signal)):
        if glob != "*":
            wanted &= duckdb.FunctionExpression(
                "~~~", duckdb.ColumnExpression(column), duckdb.ConstantExpression(glob)
            )
    if begins is not None:
        wanted &= duckdb.ColumnExpression("at") >= _time(begins)
    if ends is not None:
        wanted &= duckdb.ColumnExpression("at") < _time(ends)
    return wanted


def _time(ns: int) -> duckdb.Expression:
    return duckdb.FunctionExpression("make_timestamp_ns", duckdb.ConstantExpression(ns)).cast(
        "TIMESTAMPTZ_NS"
    )


def _read(files: Sequence[File], extra: pa.Table | None, condition: duckdb.Expression) -> pa.Table:
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        rows = database.from_arrow(extra if extra is not None else SCHEMA.empty_table()).filter(condition)
        rows = rows.project(*SCHEMA.names)
        if files:
            sealed = database.read_parquet([str(file.path) for file in files]).filter(condition)
            rows = rows.union(sealed.project(*SCHEMA.names))
        found: pa.Table = rows.order('machine, signal, "at", seq').to_arrow_table()
        return found.cast(SCHEMA)


def _unique(table: pa.Table) -> pa.Table:
    """The first of each key, in a sorted table: a range may be seen both sealed and in the journal."""
    if table.num_rows < 2:
        return table
    keys = table.select(["machine", "signal", "at"]).combine_chunks()
    columns = [_plain(keys.column(name)) for name in keys.column_names]
    same = pa.array([True]).take(pa.array([0] * (table.num_rows - 1)))
    for column in columns:
        same = pc.and_(same, pc.equal(column.slice(1), column.slice(0, table.num_rows - 1)))
    return table.filter(pa.concat_arrays([pa.array([True]), pc.invert(same)]))


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """Dictionary entries by their number, which is enough to compare neighbours."""
    joined = column.unify_dictionaries().combine_chunks()
    array = joined.chunk(0) if isinstance(joined, pa.ChunkedArray) else joined
    return array.indices if pa.types.is_dictionary(array.type) else array
