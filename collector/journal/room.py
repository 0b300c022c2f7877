"""The bounds of the space that the journal may take, and what the system says when there is none."""

from __future__ import annotations

import errno
import sqlite3
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from collector.journal import books
from collector.journal.ballast import Ballast
from collector.journal.forecast import Forecast

LEAST_BYTES: Final = 256 * 1024
"""The tables, the books and the log of an empty buffer take half of this."""

_SHM_SIZE: Final = 4874
"""SQLITE_IOERR_SHMSIZE: the log's index did not get its space, which is a full disk too."""


@dataclass(slots=True)
class Room:
    """The bounds. drops: whether a full buffer drops its oldest. condition: what is wrong with the space, in words."""

    max_bytes: int
    min_free: int
    ballast: Ballast
    drops: bool = False
    condition: str | None = None
    slack: int = (
        0  # bytes that surely fit before anybody has to look again; looking costs a tenth of an append
    )
    forecast: Forecast = field(default_factory=Forecast)

    def __post_init__(self) -> None:
        if self.max_bytes < LEAST_BYTES:
            raise ValueError(f"max_bytes: at least {LEAST_BYTES}, for the buffer's own tables and books")

    @property
    def quarantine_bytes(self) -> int:
        """How much of what was refused is kept: a small buffer is for values."""
        return min(books.QUARANTINE_BYTES, self.max_bytes // 4)

    @property
    def gap_rows(self) -> int:
        return min(books.GAP_ROWS, max(1000, self.max_bytes // 2048))


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB" if size >= 1e7 else f"{size / 1e6:,.1f} MB"


def wal_bytes(path: Path) -> int:
    with suppress(FileNotFoundError):
        return Path(f"{path}-wal").stat().st_size
    return 0


def is_full(error: BaseException) -> bool:
    """Whether this says that the disk is full (wait), or that another program holds the file for a moment (wait)."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0)
        return code == _SHM_SIZE or code & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY)
    return isinstance(error, OSError) and error.errno == errno.ENOSPC
