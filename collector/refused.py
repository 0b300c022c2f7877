"""What a sink refuses, with its values, so that it can be written once more when what was wrong has been changed.

The sink says which values it refuses (their keys); the values themselves are taken from what it was given. Here and not in
the sinks: it is the same for all of them, and a sink should not have to know how the journal keeps anything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from adapters.base import Write
from adapters.errors import Rejected
from collector.journal.base import Journal
from pipelines import codec
from pipelines.batch import Batch
from pipelines.stage import Refusal

AT_ONCE: Final = 5_000
"""Values of one repeated write."""

Rows = dict[tuple[int, int], list[tuple[Batch, int]]]


async def refused_by(write: Write, batches: Sequence[Batch]) -> Sequence[Refusal]:
    """Write; what the sink will never take, each with its values. Everything else is stored."""
    try:
        await write(batches)
    except Rejected as rejection:
        return with_values(rejection.refused, batches)
    return ()


def with_values(refused: Sequence[Refusal], batches: Sequence[Batch]) -> list[Refusal]:
    """refused: as a sink tells them. Those whose keys are among the batches get their values."""
    wanted = {key for one in refused for key in one.keys}
    rows: Rows = defaultdict(list)
    for batch in batches if wanted else ():
        for row, key in enumerate(zip(batch.points.tolist(), batch.at.tolist(), strict=True)):
            if key in wanted:
                rows[key].append((batch, row))
    return [_with_values(one, rows) for one in refused]


def _with_values(one: Refusal, rows: Rows) -> Refusal:
    parts = [batch.take(np.asarray([row])) for key in one.keys for batch, row in rows.get(key, ())]
    return replace(one, batch=codec.encode(parts)) if parts else one


async def write_again(journal: Journal, sink: str, write: Write) -> None:
    """What waits to be written to this sink once more: the same values under the same keys, each tried once."""
    quarantine = journal.quarantine
    while quarantine.may_wait(sink) and (waiting := await quarantine.waiting(sink, AT_ONCE)):
        batches = [batch for one in waiting for batch in codec.decode(one.batch)]
        refused = await refused_by(write, batches)
        await quarantine.settle(sink, [one.number for one in waiting], refused)
