"""What a sink has learned of its server and keeps between sessions: sizes, fields of another type, and doubts.

Nothing here is durable, and nothing depends on that: after a restart the same is learned again from the same answers, and
the same values come to the same places.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

HOUR = 3_600_000_000_000
"""ns. InfluxDB 1 and 2 keep the type of a field per shard, and shards are whole hours long: what is true of a value is true
of all values of its field and hour."""

MOST = 10_000


@dataclass(slots=True)
class Memory:
    """lines, size: how many lines and bytes of a request the server takes (size: 0 while it has not complained).
    disputed: slots (names.py) whose field has another type there. retyped: (slot, hour) of values that go to the twin
    field. stuck: slots whose twin field is refused as well. refused: values refused one by one, without the server naming
    their fault, since it last took something.
    """

    lines: int
    size: int = 0
    disputed: set[int] = field(default_factory=set)
    retyped: dict[tuple[int, int], None] = field(default_factory=dict)
    stuck: set[int] = field(default_factory=set)
    refused: int = 0

    def end(self, texts: Sequence[str], begin: int) -> int:
        """Where a request ends that begins with this text: before what would be too much, but never empty."""
        end = min(begin + self.lines, len(texts))
        if not self.size:
            return end
        left = self.size
        for number in range(begin, end):
            left -= len(texts[number]) + 1
            if left < 0:
                return max(number, begin + 1)
        return end

    def shrink(self, size: int) -> None:
        """A request of several lines and this many bytes was too large: half of it is at least half of what is allowed."""
        self.size = min(self.size or size, max(1, size // 2))

    def retype(self, slot: int, at: int) -> None:
        """Bounded: the oldest is forgotten first, which costs one request to learn it again."""
        self.retyped[slot, at // HOUR] = None
        while len(self.retyped) > MOST:
            del self.retyped[next(iter(self.retyped))]

    def is_retyped(self, slot: int, at: int) -> bool:
        return slot not in self.stuck and (slot, at // HOUR) in self.retyped

    def forgive(self, slots: Collection[int]) -> None:
        """The field takes these values now."""
        self.disputed.difference_update(slots)
        for known in [known for known in self.retyped if known[0] in slots]:
            del self.retyped[known]

    def concerns(self, slots: NDArray[np.int64]) -> bool:
        """Whether anything known here is about one of these slots."""
        return bool(self.disputed) and not self.disputed.isdisjoint(slots.tolist())
