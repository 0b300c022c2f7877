"""What a source has delivered in its present life: which points, and how far its clock is from ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collector.skew import Skew
from pipelines.batch import Batch
from pipelines.identity import Identity
from pipelines.stage import Refine, Refined


class Seen:
    """Which points a source has delivered in this life: a bit per point, set by the column."""

    def __init__(self) -> None:
        self.skew = Skew()
        self._seen = np.zeros(0, np.bool_)

    def note(self, points: NDArray[np.int32], version: int) -> None:
        if version > len(self._seen):
            self._seen = np.concatenate([self._seen, np.zeros(version - len(self._seen) + 64, np.bool_)])
        self._seen[points] = True

    def ids(self) -> NDArray[np.int32]:
        """The points seen since `forget`, ascending."""
        return np.flatnonzero(self._seen).astype(np.int32)

    def forget(self) -> None:
        self._seen[:] = False


@dataclass(frozen=True, slots=True)
class Watching:
    """A refine that also notes which points went through it, and how far their clock is from ours."""

    refine: Refine
    seen: Seen
    version: Callable[[], int]

    def __call__(self, batches: Sequence[Batch], identity: Identity) -> Refined:
        self.seen.skew.note(batches)
        refined = self.refine(batches, identity)
        for batch in refined.batches:
            self.seen.note(batch.points, self.version())
        return refined
