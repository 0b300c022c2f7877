"""Whether a file has the tables that we made: a flipped bit in the text of a table is no damage to SQLite, only another
column, and every statement that names the lost one would fail for ever (fault matrix D7).
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path

from collector.journal.schema import TABLES, Unreadable, connect


def check_sound(connection: sqlite3.Connection) -> None:
    """Raises Unreadable where a table is not as we made it, to the letter: also a default value may flip."""
    wanted, found = _made(), _texts(connection)
    if wrong := sorted(name for name, text in wanted.items() if found.get(name) != text):
        raise Unreadable(f"not as they were made: {', '.join(wrong)}")


@cache
def _made() -> dict[str, str]:
    with closing(sqlite3.connect(":memory:")) as made:
        made.executescript(TABLES)
        return _texts(made)


def _texts(connection: sqlite3.Connection) -> dict[str, str]:
    found = connection.execute("SELECT name, sql FROM sqlite_schema")
    return dict(found.fetchall())


def is_sound(path: Path) -> bool:
    """Asked when a statement fails although the file reads back."""
    try:
        with closing(connect(path, readonly=True)) as connection:
            check_sound(connection)
    except (Unreadable, sqlite3.Error, UnicodeDecodeError):
        return False
    return True
