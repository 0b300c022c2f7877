"""The quarantine within a transaction: what was refused with its values, and what waits to be written once more.

`refused_values` holds the values behind a refusal of a sink, as a blob of
the codec, under the keys that they were journaled with. `written_again` is the way back: a refusal that somebody wants
replayed moves there, and out of there when the sink has answered. In between it counts as pending; so whatever happens,
journaled = stored + quarantined + pending (+ dropped).
"""

from __future__ import annotations

import fnmatch
import sqlite3
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from collector.journal.base import Contents, Quarantined
from pipelines.stage import Refusal

LARGEST: Final = 1 << 20
"""Bytes of a refused value that are kept for a replay; a larger one is only shown."""

WAITING_BYTES: Final = 32 * 1024 * 1024
"""Bytes that may wait to be written again: a sink that is away must not fill the disk with what it refused before."""

TABLES: Final = """
CREATE TABLE refused_values (number INTEGER PRIMARY KEY, batch BLOB NOT NULL, seal INTEGER);
CREATE TABLE written_again (number INTEGER PRIMARY KEY, follower TEXT NOT NULL, count INTEGER NOT NULL,
    batch BLOB NOT NULL, seal INTEGER);
CREATE TABLE quarantine_books (origin TEXT PRIMARY KEY, replayed INTEGER NOT NULL DEFAULT 0,
    purged INTEGER NOT NULL DEFAULT 0, seal INTEGER) WITHOUT ROWID;
CREATE TRIGGER written_again_gone AFTER DELETE ON followers
    BEGIN DELETE FROM written_again WHERE follower = old.name; END;
CREATE TRIGGER refused_values_gone AFTER DELETE ON quarantine
    BEGIN DELETE FROM refused_values WHERE number = old.number; END;
"""


class Waiting(NamedTuple):
    """A refusal that is to be written again. values: what it stands for in the books. batch: the values, by the codec."""

    number: int
    values: int
    batch: bytes


class Purged(NamedTuple):
    rows: int
    values: int


class Told(NamedTuple):
    """Values of one origin that somebody replayed or purged."""

    replayed: int = 0
    purged: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which refusals somebody asks for. reason: a glob, case ignored. since, before: ns, when it was refused. limit: the newest."""

    numbers: tuple[int, ...] = ()
    origin: str = ""
    reason: str = "*"
    since: int | None = None
    before: int | None = None
    limit: int | None = None

    def of(self, refusals: Iterable[Quarantined]) -> list[Quarantined]:
        """refusals: by rising number."""
        numbers = frozenset(self.numbers)
        return list(deque((one for one in refusals if self._is_one(one, numbers)), self.limit))

    def _is_one(self, one: Quarantined, numbers: frozenset[int]) -> bool:
        return (
            (not numbers or one.number in numbers)
            and self.origin in ("", one.origin)
            and (self.since is None or one.refusal.at >= self.since)
            and (self.before is None or one.refusal.at < self.before)
            and fnmatch.fnmatchcase(one.refusal.reason.lower(), self.reason.lower())
        )


def _is_there(connection: sqlite3.Connection) -> bool:
    """Also false for a file that only an older version has written: whoever only reads does not change it."""
    found = connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'refused_values_gone'")
    return bool(found.fetchone()[0])


def keep_values(connection: sqlite3.Connection, number: int, refusal: Refusal) -> int:
    """The values behind a refusal that was just set aside; returns the bytes."""
    if refusal.batch is None or len(refusal.batch) > LARGEST:
        return 0
    connection.execute("INSERT INTO refused_values (number, batch) VALUES (?, ?)", (number, refusal.batch))
    return len(refusal.batch)


def select(connection: sqlite3.Connection, wanted: Wanted) -> list[Quarantined]:
    """What matches, by rising number."""
    values, join = ("NULL", "")
    if _is_there(connection):
        values, join = ("batch", "LEFT JOIN refused_values USING (number)")
    found = connection.execute(
        f"SELECT number, origin, place, reason, raw, at, count, {values} FROM quarantine {join} ORDER BY number"  # noqa: S608 - our own two words
    )
    return wanted.of(
        Quarantined(number, origin, Refusal(place, reason, raw, at, count, batch=batch))
        for number, origin, place, reason, raw, at, count, batch in found
    )


def contents(connection: sqlite3.Connection) -> Contents:
    rows = _scalar(connection, "SELECT count(*) FROM quarantine")
    dropped = _scalar(connection, "SELECT value FROM meta WHERE key = 'quarantine_dropped'")
    return Contents(rows, dropped)


def told(connection: sqlite3.Connection) -> dict[str, Told]:
    if not _is_there(connection):
        return {}
    found = connection.execute("SELECT origin, replayed, purged FROM quarantine_books").fetchall()
    return {origin: Told(replayed, purged) for origin, replayed, purged in found}


def waiting_values(connection: sqlite3.Connection) -> Counter[str]:
    """Values that wait to be written again, by follower."""
    if not _is_there(connection):
        return Counter()
    found = connection.execute("SELECT follower, sum(count) FROM written_again GROUP BY follower").fetchall()
    return Counter(dict(found))


def write_again(connection: sqlite3.Connection, follower: str, numbers: Sequence[int]) -> int:
    """From the quarantine into the queue of its sink; returns the values. What has no values kept stays where it is, and so does
    all of a sink that follows no more: a reload may have let go of it since somebody asked.
    """
    if not _scalar(connection, "SELECT count(*) FROM followers WHERE name = ?", follower):
        return 0
    room = WAITING_BYTES - _scalar(connection, "SELECT coalesce(sum(length(batch)), 0) FROM written_again")
    moved = 0
    for number in numbers:
        found = connection.execute(
            "SELECT count, batch FROM quarantine JOIN refused_values USING (number) WHERE number = ? AND origin = ?",
            (number, follower),
        ).fetchone()
        if found is None or (room := room - len(found[1])) < 0:
            continue
        connection.execute("DELETE FROM quarantine WHERE number = ?", (number,))
        connection.execute(
            "INSERT INTO written_again (number, follower, count, batch) VALUES (?, ?, ?, ?)",
            (number, follower, *found),
        )
        moved += found[0]
    _release(connection, follower, moved)
    _tell(connection, follower, replayed=moved)
    return moved


def _release(connection: sqlite3.Connection, follower: str, values: int) -> None:
    """Out of the sink's quarantined values. A sink that was away and came back began new books: those count it in."""
    held = connection.execute("SELECT quarantined FROM followers WHERE name = ?", (follower,)).fetchone()
    known = min(values, held[0])
    connection.execute(
        "UPDATE followers SET quarantined = quarantined - ?, registered = registered - ? WHERE name = ?",
        (known, values - known, follower),
    )


