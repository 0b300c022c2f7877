"""The writing side of the file, on a thread of its own: transactions, accounts, space. Nothing here knows of asyncio.

One group of changes is one transaction, whoever they came from: the flush to disk is what costs, and it is paid once.
What is remembered between transactions (`Standing`) is put back when one fails, so that memory and file never differ.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from adapters.base import Delivery, Position
from adapters.clock import Clock
from collector.journal import books, queries, seals
from collector.journal.header import PAGE
from collector.journal.mark import HighWater, Mark
from collector.journal.room import Room, megabytes, wal_bytes
from pipelines import codec
from pipelines.identity import Identity
from pipelines.registry import Registry
from pipelines.stage import Refined, Refusal

CHECKPOINT: Final = 1024 * 1024
"""Bytes written to the write-ahead log (estimated) until its pages are moved into the file."""

OVERHEAD: Final = 16 * 1024
"""Bytes that a transaction writes beside its blobs, rounded up: pages of accounts, cursors, free lists."""

BUFFER_FULL: Final = "buffer full"

RESERVE: Final = 16
"""The part of `max_bytes` (one in so many) that sources may not use: cursors, quarantine, derived values and deletes go on."""


JOURNAL = "journal"
"""The origin of refusals that are the journal's own: values that did not read back."""

Work = Callable[["Store"], Any]


@dataclass(slots=True, eq=False)
class Appending:
    """One append on its way; encoded once, on the writer's thread, however often it has to wait for space.

    derived: made from what is in the journal, or of the collector itself; may use the reserve, because holding it up holds
    a follower up, or all that begins and ends. beside: bytes that are stored with it in the same transaction.
    """

    source: str
    delivery: Delivery
    refined: Refined
    derived: bool = False
    beside: int = 0
    blob: bytes = b""
    count: int = 0

    def encode(self) -> None:
        if self.refined.batches and not self.blob:
            self.blob = codec.encode(self.refined.batches)
            # Counted from the bytes and not from the batches: the other side of the ledger, and the checksum seen once.
            self.count = codec.count(self.blob)


@dataclass(slots=True)
class Standing:
    """Where the file stands after the last commit. points: how many of the registry are written. quarantine: rows, bytes.

    unsaved: first position of each source that no snapshot of its identity covers. oldest: the first row held, None if
    there is none. booked: appends ever. cursors: of the followers. Kept here, because asking the file after every commit cost more than a commit.
    """

    position: Position
    total: int
    points: int
    quarantine: tuple[int, int]
    unsaved: dict[str, Position] = field(default_factory=dict)
    unsaved_values: int = 0
    oldest: Position | None = None
    booked: int = 0
    cursors: dict[str, Position] = field(default_factory=dict)

    def copy(self) -> Standing:
        return replace(self, unsaved=dict(self.unsaved), cursors=dict(self.cursors))


