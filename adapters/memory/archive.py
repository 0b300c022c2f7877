"""An archive that is a dictionary by range."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.base import Entry, Position


class MemoryArchive:
    """`files` maps (first, last) to the entries of that range."""

    def __init__(self, name: str, *, seal_values: int = 1000, seal_seconds: float = 1.0) -> None:
        self.name = name
        self.seal_values = seal_values
        self.seal_seconds = seal_seconds
        self.files: dict[tuple[Position, Position], tuple[Entry, ...]] = {}

    async def seal(self, first: Position, last: Position, entries: Sequence[Entry]) -> None:
        self.files[first, last] = tuple(entries)

    async def tidy(self) -> None:
        """Nothing grows old here."""
