"""The writing side of the file, on a thread of its own: transactions, accounts, space. Nothing here knows of asyncio.

One group of changes is one transaction, whoever they came from: the flush to disk is what costs, and it is paid once.
What is remembered between transactions (`Standing`) is put back when one fails, so that memory and file never differ.
"""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from adapters.base import Delivery, Position
from adapters.clock import Clock
from collector.journal import books, queries
from collector.journal.mark import HighWater, Mark
from pipelines import codec
from pipelines.identity import Identity
from pipelines.registry import Registry
from pipelines.stage import Gap, Refined, Refusal

CHECKPOINT: Final = 1024 * 1024
"""Bytes written to the write-ahead log (estimated) until its pages are moved into the file."""

OVERHEAD: Final = 16 * 1024
"""Bytes that a transaction writes beside its blobs, rounded up: pages of accounts, cursors, free lists."""

JOURNAL = "journal"
"""The origin of refusals that are the journal's own: values that did not read back."""

Work = Callable[["Store"], Any]


@dataclass(slots=True, eq=False)
class Appending:
    """One append on its way; encoded once, on the writer's thread, however often it has to wait for space."""

    source: str
    delivery: Delivery
    refined: Refined
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

    unsaved: first position of each source that no snapshot of its identity covers.
    """

    position: Position
    total: int
    points: int
    quarantine: tuple[int, int]
    unsaved: dict[str, Position] = field(default_factory=dict)
    unsaved_values: int = 0


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
    max_bytes: int
    min_free: int
    logged: int = 0  # bytes in the write-ahead log since the last checkpoint, estimated

    def group(self, works: Sequence[Work]) -> list[Any]:
        """All of these in one transaction, durable on return; on an error none of them happened."""
        before = replace(self.standing, unsaved=dict(self.standing.unsaved))
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
        return results

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):  # the error that brought us here is the one to tell
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    def _note(self) -> None:
        """The commit is durable whatever happens here: the mark may lag, and a broken disk shows at the next commit."""
        with suppress(OSError):
            self.mark.write(HighWater(self.standing.position, self.standing.total, self.name))

    def append(self, item: Appending) -> Position:
        """The row, new points, account, checkpoint, refusals, gaps. An append without values adds no row."""
        standing = self.standing
        standing.points = books.add_points(self.connection, self.registry, standing.points)
        if item.blob:
            self._add_row(item)
        books.book(self.connection, item.source, item.count, item.delivery, item.refined)
        books.add_gaps(self.connection, item.source, standing.position, item.delivery.gaps)
        self.refuse(item.source, [*item.delivery.refused, *item.refined.refused])
        return standing.position

    def _add_row(self, item: Appending) -> None:
        standing = self.standing
        standing.position += 1
        standing.total += item.count
        standing.unsaved.setdefault(item.source, standing.position)
        standing.unsaved_values += item.count
        self.logged += len(item.blob)
        self.connection.execute(
            "INSERT INTO entries (position, source, appended, count, total, blob) VALUES (?, ?, ?, ?, ?, ?)",
            (standing.position, item.source, self.clock.now(), item.count, standing.total, item.blob),
        )

    def refuse(self, origin: str, refused: Sequence[Refusal]) -> None:
        if not refused:
            return
        rows, size = self.standing.quarantine
        rows, size = rows + len(refused), size + books.add_refusals(self.connection, origin, refused)
        self.standing.quarantine = (rows, size)
        self.logged += sum(len(r.raw) for r in refused)
        if rows > books.QUARANTINE_ROWS or size > books.QUARANTINE_BYTES:
            books.trim_quarantine(self.connection, rows, size)
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
        self.refuse(follower, refused)

    def plan(self, follower: str, first: Position, last: Position) -> None:
        """Fix the boundaries of a range before anybody makes a file of it."""
        self.connection.execute(
            "UPDATE followers SET planned_first = ?, planned_last = ? WHERE name = ?", (first, last, follower)
        )

    def condemn(self, rows: Sequence[queries.Row]) -> None:
        """Set aside what did not read back: marked, in quarantine, and a gap that says how many values. Once each."""
        for row in rows:
            marked = self.connection.execute(
                "UPDATE entries SET damaged = 1 WHERE position = ? AND damaged = 0", (row.position,)
            )
            if marked.rowcount:
                self._tell_damage(row)

    def _tell_damage(self, row: queries.Row) -> None:
        detail = (
            f"position {row.position} of the buffer did not read back (checksum); set aside in quarantine"
        )
        gap = Gap(row.appended, row.appended, "journal_damaged", detail, count=row.values)
        books.add_gaps(self.connection, row.source, row.position, [gap])
        refusal = Refusal(
            f"{self.path.name}, position {row.position}", detail, row.blob, self.clock.now(), row.values
        )
        self.refuse(JOURNAL, [refusal])

    def size(self) -> int:
        """Bytes of the file's used pages and of the write-ahead log, which is counted whole."""
        return queries.used_bytes(self.connection) + wal_bytes(self.path)

    def fits(self, more: int) -> bool:
        """Whether `more` bytes may be added. What is larger than the bound fits once nothing else is held."""
        used, spare = self.size(), queries.free_bytes(self.connection)
        if more > spare and shutil.disk_usage(self.path.parent).free < self.min_free + more:
            return False
        return used + more <= self.max_bytes or self._empty()

    def _empty(self) -> bool:
        """Whether no follower has anything left to do; the newest row stays in the file and does not count."""
        behind = self.connection.execute(
            "SELECT count(*) FROM followers WHERE cursor < ?", (self.standing.position,)
        ).fetchone()[0]
        oldest = self.connection.execute("SELECT min(position) FROM entries").fetchone()[0]
        return behind == 0 and (oldest is None or oldest >= self.standing.position)

    def checkpoint(self) -> None:
        """Move the log's pages into the file. Its errors are the disk's errors, and fatal like those of a commit."""
        self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self.logged = 0

    def close(self) -> None:
        self.connection.close()
        self.mark.close()


def wal_bytes(path: Path) -> int:
    with suppress(FileNotFoundError):
        return Path(f"{path}-wal").stat().st_size
    return 0


def is_full(error: BaseException) -> bool:
    """Whether this says that the disk is full (wait), or that another program holds the file for a moment (wait)."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY)
    return isinstance(error, OSError) and error.errno == errno.ENOSPC
