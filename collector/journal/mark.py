"""The high-water mark: the last durable position, kept outside the database (fault matrix D7, D8).

A flipped bit in the write-ahead log makes SQLite ignore all that follows it, silently; a deleted file begins again at 1.
Both are seen at the next start, because the mark is then ahead of the file. It is written after every commit and never
synced: it may lag after a power cut, which tells less and never something wrong, and it costs no flush.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

_RECORD = struct.Struct("<4sQQ16sQI")
_MAGIC = b"SFM2"
_FIRST = struct.Struct("<4sQQ16sI")
"""Of format 1 and 2 of the journal: without `booked`."""


class HighWater(NamedTuple):
    """position: of the last durable append. total: values up to it. store: the id of the journal that it speaks of.
    booked: how many appends there were, those without values included.
    """

    position: int
    total: int
    store: str
    booked: int = 0


@dataclass(slots=True)
class Mark:
    """The open file of the mark. Errors of writing it are the caller's I/O errors."""

    handle: int

    @classmethod
    def open(cls, path: Path) -> Self:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        return cls(os.open(mark_path(path), flags, 0o600))

    def write(self, high: HighWater) -> None:
        body = _RECORD.pack(_MAGIC, high.position, high.total, high.store.encode(), high.booked, 0)[:-4]
        os.lseek(self.handle, 0, os.SEEK_SET)
        os.write(self.handle, body + struct.pack("<I", zlib.crc32(body)))

    def close(self) -> None:
        os.close(self.handle)


def mark_path(path: Path) -> Path:
    return path.with_name(path.name + ".mark")


def read_mark(path: Path) -> HighWater | None:
    """What the mark of the journal at `path` says; None if there is none or it does not read back whole."""
    try:
        record = mark_path(path).read_bytes()
    except FileNotFoundError:
        return None
    if len(record) < 4 or zlib.crc32(record[:-4]) != struct.unpack("<I", record[-4:])[0]:
        return None
    if len(record) == _FIRST.size:
        _, position, total, store, _ = _FIRST.unpack(record)
        booked = 0
    elif len(record) == _RECORD.size:
        _, position, total, store, booked, _ = _RECORD.unpack(record)
    else:
        return None
    return HighWater(position, total, store.rstrip(b"\0").decode(errors="replace"), booked)
