"""The first hundred bytes of the file: what is the same in every journal is put right before SQLite looks at it.

A flipped bit there would make the file one of another program, of another page size, or no database at all, and a whole
backlog would be set aside for it (fault matrix D7). What differs in more than a few bits is not ours and left alone. The
number of pages is put right as well: SQLite would take what lies behind it for free.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Final

APPLICATION_ID: Final = 0x53464A4C  # "SFJL"; in the file's header, so that `file` and we can tell what it is
PAGE: Final = 2048  # small pages: a small commit rewrites whole pages, and flash wears by bytes written

_SIZE: Final = 100
_MAGIC: Final = b"SQLite format 3\0"
_SAME: Final = {
    0: _MAGIC + struct.pack(">HBBBBBB", PAGE, 2, 2, 0, 64, 32, 32),
    44: struct.pack(">I", 4),  # schema format
    56: struct.pack(">I", 1),  # UTF-8
    64: struct.pack(">II", 1, APPLICATION_ID),  # incremental vacuum
    72: bytes(20),
}
"""By offset (https://www.sqlite.org/fileformat2.html, 1.3)."""

_FEW: Final = 3
"""Bits; a file that is being created differs in more, and so does one of another program."""

_PAGES_AT: Final = 28


def mend(path: Path) -> bool:
    """Whether there was something to put right. Raises OSError."""
    if not path.exists() or path.stat().st_size < _SIZE:
        return False
    handle = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        found = os.read(handle, _SIZE)
        right = _right(found)
        distance = _distance(found, right)
        if distance > _FEW:
            return False
        right = _counted(right, path)
        if right != found:
            os.lseek(handle, 0, os.SEEK_SET)
            os.write(handle, right)
            os.fsync(handle)
        return right != found
    finally:
        os.close(handle)


def _right(found: bytes) -> bytes:
    right = bytearray(found)
    for at, content in _SAME.items():
        right[at : at + len(content)] = content
    return bytes(right)


def _distance(one: bytes, two: bytes) -> int:
    return sum((a ^ b).bit_count() for a, b in zip(one, two, strict=True))


def _counted(header: bytes, path: Path) -> bytes:
    """Only without a log, which would know better, and only one bit: a file that was cut off is not made whole by this."""
    log, size = Path(f"{path}-wal"), path.stat().st_size
    (told,) = struct.unpack_from(">I", header, _PAGES_AT)
    if (log.exists() and log.stat().st_size) or size % PAGE or (told ^ size // PAGE).bit_count() != 1:
        return header
    return header[:_PAGES_AT] + struct.pack(">I", size // PAGE) + header[_PAGES_AT + 4 :]
