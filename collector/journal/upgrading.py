"""The small tables made anew and filled again, in one transaction: for a file of an earlier format, and for one with damage.

Anew and not altered: afterwards every file has the same tables to the letter, and a tree with a flipped key in it is gone.
A crash leaves the old ones as they were. The entries stay where they are, because there may be gigabytes of them; those of
format 1 and 2 have no seal beside the checksum of their blob.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, Final

from collector.journal import seals

_NUMBERED: Final = ("quarantine", "gaps")

Rows = dict[str, list[dict[str, Any]]]
"""By table; column by column."""


def taken(connection: sqlite3.Connection) -> Rows:
    """Everything but the entries, as it reads back, seals included."""
    return {table: _rows(connection, table) for table in ("meta", *seals.COUNTED)}


def _rows(connection: sqlite3.Connection, table: str) -> list[dict[str, Any]]:
    names = seals.columns(connection, table)
    if not names:
        return []
    found = connection.execute(f"SELECT {', '.join(names)} FROM {table}").fetchall()  # noqa: S608 - our own words
    return [dict(zip(names, row, strict=True)) for row in found]


def upgrade(connection: sqlite3.Connection, tables: str, numbers: Mapping[str, object], version: int) -> None:
    """tables: the statements of the present format. numbers: what is to be in `meta` and is not. version: the present one."""
    found = taken(connection)
    meta = {row["key"]: row["value"] for row in found.pop("meta")}
    deleted = connection.execute("SELECT min(position) - 1 FROM entries").fetchone()[0]
    make_anew(connection, tables, {**numbers, "deleted": deleted or 0, **meta}, found, version)


def make_anew(
    connection: sqlite3.Connection, tables: str, meta: Mapping[str, object], rows: Rows, version: int
) -> None:
    """Sealed and counted by this connection's triggers, which are there afterwards."""
    connection.execute("BEGIN IMMEDIATE")
    last = dict(connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
    _drop(connection)
    if "seal" not in seals.columns(connection, "entries"):
        connection.execute("ALTER TABLE entries ADD COLUMN seal INTEGER")
    for statement in _statements(tables):
        connection.execute(statement)
    seals.install(connection)
    connection.executemany("INSERT INTO meta (key, value) VALUES (?, ?)", list(meta.items()))
    for table, found in rows.items():
        _fill(connection, table, found)
    for table in _NUMBERED:  # a number is never given twice
        connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
        highest = max([last.get(table, 0), *(row["number"] for row in rows[table])])
        connection.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (table, highest))
    connection.execute(f"PRAGMA user_version={version}")
    connection.execute("COMMIT")


def _drop(connection: sqlite3.Connection) -> None:
    """The triggers first: what follows from a deletion does not follow here."""
    for (trigger,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {trigger}")
    for table in ("meta", *seals.COUNTED):
        connection.execute(f"DROP TABLE IF EXISTS {table}")


def _statements(tables: str) -> list[str]:
    """One by one, without those of tables that are there already."""
    with closing(sqlite3.connect(":memory:")) as made:
        made.executescript(tables)
        found = made.execute(
            "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT IN ('entries', 'sqlite_sequence')"
            " ORDER BY type = 'trigger'"
        )
        return [str(row[0]) for row in found.fetchall()]


def _fill(connection: sqlite3.Connection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        names = [name for name in rows[0] if name != "seal"]
        marks = ", ".join("?" * len(names))
        connection.executemany(
            f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})",  # noqa: S608 - our own words
            [tuple(row[name] for name in names) for row in rows],
        )
