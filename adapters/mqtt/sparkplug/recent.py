"""By what a repetition is recognised: marks of the last messages of a node, whatever their kind.

A mark is the checksum of the bytes, changed by kind and device: an int, because 64 of them per node are looked through with every message and
stand in every checkpoint.
"""

from __future__ import annotations

import struct
from typing import Final
from zlib import crc32

REMEMBERED: Final = 64


def salt(kind: str, device: str) -> int:
    """What changes the checksum of a message of this kind and device into its mark (exclusive or)."""
    return crc32(f"{kind}{device}".encode())


class Recent:
    """The last REMEMBERED, the oldest first."""

    __slots__ = ("marks",)

    def __init__(self) -> None:
        self.marks: dict[int, None] = {}

    def __contains__(self, mark: int) -> bool:
        return mark in self.marks

    def add(self, mark: int) -> None:
        marks = self.marks
        if mark in marks:
            del marks[mark]
        elif len(marks) >= REMEMBERED:
            del marks[next(iter(marks))]
        marks[mark] = None

    def dump(self) -> bytes:
        return struct.pack(f"<{len(self.marks)}I", *self.marks)

    def load(self, stored: bytes) -> None:
        for (mark,) in struct.iter_unpack("<I", stored[: len(stored) // 4 * 4]):
            self.add(mark)
