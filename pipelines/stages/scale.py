"""Value = wire x scale + offset, in float64. Points with scale 1 and offset 0 never come here: integers stay exact."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.batch import Kind
from pipelines.table import Table


def scale(kind: Kind, points: NDArray[np.int32], values: NDArray[Any], table: Table) -> NDArray[Any]:
    """Scaled values of a NUMBER or WAVEFORM column; an overflow becomes an infinity, which the next stage marks."""
    factor, offset = table.scale[points], table.offset[points]
    with np.errstate(over="ignore", invalid="ignore"):
        if kind is Kind.NUMBER:
            scaled: NDArray[Any] = values * factor + offset
            return scaled
        waves = np.empty(len(values), dtype=object)
        for row, wave in enumerate(values):
            waves[row] = wave * factor[row] + offset[row]
        return waves
