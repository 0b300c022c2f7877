"""What can be read from a journal's file, by the running collector and by other processes alike.

Every function is one short read: a reader that stays open holds the write-ahead log and lets it grow without bound.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from adapters.base import Position
from collector.journal import seals, setaside
from collector.journal.base import Ledger, NumberedGap, Quarantined, SinkAccount, SourceAccount, StoredGap
from pipelines.batch import Kind, Point
from pipelines.registry import Registry
from pipelines.stage import Gap, Reason, Refusal, Remark


class Row(NamedTuple):
    """One append as stored. appended: ns, our clock. total: running sum of `count`, this row included. values: how many, by the blob's own word.
    sound: whether its seal holds; if not, only the blob may still be true.
    """

    position: Position
    source: str
    appended: int
    values: int
    total: int
    damaged: bool
    blob: bytes
    sound: bool = True


class Follower(NamedTuple):
    """cursor: last committed position. reached: total there. planned: a range fixed and not yet committed."""

    name: str
    cursor: Position
    reached: int
    planned: tuple[Position, Position] | None


def tail(connection: sqlite3.Connection) -> tuple[Position, int]:
    """The last position and the total there. The newest row is never deleted; before the first one there is the base."""
    row = connection.execute("SELECT position, total FROM entries ORDER BY position DESC LIMIT 1").fetchone()
    base = (int(meta(connection, "base_position")), int(meta(connection, "base_total")))
    return base if row is None else max(base, (int(row[0]), int(row[1])))


def meta(connection: sqlite3.Connection, key: str) -> str:
    return str(connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0])


def rows(
    connection: sqlite3.Connection, after: Position, values: int, last: Position | None = None
) -> list[Row]:
    """The rows behind `after` until they hold `values` values (at least one row), up to and including `last`."""
    found: list[Row] = []
    held = 0
    cursor = connection.execute(
        "SELECT * FROM entries WHERE position > ? AND position <= ? ORDER BY position",
        (after, (1 << 62) if last is None else last),
    )
    for row in cursor:
        found.append(_row(row))
        if row[0] <= after:
            raise _corrupt("the entries are not in their order")
        after = row[0]
        held += found[-1].values
        if held >= values:
            break
    cursor.close()
    return found


def _row(cells: Sequence[Any]) -> Row:
    """With or without a seal: entries of format 1 and 2 have none, and a flip that takes one away has altered nothing else."""
    position, source, appended, count, total, damaged, blob = cells[:7]
    if not isinstance(count, int) or not isinstance(blob, bytes):
        count, blob = 0, blob if isinstance(blob, bytes) else b""
    sound = len(cells) == 7 or cells[7] is None or cells[7] == seals.of_entry(cells[:6], blob)
    return Row(position, str(source), appended, count, total, bool(damaged), blob, sound)


def _corrupt(what: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(what)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


class First(NamedTuple):
    """The oldest row behind a cursor, the row where `values` values are reached, if there are so many, and how many there are."""

    position: Position
    appended: int
    full_at: Position | None
    held: int


def first_behind(connection: sqlite3.Connection, after: Position, values: int) -> First | None:
    """Where the range that begins behind `after` begins, and where it is full; None if nothing is there."""
    oldest = connection.execute(
        "SELECT position, appended, total - count FROM entries WHERE position > ? ORDER BY position LIMIT 1",
        (after,),
    ).fetchone()
    if oldest is None:
        return None
    position, appended, before = oldest
    # The walk stops at the row that fills the range: never longer than one range, whatever the backlog.
    full = connection.execute(
        "SELECT position FROM entries WHERE position > ? AND total >= ? ORDER BY position LIMIT 1",
        (after, before + values),
    ).fetchone()
    return First(position, appended, None if full is None else full[0], tail(connection)[1] - before)


def follower(connection: sqlite3.Connection, name: str) -> Follower | None:
    row = connection.execute(
        "SELECT cursor, reached, planned_first, planned_last FROM followers WHERE name = ?", (name,)
    ).fetchone()
    if row is None:
        return None
    cursor, reached, first, last = row
    planned = None if last is None or last <= cursor else (first, last)
    return Follower(name, cursor, reached, planned)


def checkpoints(connection: sqlite3.Connection) -> dict[str, bytes]:
    found = connection.execute("SELECT name, checkpoint FROM sources WHERE checkpoint IS NOT NULL")
    return dict(found.fetchall())


def ledger(connection: sqlite3.Connection, path: Path) -> Ledger:
    told, waits = setaside.told(connection), setaside.waiting_values(connection)
    none = setaside.Told()
    return Ledger(
        {
            name: replace(account, **told.get(name, none)._asdict())
            for name, account in source_accounts(connection).items()
        },
        {
            name: replace(account, pending=account.pending + waits[name], **told.get(name, none)._asdict())
            for name, account in sink_accounts(connection).items()
        },
        disk_bytes(path),
        tail(connection)[0],
        quarantine=setaside.contents(connection),
    )


def disk_bytes(path: Path) -> int:
    """What the file and its write-ahead log take on the disk."""
    return sum(file.stat().st_size for file in (path, Path(f"{path}-wal")) if file.exists())


def source_accounts(connection: sqlite3.Connection) -> dict[str, SourceAccount]:
    found = connection.execute(
        "SELECT name, decoded, journaled, refused, filtered, remarks, gaps FROM sources"
    )
    return {
        name: SourceAccount(
            decoded=decoded,
            journaled=journaled,
            refused=refused,
            filtered={Reason(reason): count for reason, count in json.loads(filtered).items()},
            remarks={Remark(remark): count for remark, count in json.loads(remarks).items()},
            gaps=gaps,
        )
        for name, decoded, journaled, refused, filtered, remarks, gaps in found.fetchall()
    }


def sink_accounts(connection: sqlite3.Connection) -> dict[str, SinkAccount]:
    _, total = tail(connection)
    # A file that was never opened by this version is read as it is: a reader does not change it.
    of_format = {1: "SELECT name, cursor, reached, registered, stored, quarantined, 0 FROM followers"}
    ask = "SELECT name, cursor, reached, registered, stored, quarantined, dropped FROM followers"
    found = connection.execute(of_format.get(_pragma(connection, "user_version"), ask))
    return {
        name: SinkAccount(
            journaled=total - registered,
            stored=stored,
            quarantined=quarantined,
            pending=total - reached,
            cursor=cursor,
            dropped=dropped,
        )
        for name, cursor, reached, registered, stored, quarantined, dropped in found.fetchall()
    }


def gaps(connection: sqlite3.Connection, limit: int | None) -> list[StoredGap]:
    """The newest gaps, oldest of them first. None: all."""
    found = connection.execute(
        "SELECT source, position, begins, ends, reason, detail, machines, count FROM gaps"
        " ORDER BY number DESC LIMIT ?",
        (-1 if limit is None else limit,),
    ).fetchall()
    return [
        StoredGap(source, position, Gap(begins, ends, reason, detail, tuple(json.loads(machines)), count))
        for source, position, begins, ends, reason, detail, machines, count in reversed(found)
    ]


def gaps_after(connection: sqlite3.Connection, number: int, limit: int) -> list[NumberedGap]:
    """The gaps behind this number, the oldest first."""
    found = connection.execute(
        "SELECT number, source, begins, ends, reason, detail, machines, count, (SELECT count(*) FROM gaps AS earlier"
        " WHERE earlier.source = gaps.source AND earlier.begins = gaps.begins AND earlier.number < gaps.number)"
        " FROM gaps WHERE number > ? ORDER BY number LIMIT ?",
        (number, limit),
    ).fetchall()
    return [
        NumberedGap(told, source, Gap(begins, ends, reason, detail, tuple(json.loads(machines)), count), rank)
        for told, source, begins, ends, reason, detail, machines, count, rank in found
    ]


def quarantined(connection: sqlite3.Connection, limit: int) -> list[Quarantined]:
    """The newest refusals, oldest of them first."""
    found = connection.execute(
        "SELECT number, origin, place, reason, raw, at, count FROM quarantine ORDER BY number DESC LIMIT ?",
        (limit,),
    ).fetchall()
    return [
        Quarantined(number, origin, Refusal(place, reason, raw, at, count))
        for number, origin, place, reason, raw, at, count in reversed(found)
    ]


def registry(connection: sqlite3.Connection) -> Registry:
    """The points by their stored ids. A lost id keeps its place under a name that says so: no later point may move."""
    known = Registry()
    for row in connection.execute("SELECT * FROM points ORDER BY id").fetchall():
        point_id, machine, name, kind, unit, tags = row[:6]
        if len(row) > 6 and row[6] != seals.seal("points", *row[:6]):
            continue  # put right at the next start (mending.py); until then it has no name
        keep_places(known, point_id)
        known.intern(Point(machine, name, Kind(kind), unit, json.loads(tags)))
    return known


def keep_places(known: Registry, version: int) -> None:
    """Every id below `version` stands for something."""
    while known.version < version:
        known.intern(lost(known.version))


def lost(point_id: int) -> Point:
    """What stands for a point whose name is not known any more."""
    return Point("unknown", f"lost-{point_id}", Kind.NUMBER)


def base_total(connection: sqlite3.Connection, position: Position) -> int:
    """The total at the end of what was lost before the last start, if that lies at or before `position`; else 0."""
    return int(meta(connection, "base_total")) if int(meta(connection, "base_position")) <= position else 0


class Pages(NamedTuple):
    """Bytes of the pages in use, and of those that the file holds for later use."""

    used: int
    free: int


def pages(connection: sqlite3.Connection) -> Pages:
    """In one question: after every commit somebody wants to know."""
    count, free, size = connection.execute(
        "SELECT page_count, freelist_count, page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
    ).fetchone()
    return Pages((count - free) * size, free * size)


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes of the pages in use; free pages will be used again and do not count."""
    return pages(connection).used


def free_bytes(connection: sqlite3.Connection) -> int:
    """Bytes of the pages that the file holds for later use."""
    return pages(connection).free


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
