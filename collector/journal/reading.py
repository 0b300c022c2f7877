"""What a follower reads, decoded on the reading thread, and what is met there that should not be."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from adapters.base import Entry, Position
from collector.journal import damage, holes, queries
from collector.journal.following import Chunk
from collector.journal.store import Store
from pipelines import codec

T = TypeVar("T")


class Harm(NamedTuple):
    """What was met while reading: rows whose checksum does not hold, positions that are not there."""

    rows: list[queries.Row]
    holes: list[holes.Hole]


def tell(store: Store, harm: Harm) -> None:
    damage.condemn(store, harm.rows)
    holes.tell(store, harm.holes)


def decoded(
    connection: sqlite3.Connection, after: Position, values: int, last: Position
) -> tuple[Chunk, Harm | None]:
    """On the reading thread: what lies behind `after`, and what is wrong with it."""
    rows = queries.rows(connection, after, values, last)
    entries: list[Entry] = []
    broken: list[queries.Row] = []
    for row in rows:
        if not row.sound:
            broken.append(row)
            continue
        try:
            batches = [] if row.damaged else codec.decode(row.blob)
            entries += [Entry(row.position, batch, row.source) for batch in batches]
        except codec.CodecError:
            broken.append(row)
    full = bool(rows) and sum(row.values for row in rows) >= values
    missing = holes.holes(after, rows, None if full else last)
    harm = Harm(broken, missing) if broken or missing else None
    return Chunk(rows[-1].position if full else last, entries), harm


class Reader:
    """Short reads, one after the other, on a thread of their own."""

    def __init__(self, connection: sqlite3.Connection, thread: ThreadPoolExecutor) -> None:
        self._connection, self._thread = connection, thread

    async def ask(self, question: Callable[..., T], *arguments: Any) -> T:
        """question(connection, *arguments). Raises JournalFailed when the file cannot be read."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._answer, question, *arguments)

    def _answer(self, question: Callable[..., T], *arguments: Any) -> T:
        self._connection.execute("BEGIN")
        try:
            return question(self._connection, *arguments)
        finally:
            if self._connection.in_transaction:  # an I/O error has ended it, and is what must be told
                self._connection.execute("ROLLBACK")
