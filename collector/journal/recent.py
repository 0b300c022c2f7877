"""The newest entries as they were appended: who follows live is given these, and need not read and decode what was just encoded.

Only what is durable comes in, and only while its row is in the file: who reads here gets what the file would have given. Bounded, and
whoever is further behind reads the file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Final, NamedTuple

from adapters.base import Entry, Position
from collector.journal.following import Chunk
from pipelines.batch import Batch

VALUES: Final = 50_000
BYTES: Final = 2 * 1024 * 1024
"""Of their blobs (texts take room too) and of what every batch takes beside its values."""

OVERHEAD: Final = 1500
"""Bytes of a batch beside its values, measured: objects, and the heads of its columns. A source that says one value at a time would
otherwise have 31 MiB here in the end.
"""


class _Row(NamedTuple):
    position: Position
    entries: Sequence[Entry]
    values: int
    size: int


class Recent:
    """Rows without a hole between them."""

    def __init__(self) -> None:
        self._rows: deque[_Row] = deque()
        self._values = self._size = 0

    def add(self, position: Position, source: str, batches: Sequence[Batch], size: int) -> None:
        """The row at `position`. size: bytes of its blob."""
        entries = [Entry(position, batch, source) for batch in batches if len(batch)]
        values = sum(len(entry.batch) for entry in entries)
        size += OVERHEAD * len(entries)
        if self._rows and self._rows[-1].position != position - 1:
            self._rows.clear()
            self._values = self._size = 0
        self._rows.append(_Row(position, entries, values, size))
        self._values += values
        self._size += size
        while self._rows and (self._values > VALUES or self._size > BYTES):
            gone = self._rows.popleft()
            self._values -= gone.values
            self._size -= gone.size

    def chunk(self, after: Position, values: int, last: Position) -> Chunk | None:
        """What lies behind `after` until it is `values` values, up to `last`; None if any of it is not here."""
        if not self._rows or not self._rows[0].position <= after + 1 <= last <= self._rows[-1].position:
            return None
        begin = after + 1 - self._rows[0].position
        entries: list[Entry] = []
        held = 0
        for row in islice(self._rows, begin, begin + last - after):
            entries += row.entries
            held += row.values
            if held >= values:
                return Chunk(row.position, entries)
        return Chunk(last, entries)
