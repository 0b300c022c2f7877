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
from collector.journal import books
from collector.journal.queries import Row
from collector.journal.store import JOURNAL, Store
from pipelines.stage import Gap

log = logging.getLogger("collector.journal")

_EDGES: Final = """
SELECT b.position, b.appended, a.appended, a.total - a.count - b.total FROM entries b, entries a
WHERE b.position = (SELECT max(position) FROM entries WHERE position < ?) AND a.position = ?
"""
_TOLD: Final = "SELECT 1 FROM gaps WHERE source = ? AND position = ? AND reason = 'journal_damaged'"


class Hole(NamedTuple):
    """Nothing was read between `before` and `after`, both exclusive."""

    before: Position
    after: Position


def holes(after: Position, rows: Sequence[Row]) -> list[Hole]:
    """Where the positions of what was read behind `after` do not follow each other."""
    known = [after, *(row.position for row in rows)]
    return [Hole(one, two) for one, two in pairwise(known) if two > one + 1]


def tell(store: Store, found: Iterable[Hole]) -> None:
    """A gap for each, once, with what was in it. Not for what was deleted in an orderly way: that has nothing before it."""
    for hole in found:
        edges = store.connection.execute(_EDGES, (hole.after, hole.after)).fetchone()
        told = store.connection.execute(_TOLD, (JOURNAL, hole.after - 1)).fetchone()
        if edges is not None and told is None:
            before, begins, ends, lost = edges
            detail = f"the buffer lacks entries: positions {before + 1} to {hole.after - 1}"
            log.error("%s: %s", store.path, detail)
            gap = Gap(begins, ends, "journal_damaged", detail, count=lost)
            books.add_gaps(store.connection, JOURNAL, hole.after - 1, [gap])
