"""How far a source's clock is from ours, measured where its values pass: received minus source time, in seconds.

Only fresh values tell: a retained or historical one is late on purpose, and one without a time of its own says nothing.
The delay of the network is part of it, which is why it is a median and why milliseconds mean nothing here.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Sequence
from typing import Final

from pipelines.batch import Batch, Flag

_STALE: Final = int(Flag.RETAINED | Flag.HISTORICAL | Flag.HEARTBEAT | Flag.DERIVED | Flag.TIME_SUBSTITUTED)
_SAMPLES: Final = 512
_PER_BATCH: Final = 8
_HORIZON: Final = 1 << 62


class Skew:
    """A few samples of every batch, at most 512; the median of what came since the last look."""

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=_SAMPLES)

    def note(self, batches: Sequence[Batch]) -> None:
        """batches: as they came from the adapter, before a time that cannot be believed is replaced."""
        for batch in batches:
            step = max(1, len(batch) // _PER_BATCH)
            flags, at = batch.flags[::step].tolist(), batch.at[::step].tolist()
            self._samples.extend(
                (batch.received - time) / 1e9
                for time, flag in zip(at, flags, strict=True)
                if not flag & _STALE and 0 < time < _HORIZON
            )

    def take(self) -> float | None:
        """Seconds by which the source's clock is behind ours (negative: ahead); None without a fresh value since."""
        if not self._samples:
            return None
        median = statistics.median(self._samples)
        self._samples.clear()
        return median
