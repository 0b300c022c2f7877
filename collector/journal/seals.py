"""A checksum in every row, because SQLite has none: a bit that flips in a name, a cursor or a count is a lie that nobody sees
(fault matrix D7).

The blobs of `entries` carry their own. Everything else is sealed by triggers of the writing connection alone (temporary ones:
the file holds no code of ours, and the `sqlite3` program opens it as before). A row whose old seal does not hold gets none
when it is changed, so that no change makes a flip look right. `meta` counts the rows of every table, because a row that is
not there has no seal that could be wrong.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

COUNTED: Final = (
    "points",
    "sources",
    "identities",
    "followers",
    "quarantine",
    "gaps",
    "derivations",
    "refused_values",
    "written_again",
    "quarantine_books",
)
"""The tables whose rows are sealed and counted by triggers. `entries` count themselves by their positions and are sealed
where they are made, because a trigger would write every blob twice.
"""

KEYS: Final = {
    "meta": "key",
    "points": "id",
    "sources": "name",
    "identities": "source",
    "followers": "name",
    "derivations": "name",
    "quarantine_books": "origin",
}


def key_of(table: str) -> str:
    return KEYS.get(table, "number")


def seal(table: str, *cells: object) -> int:
    """crc32 of the cells with their types: a number that has become a text is another one."""
    return zlib.crc32(b"\0".join((table.encode(), *map(_tagged, cells))))


def _tagged(cell: object) -> bytes:
    match cell:
        case str():
            return b"s" + cell.encode("utf-8", "surrogatepass")
        case bytes():
            return b"b" + cell
        case int():
            return b"i%d" % cell
        case _:
            return repr(cell).encode()


def of_entry(row: Sequence[object], blob: bytes) -> int:
    """row: position, source, appended, count, total, damaged. Of the blob its frame, which holds a checksum of the rest: so
    that it belongs to this row.
    """
    return seal("entries", *row, blob[:16])


def columns(connection: sqlite3.Connection, table: str) -> list[str]:
    """Names of the columns, in order; none if there is no such table."""
    found = connection.execute("SELECT name FROM pragma_table_info(?) ORDER BY cid", (table,)).fetchall()
    return [str(row[0]) for row in found]


def install(connection: sqlite3.Connection) -> None:
    """From now on this connection seals what it writes."""
    connection.create_function("seal", -1, seal, deterministic=True)
    connection.execute("SAVEPOINT sealing")  # one change of the schema instead of thirty
    for table in ("meta", *COUNTED):
        for trigger in _triggers(table, [c for c in columns(connection, table) if c != "seal"]):
            connection.execute(trigger)
    connection.execute("RELEASE sealing")


def _triggers(table: str, names: list[str]) -> Iterator[str]:
    key = key_of(table)
    new, old = (f"seal('{table}', {', '.join(f'{row}.{name}' for name in names)})" for row in ("new", "old"))
    more, less = ("", "") if table == "meta" else (_counts(table, "+"), _counts(table, "-"))
    yield (
        f"CREATE TEMP TRIGGER IF NOT EXISTS {table}_made AFTER INSERT ON main.{table} BEGIN"  # noqa: S608 - our own words
        f" UPDATE {table} SET seal = {new} WHERE {key} = new.{key}; {more} END"
    )
    yield (
        f"CREATE TEMP TRIGGER IF NOT EXISTS {table}_changed AFTER UPDATE OF {', '.join(names)}"  # noqa: S608 - our own words
        f" ON main.{table} BEGIN"
        f" UPDATE {table} SET seal = CASE WHEN old.seal IS {old} THEN {new} END WHERE {key} = new.{key}; END"
    )
    if less:
        yield f"CREATE TEMP TRIGGER IF NOT EXISTS {table}_gone AFTER DELETE ON main.{table} BEGIN {less} END"


def _counts(table: str, sign: str) -> str:
    return f"UPDATE meta SET value = value {sign} 1 WHERE key = 'rows_{table}';"  # noqa: S608 - our own words


def broken(connection: sqlite3.Connection, table: str) -> list[dict[str, Any]]:
    """The rows of this table whose seal does not hold."""
    names = columns(connection, table)
    found = connection.execute(f"SELECT {', '.join(names)} FROM {table}").fetchall()  # noqa: S608 - our own words
    return [
        dict(zip(names, row, strict=True)) for row in found if row[-1] != seal(table, *row[: len(names) - 1])
    ]


def reseal(connection: sqlite3.Connection, table: str, key: object) -> None:
    """After a row that did not hold was put right."""
    names = [name for name in columns(connection, table) if name != "seal"]
    connection.execute(
        f"UPDATE {table} SET seal = seal('{table}', {', '.join(names)}) WHERE {key_of(table)} IS ?",  # noqa: S608
        (key,),
    )
