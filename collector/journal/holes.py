"""Entries that are missing between two others: nobody here deletes those, so the disk has lost them (fault matrix D7).

Seen by whoever reads over the place, not by a search at the start: that search read every page of the backlog, and a start
must cost the same with a gigabyte waiting as with nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from adapters.base import Position
from collector.journal import books, queries
from collector.journal.queries import Row
from collector.journal.store import JOURNAL, Store
from pipelines.stage import Gap

log = logging.getLogger("collector.journal")

_BEFORE: Final = (
    "SELECT position, appended, total FROM entries WHERE position < ? ORDER BY position DESC LIMIT 1"
)
_AFTER: Final = "SELECT appended, total - count FROM entries WHERE position = ?"
_REACHED: Final = "SELECT max(reached) FROM followers WHERE cursor = ?"
_TOLD: Final = "SELECT 1 FROM gaps WHERE source = ? AND position = ? AND reason = 'journal_damaged'"


class Hole(NamedTuple):
    """Nothing was read between `before` and `after`, both exclusive."""

    before: Position
    after: Position


def holes(after: Position, rows: Sequence[Row], last: Position | None) -> list[Hole]:
    """Where the positions of what was read behind `after` do not follow each other. last: up to where everything was read."""
    known = [after, *(row.position for row in rows)]
    if last is not None:
        known.append(max(last, known[-1]) + 1)
    return [Hole(one, two) for one, two in pairwise(known) if two > one + 1]


def tell(store: Store, found: Iterable[Hole]) -> None:
    """A gap for each, once, with what was in it. Not for what was deleted in an orderly way."""
    for hole in found:
        last = hole.after - 1
        told = store.connection.execute(_TOLD, (JOURNAL, last)).fetchone()
        begin = _begin(store, hole)
        if told is None and begin.position <= last:
            gap = _gap(store, begin, hole.after)
            log.error("%s: %s", store.path, gap.detail)
            books.add_gaps(store.connection, JOURNAL, last, [gap])


class _Begin(NamedTuple):
    """position: the first that is missing. at: ns, when the one before was appended. total: there, if it is known."""

    position: Position
    at: int | None
    total: int | None


def _begin(store: Store, hole: Hole) -> _Begin:
    """Behind the last entry before it, or behind what was deleted."""
    before = store.connection.execute(_BEFORE, (hole.after,)).fetchone()
    if before is not None:
        return _Begin(before[0] + 1, before[1], before[2])
    first = max(hole.before, int(queries.meta(store.connection, "deleted"))) + 1
    return _Begin(first, None, store.connection.execute(_REACHED, (first - 1,)).fetchone()[0])


def _gap(store: Store, begin: _Begin, after: Position) -> Gap:
    row = store.connection.execute(_AFTER, (after,)).fetchone()
    ends, total = row or (store.clock.now(), store.standing.total)
    lost = None if begin.total is None else total - begin.total
    detail = f"the buffer lacks entries: positions {begin.position} to {after - 1}"
    return Gap(ends if begin.at is None else begin.at, ends, "journal_damaged", detail, count=lost)