@dataclass(slots=True)
class Store:
    """The one connection that writes, and what belongs to it. Every method runs on the writer's thread."""

    path: Path
    connection: sqlite3.Connection
    name: str  # the id of this journal, given when it was created
    registry: Registry
    identities: dict[str, Identity]
    checkpoints: dict[str, bytes]
    standing: Standing
    mark: Mark
    clock: Clock
    room: Room
    logged: int = 0  # bytes in the write-ahead log since the last checkpoint, estimated

    def group(self, works: Sequence[Work]) -> list[Any]:
        """All of these in one transaction, durable on return; on an error none of them happened."""
        before = self.standing.copy()
        done = False
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            results = [work(self) for work in works]
            self.connection.execute("COMMIT")
            done = True
        finally:
            if not done:
                self.standing = before
                self._roll_back()
        self.logged += OVERHEAD
        self._note()
        self._measure()
        return results

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):  # the error that brought us here is the one to tell
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    def _note(self) -> None:
        """The commit is durable whatever happens here: the mark may lag, and a broken disk shows at the next commit."""
        with suppress(OSError):
            standing = self.standing
            self.mark.write(HighWater(standing.position, standing.total, self.name, standing.booked))

    def _measure(self) -> None:
        now = self.clock.monotonic()
        if self.room.forecast.due(now):
            # Without the log: it fills and is used again, and would look like growth.
            self.room.forecast.note(now, queries.pages(self.connection).used)

    def append(self, item: Appending) -> Position:
        """The row, new points, account, checkpoint, refusals, gaps. An append without values adds no row."""
        standing = self.standing
        standing.points = books.add_points(self.connection, self.registry, standing.points)
        if item.blob:
            self._add_row(item)
        books.book(self.connection, item.source, item.count, item.delivery, item.refined)
        standing.booked += 1
        books.add_gaps(
            self.connection, item.source, standing.position, item.delivery.gaps, self.room.gap_rows
        )
        self.refuse(item.source, [*item.delivery.refused, *item.refined.refused])
        return standing.position

    def _add_row(self, item: Appending) -> None:
        standing = self.standing
        standing.position += 1
        standing.total += item.count
        standing.oldest = standing.oldest or standing.position
        standing.unsaved.setdefault(item.source, standing.position)
        standing.unsaved_values += item.count
        self.logged += len(item.blob)
        self.room.slack -= len(item.blob) + OVERHEAD
        row = (standing.position, item.source, self.clock.now(), item.count, standing.total, 0)
        self.connection.execute(
            "INSERT INTO entries (position, source, appended, count, total, damaged, blob, seal)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*row, item.blob, seals.of_entry(row, item.blob)),
        )

    def refuse(self, origin: str, refused: Sequence[Refusal]) -> None:
        if not refused:
            return
        rows, size = self.standing.quarantine
        rows, size = rows + len(refused), size + books.add_refusals(self.connection, origin, refused)
        self.standing.quarantine = (rows, size)
        self.logged += sum(len(r.raw) for r in refused)
        if rows > books.QUARANTINE_ROWS or size > self.room.quarantine_bytes:
            books.trim_quarantine(self.connection, rows, size, self.room.quarantine_bytes)
            self.standing.quarantine = books.quarantine_size(self.connection)

    def commit(self, follower: str, position: Position, refused: Sequence[Refusal]) -> None:
        """The cursor, what was refused and the counts. What lies at or before the cursor was committed already."""
        known = queries.follower(self.connection, follower)
        if known is None or position <= known.cursor:
            return
        held, values, damaged, reached = self.connection.execute(
            "SELECT count(*), coalesce(sum(count), 0), coalesce(sum(count) FILTER (WHERE damaged), 0),"
            " coalesce(max(total), ?) FROM entries WHERE position > ? AND position <= ?",
            (known.reached, known.cursor, position),
        ).fetchone()
        reached = max(reached, queries.base_total(self.connection, position))
        hole = position - known.cursor > held
        lost = damaged + (reached - known.reached - values if hole else 0)
        refused_values = sum(r.values for r in refused)
        self.connection.execute(
            "UPDATE followers SET cursor = ?, reached = ?, stored = stored + ?, quarantined = quarantined + ?"
            " WHERE name = ?",
            (position, reached, values - damaged - refused_values, lost + refused_values, follower),
        )
        self.standing.cursors[follower] = position
        self.refuse(follower, refused)

    def plan(self, follower: str, first: Position, last: Position) -> None:
        """Fix the boundaries of a range before anybody makes a file of it."""
        self.connection.execute(
            "UPDATE followers SET planned_first = ?, planned_last = ? WHERE name = ?", (first, last, follower)
        )

    def delete(self, upto: Position) -> int:
        """Delete the rows up to `upto`; returns how many there were. Within a transaction."""
        gone = self.connection.execute("DELETE FROM entries WHERE position <= ?", (upto,)).rowcount
        self.standing.oldest = self.connection.execute("SELECT min(position) FROM entries").fetchone()[0]
        self.connection.execute("UPDATE meta SET value = max(value, ?) WHERE key = 'deleted'", (upto,))
        return gone

    def total_at(self, position: Position) -> int:
        """Values up to `position`, which may itself be gone."""
        row = self.connection.execute(
            "SELECT total FROM entries WHERE position <= ? ORDER BY position DESC LIMIT 1", (position,)
        ).fetchone()
        return max(0 if row is None else int(row[0]), queries.base_total(self.connection, position))

    def size(self) -> int:
        """Bytes of the file's used pages and of the write-ahead log, which is counted whole."""
        return queries.used_bytes(self.connection) + wal_bytes(self.path)

    def fits(self, more: int, *, derived: bool = False) -> bool:
        """Whether `more` bytes may be added. What is larger than the bound fits once nothing else is held.

        derived: may also use the reserve that is kept from the sources: a sixteenth of both bounds.
        """
        if self.room.slack >= more and self.room.condition is None:
            return True
        room, pages = self.room, queries.pages(self.connection)
        used = pages.used + wal_bytes(self.path)
        bound = room.max_bytes - room.max_bytes // RESERVE
        left = shutil.disk_usage(self.path.parent).free - room.min_free
        # A quarter, because what is appended is in the log and in the file for a while, and others use the disk, too.
        room.slack = max(0, min(bound - used, left, 4 * CHECKPOINT) // 4)
        if derived:
            bound, left = room.max_bytes, left + room.min_free // RESERVE
        if more > pages.free and left < more:
            room.condition = (
                f"disk full: less than {megabytes(room.min_free + more)} is free beside the buffer"
            )
            return False
        if used + more <= bound or self._empty():
            return True
        room.condition = f"{BUFFER_FULL}: {megabytes(used)} of {megabytes(room.max_bytes)}"
        if self._alone():
            room.condition += f", although it holds one append only; {megabytes(more)} more are asked for: give it more (buffer: max)"
        return False

    def _empty(self) -> bool:
        """Whether nothing more can go: the newest row stays in the file and does not count, unless somebody waits for it
        and nothing is to be dropped.
        """
        standing = self.standing
        behind = any(cursor < standing.position for cursor in standing.cursors.values())
        return self._alone() and (self.room.drops or not behind)

    def _alone(self) -> bool:
        return self.standing.oldest is None or self.standing.oldest >= self.standing.position

    def make_room(self, error: Exception) -> bool:
        """The disk refused to take more: give the ballast back; whether there was any, so that it is worth trying again."""
        self.room.condition = f"disk full: {error}; what is stored goes on to the sinks, the sources wait"
        return self.room.ballast.release()

    def checkpoint(self) -> None:
        """Move the log's pages into the file. Its errors are the disk's errors, and fatal like those of a commit."""
        self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self.logged = 0
        self.room.ballast.hold(wal_bytes(self.path), self.room.min_free)

    def log_is_in_the_way(self, freed: int) -> bool:
        """Whether the bound and not the disk stops the sources, and the log's file is what is left to give, or much of it.

        SQLite writes the file of the log again from its beginning and never makes it shorter by itself: snapshots and
        drops under pressure had made it as large as a small bound, and then nothing was left to be dropped.
        """
        log = wal_bytes(self.path)
        wanted = log > 0 and (not freed or log > self.room.max_bytes // RESERVE)
        return wanted and (self.room.condition or "").startswith(BUFFER_FULL)

    def cut_log(self) -> int:
        """Move the log into the file and cut it to nothing; returns the pages that this freed. A reader may prevent it."""
        before = wal_bytes(self.path)
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self.logged = 0
        return (before - wal_bytes(self.path)) // PAGE

    def close(self) -> None:
        self.connection.close()
        self.mark.close()
