"""When the buffer will be full, from how fast it has grown in the last minutes: told days before it matters.

Measured and not calculated from the sources' rates: what counts is what stays in the file, with whatever a slow sink still
takes out of it. The line is drawn over minutes, because deletions come in lumps.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

EVERY: Final = 5.0  # s between two measurements
SPAN: Final = 120  # measurements that are kept: ten minutes


@dataclass(slots=True)
class Forecast:
    """Sizes of the buffer over time (monotonic s, bytes)."""

    seen: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=SPAN))

    def due(self, now: float) -> bool:
        return not self.seen or now - self.seen[-1][0] >= EVERY

    def note(self, now: float, size: int) -> None:
        self.seen.append((now, size))

    def full_in(self, now: float, size: int, limit: int) -> float | None:
        """Seconds until `limit` is reached; None while it does not grow or too little has been seen of it."""
        if size >= limit:
            return 0.0
        if not self.seen or now - self.seen[0][0] < EVERY:
            return None
        rate = (size - self.seen[0][1]) / (now - self.seen[0][0])
        return (limit - size) / rate if rate > 0 else None
