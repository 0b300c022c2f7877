"""A file that is only there to take space: given back when the disk is full, it is the room in which the followers go on.

On a full disk not even a delete can be written, because it goes through the write-ahead log first. The ballast is larger
than that log plus one small delete, so that after it is gone the log can be moved into the file, rows can be deleted, and
their pages be used again: the file itself need not grow any more (fault matrix D1, D2).
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SIZE: Final = 4 * 1024 * 1024
DELETE: Final = 1024 * 1024
"""Bytes that a delete of 16 rows and the cursors of a few followers write into the log, generously."""


@dataclass(slots=True)
class Ballast:
    """size: bytes held now, 0 while it is given back."""

    path: Path
    size: int = 0

    @classmethod
    def of(cls, journal: Path) -> Ballast:
        path = journal.with_name(journal.name + ".ballast")
        return cls(path, path.stat().st_size if path.exists() else 0)

    def release(self) -> bool:
        """Give the space back; whether there was any."""
        had, self.size = self.size > 0, 0
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
        return had

    def hold(self, log: int, spare: int) -> None:
        """Take the space if the disk has twice as much to spare, so that taking it fills nothing.

        log: bytes of the write-ahead log. spare: bytes of the disk that are to stay free besides.
        """
        wanted = max(SIZE, 2 * log + DELETE)
        if self.size >= wanted - DELETE:
            return
        if shutil.disk_usage(self.path.parent).free < spare + 2 * (wanted - self.size):
            return
        try:
            _fill(self.path, wanted)
            self.size = wanted
        except OSError:
            self.release()


def _fill(path: Path, size: int) -> None:
    with ExitStack() as stack:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        stack.callback(os.close, handle)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle, 0, size)
        else:
            _write(handle, size)


def _write(handle: int, size: int) -> None:
    """Bytes that no file system makes small, where there is no call to reserve them."""
    left = size
    while left > 0:
        left -= os.write(handle, os.urandom(min(left, 1 << 20)))
