"""What keeps the file small and the next start quick: snapshots of identity, deletion of what everybody has, checkpoints.

Done in small steps between commits, never within one: nobody waits for an append because something old is being tidied.
A row is deleted only when a snapshot covers it, so that identity can always be rebuilt from what is held. The newest row
stays, because it is what says where the journal ends.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from functools import partial
from typing import Final

from adapters.base import Position
from collector.journal import bounds, deriving, queries
from collector.journal.room import is_full
from collector.journal.store import CHECKPOINT, Store

SNAPSHOT_APPENDS: Final = 2_000
SNAPSHOT_VALUES: Final = 1_000_000
"""How much may have to be replayed at the next start."""

RETIRE_ROWS: Final = 512
RETIRE_VALUES: Final = 200_000
"""How much that everybody has is left lying before deleting begins: many deletions in one transaction wear the disk less."""

CHUNK: Final = 256
SMALL_CHUNK: Final = 16  # what still fits into the write-ahead log of a full disk
DROP_CHUNK: Final = 64
SPARE: Final = 64 * 1024 * 1024
SHRINK_PAGES: Final = 1024


def step(store: Store, kept: Mapping[str, bytes], *, pressed: bool) -> int:
    """One step of everything that is due; returns how much it freed (rows, pages). kept: the snapshots that `wanted` asked for.

    pressed: appends are waiting for space.
    """
    if kept:
        store.group([lambda s: _snapshot(s, kept)])
    deleted = _retired(store, pressed=pressed)
    if pressed and not deleted and store.room.drops:
        deleted = _dropped(store)
    if pressed and store.log_is_in_the_way(deleted):
        return deleted + store.cut_log()
    if store.logged >= CHECKPOINT or (pressed and deleted):
        store.checkpoint()
        if not pressed:
            _shrink(store)
    return deleted


def due(store: Store) -> bool:
    """Whether a step has something to do; cheap, asked after every commit."""
    if store.logged >= CHECKPOINT or _snapshots_due(store):
        return True
    oldest, reached = store.standing.oldest, min(store.standing.cursors.values(), default=0)
    return oldest is not None and reached > oldest and _enough(store, *_deletable(store))


def _snapshots_due(store: Store) -> bool:
    standing = store.standing
    oldest = min(standing.unsaved.values(), default=standing.position)
    return standing.position - oldest >= SNAPSHOT_APPENDS or standing.unsaved_values >= SNAPSHOT_VALUES


def wanted(store: Store, *, pressed: bool) -> list[str]:
    """The sources whose identity must be stored by the next step, because of its age or of what is to be deleted."""
    first, last = _deletable(store)
    if pressed and store.room.drops and first > last:
        last = _droppable(store)
    bound = 0
    if first <= last and (pressed or _enough(store, first, last)):
        bound = _chunk_end(store, last, CHUNK)
    if _snapshots_due(store):
        bound = store.standing.position
    return [name for name, uncovered in store.standing.unsaved.items() if uncovered <= bound]


def _snapshot(store: Store, kept: Mapping[str, bytes]) -> None:
    """A snapshot stands for the whole journal as it is now, so its position is the tail."""
    standing = store.standing
    for source, memory in kept.items():
        store.connection.execute(
            "INSERT INTO identities (source, position, snapshot) VALUES (?, ?, ?) ON CONFLICT (source)"
            " DO UPDATE SET position = excluded.position, snapshot = excluded.snapshot",
            (source, standing.position, memory),
        )
        store.logged += len(memory)
        standing.unsaved.pop(source, None)
    if not standing.unsaved:
        standing.unsaved_values = 0
    store.connection.execute("UPDATE meta SET value = ? WHERE key = 'identity_floor'", (_floor(store),))


def _floor(store: Store) -> Position:
    """Everything up to here is covered by snapshots: not needed for identity any more."""
    return min(store.standing.unsaved.values(), default=store.standing.position + 1) - 1


def _deletable(store: Store) -> tuple[Position, Position]:
    """From the oldest row to the last one that every follower has; first > last if there is none."""
    oldest = store.standing.oldest
    slowest = deriving.slowest(store.connection)
    last = min(store.standing.position if slowest is None else slowest, store.standing.position - 1)
    return (1, 0) if oldest is None else (oldest, last)


def _enough(store: Store, first: Position, last: Position) -> bool:
    if last - first + 1 >= RETIRE_ROWS and not _unfollowed(store):
        return True
    return last > first and not _unfollowed(store) and _values(store, first, last) >= RETIRE_VALUES


def _unfollowed(store: Store) -> bool:
    """Without any follower everything is kept as long as there is space: a sink may be configured tomorrow."""
    return not store.standing.cursors


def _values(store: Store, first: Position, last: Position) -> int:
    """Values between two rows that may themselves be gone, by the running totals."""
    found = store.connection.execute(
        "SELECT (SELECT total FROM entries WHERE position <= ? ORDER BY position DESC LIMIT 1)"
        " - (SELECT total - count FROM entries WHERE position >= ? ORDER BY position LIMIT 1)",
        (last, first),
    ).fetchone()[0]
    return int(found or 0)


def _retired(store: Store, *, pressed: bool) -> int:
    first, last = _deletable(store)
    if first > last or not (pressed or _enough(store, first, last)):
        return 0
    for chunk in (CHUNK, SMALL_CHUNK):
        try:
            return int(store.group([partial(_delete, last=last, chunk=chunk)])[0])
        except sqlite3.Error as error:
            if not is_full(error):
                raise
            store.make_room(error)
    return 0


def _droppable(store: Store) -> Position:
    """How far a full buffer may drop: what a derivation would need after a crash stays, or its sums would be wrong."""
    covered = deriving.covered(store.connection)
    last = store.standing.position - 1
    return last if covered is None else min(last, covered)


def _dropped(store: Store) -> int:
    """The oldest rows, although somebody has not read them, and a gap that says so. In small steps: no more than needed."""
    last = _droppable(store)
    for chunk in (DROP_CHUNK, SMALL_CHUNK):
        ends = min(_chunk_end(store, last, chunk), _floor(store))
        try:
            return int(store.group([partial(bounds.drop, upto=ends)])[0]) if ends else 0
        except sqlite3.Error as error:
            if not is_full(error):
                raise
            store.make_room(error)
    return 0


def _delete(store: Store, last: Position, chunk: int) -> int:
    """The oldest rows up to `last`, at most `chunk` of them, and none that identity still needs."""
    ends = min(_chunk_end(store, last, chunk), _floor(store))
    return store.delete(ends)


def _chunk_end(store: Store, last: Position, chunk: int) -> Position:
    """At most `chunk` of the oldest rows, and few of large ones: freeing a row's pages takes as long as writing them."""
    found = store.connection.execute(
        "SELECT position, total FROM entries WHERE position <= ? ORDER BY position LIMIT ?", (last, chunk)
    ).fetchall()
    near = [position for position, total in found if total - found[0][1] <= RETIRE_VALUES]
    return int(near[-1]) if near else 0


def _shrink(store: Store) -> None:
    """Give the disk back what a long outage has taken, a little at a time."""
    if queries.free_bytes(store.connection) > max(SPARE, queries.used_bytes(store.connection)):
        store.connection.execute(f"PRAGMA incremental_vacuum({SHRINK_PAGES})").fetchall()
