"""What the collector remembers of itself from one life to the next, kept as the checkpoint of its own account."""

from __future__ import annotations

from typing import NamedTuple


class Mark(NamedTuple):
    """alive: ns of the last sign of life, 0 for none. gap: number of the last gap copied.

    silenced: sources that were lost and have not said again what has not changed.
    """

    alive: int = 0
    gap: int = 0
    silenced: frozenset[str] = frozenset()

    @classmethod
    def of(cls, stored: bytes | None) -> Mark:
        """Earlier versions wrote one number, or two."""
        words = (stored or b"").decode().split()
        alive, gap = [*words, "0", "0"][:2]
        return cls(int(alive), int(gap), frozenset(words[2:]))

    def dump(self) -> bytes:
        return " ".join([f"{self.alive} {self.gap}", *sorted(self.silenced)]).encode()
