"""One file of a finished day. Apart from the archive, because DuckDB is needed once a day and takes 16 MB from being loaded on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from adapters.history.files import SPILL, File
from adapters.history.table import ROW_GROUP

CannotMerge = duckdb.Error


def merge(files: Sequence[File], draft: Path) -> None:
    """Sort several files into one by DuckDB, in bounded memory: a day can be larger than the memory of a small computer."""
    spill = draft.with_suffix(SPILL)
    with duckdb.connect(
        config={"memory_limit": "256MB", "threads": 1, "temp_directory": str(spill)}
    ) as database:
        database.execute("SET TimeZone = 'UTC'")
        everything = database.read_parquet([str(file.path) for file in files])
        everything.order('machine, signal, "at", seq').write_parquet(
            str(draft), compression="zstd", row_group_size=ROW_GROUP
        )
