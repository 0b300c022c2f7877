"""An entry that does not read back: its place in the books is kept, its content is set aside, and a gap says what is missing."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from adapters.base import Position
from collector.journal import books, queries, seals
from collector.journal.mark import HighWater
from collector.journal.schema import Unreadable
from collector.journal.store import JOURNAL, Store
from pipelines import codec
from pipelines.stage import Gap, Refusal


class _Place(NamedTuple):
    """What is known of an entry from its neighbours, where its own word does not count."""

    source: str
    appended: int
    values: int
    total: int


def condemn(store: Store, rows: Sequence[queries.Row]) -> None:
    """Marked, in quarantine, and a gap that says how many values. Once each, however many meet it. Within a transaction."""
    for seen in rows:
        for row in queries.rows(store.connection, seen.position - 1, 1, seen.position):
            if not (row.damaged and row.sound):
                _condemn(store, row)


def _condemn(store: Store, row: queries.Row) -> None:
    place = _Place(row.source, row.appended, row.values, row.total) if row.sound else _place(store, row)
    store.connection.execute(
        "UPDATE entries SET damaged = 1, source = ?, appended = ?, count = ?, total = ?, seal = ? WHERE position = ?",
        (*place, seals.of_entry((row.position, *place, 1), row.blob), row.position),
    )
    detail = f"position {row.position} of the buffer did not read back (checksum); set aside in quarantine"
    gap = Gap(place.appended, place.appended, "journal_damaged", detail, count=place.values)
    books.add_gaps(store.connection, place.source, row.position, [gap])
    where = f"{store.path.name}, position {row.position}"
    store.refuse(JOURNAL, [Refusal(where, detail, row.blob, store.clock.now(), place.values)])


def _place(store: Store, row: queries.Row) -> _Place:
    ask = "SELECT appended, count, total FROM entries WHERE position = ?"
    before, after = (store.connection.execute(ask, (row.position + step,)).fetchone() for step in (-1, 1))
    total = after[2] - after[1] if after else store.standing.total
    count = total - before[2] if before else _counted(row)
    appended = before[0] if before else after[0] if after else store.clock.now()
    return _Place(JOURNAL, appended, count, total)


def _counted(row: queries.Row) -> int:
    """By the blob, if it reads back; else by the row, one of which must be right."""
    try:
        return codec.count(row.blob)
    except codec.CodecError:
        return row.values


def end(connection: sqlite3.Connection, high: HighWater | None) -> tuple[Position, int]:
    """The last position and the total there, also where the last entry does not read back. Raises Unreadable."""
    position, total = queries.tail(connection)
    newest = queries.rows(connection, position - 1, 1)
    if not newest or newest[0].sound:
        return position, total
    before = connection.execute("SELECT total FROM entries WHERE position = ?", (position - 1,)).fetchone()
    if high is not None and high.position == position:
        return position, high.total
    if before is None:
        raise Unreadable("the last entry does not read back")
    return position, int(before[0]) + _counted(newest[0])
