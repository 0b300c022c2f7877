"""Retained MQTT messages are true at an unknown earlier time: who does not want them says `retained: ignore`."""

from __future__ import annotations

from pipelines.batch import Batch, Flag
from pipelines.stage import Reason
from pipelines.table import Table, Tally


def ignore(batch: Batch, table: Table, tally: Tally) -> Batch:
    """Drops retained rows of the points that say so. May leave no row."""
    if not table.ignores:
        return batch
    dropped = ((batch.flags & Flag.RETAINED) != 0) & table.ignored[batch.points]
    number = int(dropped.sum())
    if not number:
        return batch
    tally.counts[Reason.RETAINED] += number
    return batch.take(~dropped)
