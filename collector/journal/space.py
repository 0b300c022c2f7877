"""What status and page say of the buffer's space; asked by people, so it may cost a few short reads."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Final

from collector.journal import queries
from collector.journal.base import Space
from collector.journal.room import wal_bytes
from collector.journal.store import RESERVE, Store

OLD: Final = 60_000_000_000  # ns; who has not read what is older holds the buffer, unless it waits for more


def space(connection: sqlite3.Connection, store: Store, now: int, waits: Mapping[str, float]) -> Space:
    """How full the buffer is, when it will be full, and because of whom. now: ns. waits: s that followers wait on purpose."""
    room, pages, log = store.room, queries.pages(connection).used, wal_bytes(store.path)
    holding = tuple(sorted(_holding(connection, now - OLD, waits)))
    left = shutil.disk_usage(store.path.parent).free - room.min_free
    limit = min(room.max_bytes - room.max_bytes // RESERVE - log, pages + max(0, left))
    full_in = room.forecast.full_in(store.clock.monotonic(), pages, limit) if holding else None
    return Space(pages + log, room.max_bytes, full_in, holding, room.condition)


def _holding(connection: sqlite3.Connection, before: int, waits: Mapping[str, float]) -> Iterator[str]:
    """The followers whose next entry was appended before this time (ns), and longer before it than they wait for more."""
    for name, cursor in connection.execute("SELECT name, cursor FROM followers").fetchall():
        row = connection.execute(
            "SELECT appended FROM entries WHERE position > ? ORDER BY position LIMIT 1", (cursor,)
        ).fetchone()
        if row is not None and row[0] <= before - waits.get(name, 0.0) * 1e9:
            yield name
