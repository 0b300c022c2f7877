"""Which of the times of a row can be believed: source, then server, then receive time (DESIGN section 8).

A stamp is impossible before 1990 (missing, 1601, 1970: clocks without a battery start there), further than a day ahead
of our clock, or beyond ±2^62 ns. There is no relative lower limit: a recording that is replayed is years old and true.
When our own clock cannot be believed (before 2020, or far behind what it has been: a small computer without a battery,
before its first synchronisation), nothing can be called "ahead" of it, and a possible machine time wins; values that have
only our time are kept, counted and marked: the good ones get the quality GoodEdited, which reaches every database. Others
are no values anywhere and keep the reason that they have.

Rows that get the receive time stay distinct and strictly rising per point, over all batches of a session: the clock
gives one time per batch, and two equal values one after the other are two facts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipelines import quality as q
from pipelines.batch import Batch, Flag
from pipelines.stage import Remark
from pipelines.table import RECEIVE, SOURCE, Table, Tally

YEAR_1990: Final = 631_152_000 * 10**9
YEAR_2020: Final = 1_577_836_800 * 10**9
DAY: Final = 86_400 * 10**9
_HORIZON: Final = 2**62

Times = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Limits:
    """oldest: ns since 1970; ahead: ns that a machine's clock may be ahead of ours; believed: ns, before which ours is wrong."""

    oldest: int = YEAR_1990
    ahead: int = DAY
    believed: int = YEAR_2020

    def latest(self, received: int) -> int:
        return min(received + self.ahead, _HORIZON) if received >= self.believed else _HORIZON


def trust(batch: Batch, table: Table, tally: Tally, limits: Limits) -> Batch:
    """Gives every row the first time of its point's order that is possible; a stand-in is flagged and counted."""
    latest = limits.latest(batch.received)
    good: Mask = (batch.at >= limits.oldest) & (batch.at <= latest)
    choice = table.time[batch.points] if table.times else None
    changed = not good.all() or (choice is not None and choice.any()) or batch.received < limits.believed
    settled = _settle(batch, table, tally, good, choice, limits=limits) if changed else batch
    number = int(np.count_nonzero(settled.flags & Flag.TIME_SUBSTITUTED))
    if number:
        tally.remarks[Remark.TIME_SUBSTITUTED] += number
    return settled


def _settle(
    batch: Batch, table: Table, tally: Tally, good: Mask, choice: NDArray[np.int8] | None, *, limits: Limits
) -> Batch:
    wanted = np.full(len(batch), SOURCE, np.int8) if choice is None else choice
    by_source = good & (wanted == SOURCE)
    by_server = ~by_source & (wanted != RECEIVE) & _server_good(batch, limits)
    by_receive = ~by_source & ~by_server
    if batch.received < limits.believed:
        batch = _marked(batch, by_receive | (batch.at == batch.received), tally)
    at = batch.at.copy()
    if batch.server_at is not None:
        at[by_server] = batch.server_at[by_server]
    at[by_receive] = _stand_ins(batch.points[by_receive], batch.received, table)
    second = (by_server & (wanted == SOURCE)) | (by_receive & (wanted != RECEIVE))
    flags = batch.flags | np.where(second, np.uint8(Flag.TIME_SUBSTITUTED), np.uint8(0))
    return replace(batch, at=at, flags=flags)


def _marked(batch: Batch, ours: Mask, tally: Tally) -> Batch:
    """ours: the rows that have our time, also where the adapter gave it."""
    number = int(np.count_nonzero(ours))
    if not number:
        return batch
    tally.remarks[Remark.CLOCK_UNTRUSTED] += number
    edited = batch.quality & np.uint32(0xFFFF) | np.uint32(q.GOOD_EDITED)
    return replace(batch, quality=np.where(ours & q.is_good(batch.quality), edited, batch.quality))


def _server_good(batch: Batch, limits: Limits) -> Mask:
    if batch.server_at is None:
        return np.zeros(len(batch), np.bool_)
    possible: Mask = (batch.server_at >= limits.oldest) & (batch.server_at <= limits.latest(batch.received))
    return possible


def _stand_ins(points: NDArray[np.int32], received: int, table: Table) -> Times:
    """received, received + 1, … per point in order, but always later than the last one given for the point."""
    if not len(points):
        return np.zeros(0, np.int64)
    order = np.argsort(points, kind="stable")
    ordered = points[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[0] - 1))
    sizes = np.diff(starts, append=len(ordered))
    times = (
        np.maximum(table.last_given[ordered] + 1, received)
        + np.arange(len(ordered))
        - np.repeat(starts, sizes)
    )
    last = starts + sizes - 1
    table.last_given[ordered[last]] = times[last]
    given = np.empty_like(times)
    given[order] = times
    return given
