"""What a start must do before it builds on a file that somebody else left behind (fault matrix D3).

A process that died of a failed flush leaves pages that the kernel takes for written: they read back and are not on the
disk, and no later flush would bring them there. Whatever SQLite adds behind them, flushed or not, is lost with them in a
power cut, and a checkpoint from them can tear the file. So the log is written once more, in place, and flushed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

CHUNK: Final = 1024 * 1024


def renew(log: Path) -> None:
    """Make what reads back from this file durable. Does nothing if it is not there. Raises OSError."""
    if not log.exists() or log.stat().st_size == 0:
        return
    handle = os.open(log, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        at = 0
        while chunk := os.read(handle, CHUNK):
            os.lseek(handle, at, os.SEEK_SET)
            at += os.write(handle, chunk)
            os.lseek(handle, at, os.SEEK_SET)
        os.fsync(handle)
    finally:
        os.close(handle)


def read_whole(path: Path, suspect: Path) -> None:
    """Raises OSError where the disk does not give the file at `path` or its log, and leaves the flag `suspect` behind.

    SQLite calls a file damaged when the disk refuses to read it. Then this start fails and only the next one decides: a
    cable that was loose for a moment must not cost the backlog.
    """
    try:
        for file in (path, Path(f"{path}-wal")):
            with suppress(FileNotFoundError), file.open("rb") as reading:
                while reading.read(CHUNK):
                    pass
    except OSError:
        suspect.touch()
        raise
