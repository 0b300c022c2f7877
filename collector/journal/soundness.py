"""Whether a file has the tables that we made: a flipped bit in the text of a table is no damage to SQLite, only another
column, and every statement that names the lost one would fail for ever (fault matrix D7).
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from collector.journal.schema import COUNTERS, TABLES, Unreadable, connect


def check_sound(connection: sqlite3.Connection) -> None:
    """Raises Unreadable where a column or a counter is missing."""
    with closing(sqlite3.connect(":memory:")) as made:
        made.executescript(TABLES)
        for (table,) in made.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            if missing := _columns(made, table) - _columns(connection, table):
                raise Unreadable(f"columns are missing in {table}: {', '.join(sorted(missing))}")
    keys = {row[0] for row in connection.execute("SELECT key FROM meta").fetchall()}
    if missing := {"store", *COUNTERS} - keys:
        raise Unreadable(f"numbers are missing: {', '.join(sorted(missing))}")


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {
        row[0] for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall()
    }


def is_sound(path: Path) -> bool:
    """Asked when a statement fails although the file reads back."""
    try:
        with closing(connect(path, readonly=True)) as connection:
            check_sound(connection)
    except (Unreadable, sqlite3.Error, UnicodeDecodeError):
        return False
    return True
