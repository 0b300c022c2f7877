"""First values that come late: the end of a gap is told with the first notification of a new life, but not all items are in it.

A server sends the first values of thousands of items in several notifications, and items are created in batches. What was missed
of an item reaches up to its own first value; where that is later than the end that was told, the rest is told as it comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from adapters.opcua.items import Items
from pipelines.batch import Batch
from pipelines.stage import Gap

PATIENCE: Final = 60 * 10**9
"""ns after the gap was told: an item that comes back later was missing for a reason of its own."""

FUTURE: Final = 24 * 3600 * 10**9
"""ns; a time of a value further ahead than this is no measure of how far we have come."""


class Late:
    """The gap of this life as far as it is told."""

    def __init__(self) -> None:
        self._gap: Gap | None = None
        self._received = 0

    def told(self, gap: Gap, received: int) -> None:
        self._gap, self._received = gap, received

    def longer(self, handles: NDArray[np.int64], batch: Batch, items: Items) -> Iterator[Gap]:
        """At most one gap: from the told end to the newest first value among these rows. Call before they count as seen."""
        if self._gap is None or batch.received - self._received > PATIENCE:
            return
        _, first = np.unique(handles, return_index=True)  # of several values of an item the first one counts
        fresh = first[items.columns.last[handles[first]] == 0]
        at = batch.at[fresh]
        late = (at > self._gap.ends) & (at <= batch.received + FUTURE)
        if late.any():
            machines = items.machines_of(handles[fresh[late]].tolist())
            begins, ends = self._gap.ends, int(at[late].max())
            self._gap = Gap(begins, ends, self._gap.reason, self._gap.detail, machines)
            yield self._gap
