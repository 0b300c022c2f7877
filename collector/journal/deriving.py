"""What a derivation needs of the journal beyond what a follower has: origins, a snapshot, and one transaction for all.

Exactly once without any identity of derived values: what is derived from the positions up to p, the cursor at p and now
and then the memory at p become durable together or not at all. After a crash the memory is the last snapshot and a replay
from there to the cursor, so the entries behind the last snapshot are held for as long (`slowest`), whoever has read them.

A derived append has the reserve that the sources leave, and waits where that ends (decision 0010): a derivation that begins
behind two gigabytes of backlog must not fill the disk with what can be made again. Nobody waits for itself: the derivation
that holds the buffer is let through (`holds`), step by step, and each step under pressure brings a snapshot (derive.py).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import NamedTuple, Protocol

from adapters.base import Delivery, Position
from collector.journal import queries
from collector.journal.base import Range, Standing
from collector.journal.following import Chunk
from collector.journal.store import Appending, Store
from collector.journal.waiting import Tail
from pipelines.stage import Refined


class Done(NamedTuple):
    """appended: the position of the output; None if nothing was put out. cursor: of the derivation, now."""

    appended: Position | None
    cursor: Position


class Readable(Protocol):
    tail: Tail

    async def read(
        self, follower: str, after: Position, values: int, last: Position | None = None
    ) -> Chunk: ...


async def behind(
    journal: Readable, follower: str, after: Position, values: int, last: Position | None
) -> Range:
    """Waits until something lies behind `after`."""
    await journal.tail.beyond(after)
    chunk = await journal.read(follower, after, values, last)
    return Range(after + 1, chunk.position, chunk.entries)


def is_nothing(delivery: Delivery, refined: Refined) -> bool:
    return not (delivery.decoded or refined.batches or refined.counts or refined.remarks)


def standing(connection: sqlite3.Connection, follower: str) -> Standing:
    row = connection.execute(
        "SELECT f.cursor, coalesce(d.covered, 0), d.snapshot FROM followers f"
        " LEFT JOIN derivations d ON d.name = f.name WHERE f.name = ?",
        (follower,),
    ).fetchone()
    return Standing(*(row or (0, 0, None)))


def append(
    store: Store, *, follower: str, position: Position, item: Appending, snapshot: bytes | None
) -> Done:
    """On the writer's thread, within a transaction: output, account, cursor, snapshot. What is behind us is not done again."""
    known = queries.follower(store.connection, follower)
    nothing = is_nothing(item.delivery, item.refined)
    if known is None or position < known.cursor or (position == known.cursor and not nothing):
        return Done(None, known.cursor if known else position)
    item.encode()
    appended = None if nothing else store.append(item)
    # Our own output directly behind what it was made of: nothing else lies in between, and we do not read our own.
    end = position + 1 if item.blob and appended == position + 1 else position
    store.commit(follower, end, ())
    if snapshot is not None:
        _keep(store, follower, end, snapshot)
    return Done(appended, end)


def _keep(store: Store, follower: str, covered: Position, snapshot: bytes) -> None:
    store.connection.execute(
        "INSERT INTO derivations (name, covered, snapshot) VALUES (?, ?, ?) ON CONFLICT (name)"
        " DO UPDATE SET covered = excluded.covered, snapshot = excluded.snapshot",
        (follower, covered, snapshot),
    )
    store.logged += len(snapshot)


def holds(connection: sqlite3.Connection, follower: str) -> bool:
    """Whether nobody holds more of the buffer than this derivation: then only its own next step can make room."""
    row = connection.execute(
        "SELECT coalesce(d.covered, f.cursor) FROM followers f LEFT JOIN derivations d ON d.name = f.name"
        " WHERE f.name = ?",
        (follower,),
    ).fetchone()
    return row is not None and row[0] == slowest(connection)


def resume(connection: sqlite3.Connection, total_at: Callable[[Position], int]) -> None:
    """A derivation whose cursor was lost, and registered anew behind its memory, goes on where the memory ends."""
    lost = connection.execute(
        "SELECT d.name, d.covered FROM derivations d JOIN followers f ON f.name = d.name WHERE d.covered > f.cursor"
    ).fetchall()
    for name, covered in lost:
        total = total_at(covered)
        connection.execute(
            "UPDATE followers SET cursor = ?, reached = ?, registered = ? WHERE name = ?",
            (covered, total, total, name),
        )


def forget(connection: sqlite3.Connection) -> None:
    """Snapshots of those that follow no more: should they come back, they begin anew."""
    connection.execute("DELETE FROM derivations WHERE name NOT IN (SELECT name FROM followers)")


def covered(connection: sqlite3.Connection) -> Position | None:
    """Up to here no derivation needs anything after a crash; None if there is no derivation."""
    row = connection.execute("SELECT min(covered) FROM derivations").fetchone()
    return None if row[0] is None else int(row[0])


def slowest(connection: sqlite3.Connection) -> Position | None:
    """Up to here nobody needs anything: the lowest cursor, or the place of a derivation's last snapshot; None: no followers."""
    row = connection.execute(
        "SELECT min(coalesce(d.covered, f.cursor)) FROM followers f LEFT JOIN derivations d ON d.name = f.name"
    ).fetchone()
    return None if row[0] is None else int(row[0])
