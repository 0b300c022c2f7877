"""Stored values as files that other programs read: CSV for people, JSON Lines for scripts, Parquet for analysis.

Times keep all nine digits and floats their shortest exact form, so that what is exported compares equal to what was stored.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from collector.words import time_words
from pipelines.batch import Flag, Kind
from pipelines.quality import class_of

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("time", "machine", "signal", "value", "unit", "kind", "quality", "status_code", "flags")
_KINDS = tuple(kind.name.lower() for kind in Kind)


def rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """One dictionary per value: time in ns since 1970 UTC, value None where there is none, flags as a list of words."""
    import pyarrow as pa

    wanted = ["machine", "signal", "at", "unit", "quality", "flags", *_KINDS]
    plain = table.select(wanted)
    plain = plain.set_column(wanted.index("at"), "at", plain.column("at").cast(pa.int64()))
    for batch in plain.to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            yield _row(row)


def _row(row: dict[str, Any]) -> dict[str, Any]:
    flags = Flag(row["flags"])
    kind = next((name for name in _KINDS if row[name] is not None), "")
    return {
        "time": row["at"],
        "machine": row["machine"],
        "signal": row["signal"],
        "value": None if flags & Flag.NO_VALUE or not kind else row[kind],
        "unit": row["unit"],
        "kind": kind,
        "quality": class_of(row["quality"]),
        "status_code": row["quality"],
        "flags": [flag.name.lower() for flag in Flag if flags & flag and flag.name],
    }


def write_table(table: pa.Table, output: Path | None, stream: TextIO) -> None:
    """Into the file, in the format of its ending (.csv, .jsonl, .parquet), or as CSV into the stream."""
    if output is None:
        _write_csv(table, stream)
    elif output.suffix == ".parquet":
        import pyarrow.parquet as pq

        pq.write_table(table, output, compression="zstd")
    else:
        with output.open("w", encoding="utf-8", newline="") as file:
            (_write_json_lines if output.suffix in (".jsonl", ".ndjson") else _write_csv)(table, file)


def _write_json_lines(table: pa.Table, stream: TextIO) -> None:
    stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows(table))


class _UnixLines:
    """Lines end with a newline alone, and yet texts with a carriage return are quoted: the writer quotes its own line end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        self._stream.write(line.removesuffix("\r\n") + "\n")


def _write_csv(table: pa.Table, stream: TextIO) -> None:
    writer = csv.writer(_UnixLines(stream), lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in rows(table):
        row["time"] = time_words(row["time"])
        row["value"] = cell(row["value"])
        row["flags"] = " ".join(row["flags"])
        row["status_code"] = f"0x{row['status_code']:08X}"
        writer.writerow([row[name] for name in COLUMNS])


def cell(value: Any) -> str:
    """A value as text that reads back exactly: true/false, shortest float, JSON list for waveforms, empty for none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, list) else str(value)
