"""Which (point, time) keys are taken: the memory behind the rule "same time, other value: move by one nanosecond".

The memory is a fold over what was journaled: `learn` applied to the stored batches of a source, in order, rebuilds it.
So the journal needs no copy per append: it stores a snapshot now and then and replays the batches behind it.
Vectors, not a dictionary per value: the common case (every key new) must cost next to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Learned:
    """What one refine call adds to the memory; empty by default. See `Identity.learn`."""

    points: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    bases: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    groups: Mapping[tuple[int, int], tuple[int, ...]] = field(default_factory=dict)


class Identity:
    """Placeholder of the shape: completed in the identity stage's own commit."""
