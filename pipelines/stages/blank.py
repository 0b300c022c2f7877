"""NaN and infinities are no measurements: no database takes them, and one of them must not cost a batch.

A number becomes a row without value, quality BadOutOfRange. A waveform keeps its samples (the others are good) under
the same bad quality, and sinks never store a bad value as a value. A row that was bad already keeps its own reason.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipelines import quality as q
from pipelines.batch import Batch, Flag, Kind
from pipelines.stage import Remark
from pipelines.table import Tally


def blank(batch: Batch, tally: Tally) -> Batch:
    """Marks what is not finite; kinds other than NUMBER and WAVEFORM always are."""
    if batch.kind is Kind.NUMBER:
        finite = np.isfinite(batch.values)
    elif batch.kind is Kind.WAVEFORM:
        finite = np.array([bool(np.isfinite(wave).all()) for wave in batch.values], np.bool_)
    else:
        return batch
    if finite.all():
        return batch
    odd = ~finite & batch.has_value
    tally.remarks[Remark.NOT_FINITE] += int(odd.sum())
    quality = np.where(odd & ~q.is_bad(batch.quality), np.uint32(q.BAD_OUT_OF_RANGE), batch.quality)
    if batch.kind is Kind.WAVEFORM:
        return replace(batch, quality=quality)
    flags = batch.flags | np.where(odd, np.uint8(Flag.NO_VALUE), np.uint8(0))
    return replace(batch, values=np.where(finite, batch.values, 0.0), quality=quality, flags=flags)