def waiting(connection: sqlite3.Connection, follower: str, values: int) -> list[Waiting]:
    """The oldest that wait, until they hold so many values."""
    found, held = [], 0
    cursor = connection.execute(
        "SELECT number, count, batch FROM written_again WHERE follower = ? ORDER BY number", (follower,)
    )
    for row in cursor:
        found.append(Waiting(*row))
        held += max(1, row[1])
        if held >= values:
            break
    cursor.close()
    return found


def settle(connection: sqlite3.Connection, follower: str, numbers: Sequence[int], refused: int) -> None:
    """The sink has answered: of these, `refused` values not. The refusals themselves are added by the caller."""
    values = 0
    for number in numbers:
        gone = connection.execute(
            "DELETE FROM written_again WHERE number = ? RETURNING count", (number,)
        ).fetchone()
        values += 0 if gone is None else gone[0]
    connection.execute(
        "UPDATE followers SET stored = stored + ?, quarantined = quarantined + ? WHERE name = ?",
        (values - refused, refused, follower),
    )


def purge(connection: sqlite3.Connection, numbers: Sequence[int]) -> Purged:
    """Delete these for good. They stay counted as refused or quarantined, which they were, and as purged."""
    rows, values = 0, Counter[str]()
    for number in numbers:
        gone = connection.execute(
            "DELETE FROM quarantine WHERE number = ? RETURNING origin, count", (number,)
        ).fetchone()
        if gone is not None:
            rows, values[gone[0]] = rows + 1, values[gone[0]] + gone[1]
    for origin, count in values.items():
        _tell(connection, origin, purged=count)
    return Purged(rows, values.total())


def take_back(connection: sqlite3.Connection, source: str, numbers: Sequence[int]) -> int:
    """Refusals of a source that are read once more: as if they had never been decoded. Returns their values."""
    values = 0
    for number in numbers:
        gone = connection.execute(
            "DELETE FROM quarantine WHERE number = ? AND origin = ? RETURNING count", (number, source)
        ).fetchone()
        values += 0 if gone is None else gone[0]
    connection.execute(
        "UPDATE sources SET decoded = decoded - ?, refused = refused - ? WHERE name = ?",
        (values, values, source),
    )
    _tell(connection, source, replayed=values)
    return values


def _tell(connection: sqlite3.Connection, origin: str, *, replayed: int = 0, purged: int = 0) -> None:
    connection.execute(
        "INSERT INTO quarantine_books (origin, replayed, purged) VALUES (?, ?, ?) ON CONFLICT (origin)"
        " DO UPDATE SET replayed = replayed + excluded.replayed, purged = purged + excluded.purged",
        (origin, replayed, purged),
    )


def _scalar(connection: sqlite3.Connection, question: str, *arguments: str) -> int:
    return int(connection.execute(question, arguments).fetchone()[0])
