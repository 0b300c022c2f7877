"""A value outside its configured range is kept and doubted, never corrected: UncertainEngineeringUnitsExceeded.

Quality only gets worse: a bad row stays bad with its own reason, an uncertain row gets this reason.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipelines import quality as q
from pipelines.batch import Batch, Kind
from pipelines.stage import Remark
from pipelines.table import Table, Tally


def judge(batch: Batch, table: Table, tally: Tally) -> Batch:
    """Compares numbers with their point's inclusive range, in the point's unit, as float64."""
    if not table.ranges or batch.kind not in (Kind.NUMBER, Kind.INTEGER, Kind.UNSIGNED):
        return batch
    values = batch.values.astype(np.float64, copy=False)
    outside = (values < table.low[batch.points]) | (values > table.high[batch.points])
    if not outside.any():
        return batch
    outside &= batch.has_value
    tally.remarks[Remark.OUT_OF_RANGE] += int(outside.sum())
    doubted = outside & ~q.is_bad(batch.quality)
    return replace(batch, quality=np.where(doubted, np.uint32(q.UNCERTAIN_LIMITS_EXCEEDED), batch.quality))
