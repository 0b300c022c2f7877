"""The identity rule, last of all: what is stored has one key per point and time (pipelines/identity.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipelines.batch import Batch, Flag
from pipelines.identity import Assigned, Identity, Learned
from pipelines.prints import prints
from pipelines.stage import Reason, Remark
from pipelines.table import Tally


def identify(batches: Sequence[Batch], identity: Identity, tally: Tally) -> tuple[list[Batch], Learned]:
    """Drops and counts duplicates, moves and flags what shares a time; all batches of a delivery at once, in order."""
    if not batches:
        return [], Learned()
    assigned = _assign(batches, identity)
    dropped = len(assigned.keep) - int(np.count_nonzero(assigned.keep))
    tally.counts[Reason.DUPLICATE] += dropped
    tally.remarks[Remark.SHIFTED] += int(np.count_nonzero(assigned.shifted & assigned.keep))
    edges = np.cumsum([0, *map(len, batches)]).tolist()
    kept = [
        _keyed(batch, assigned, slice(start, end))
        for batch, start, end in zip(batches, edges, edges[1:], strict=False)
    ]
    return [batch for batch in kept if len(batch)], assigned.learned


def _assign(batches: Sequence[Batch], identity: Identity) -> Assigned:
    if len(batches) == 1:
        return identity.assign(batches[0])
    return identity.assign_rows(
        np.concatenate([batch.points for batch in batches]),
        np.concatenate([batch.at for batch in batches]),
        np.concatenate([prints(batch) for batch in batches]),
    )


def _keyed(batch: Batch, assigned: Assigned, rows: slice) -> Batch:
    keep, shifted = assigned.keep[rows], assigned.shifted[rows]
    if (shifted & keep).any():
        flags = batch.flags | np.where(shifted, np.uint8(Flag.SHIFTED), np.uint8(0))
        at = assigned.at[rows]
        batch = replace(batch, at=at, flags=flags, moved=at - batch.at)
    return batch if keep.all() else batch.take(keep)
