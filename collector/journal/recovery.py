"""The start: whatever is found on the disk, there is a journal afterwards, and what is missing from it is a stored gap.

A file that cannot be read at all is set aside under another name and never deleted: a specialist may still get at it.
Only a file that is not ours, or newer than we are, stops the start, because setting that aside would be an accident.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from adapters.base import Position
from adapters.clock import Clock
from collector.journal import books, bounds, damage, deriving, header, queries
from collector.journal.adoption import adopt
from collector.journal.ballast import Ballast
from collector.journal.base import JournalFailed
from collector.journal.mark import HighWater, Mark, read_mark
from collector.journal.mending import mend
from collector.journal.place import keep_private
from collector.journal.reconciling import Loss, reconcile
from collector.journal.renewal import read_whole, renew
from collector.journal.room import Room, is_full, wal_bytes
from collector.journal.schema import Unreadable, connect, connect_writer
from collector.journal.soundness import check_sound, is_sound
from collector.journal.store import Standing, Store
from pipelines import codec
from pipelines.identity import Identity, SnapshotError
from pipelines.registry import KindConflict

log = logging.getLogger("collector.journal")

_DAMAGE: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
REPLAY: Final = 100_000


def open_store(
    path: Path, followers: Sequence[str], clock: Clock, *, max_bytes: int, min_free: int, drops: bool = False
) -> Store:
    """The store with everything it needs to go on. Raises JournalFailed if the disk refuses, NotAJournal."""
    opening = _Opening(path, tuple(followers), clock, _Bounds(max_bytes, min_free, drops))
    try:
        return _opened(opening)
    except (sqlite3.Error, OSError) as error:
        if is_full(error) and Ballast.of(path).release():
            return _opened_at_last(opening)
        raise _cannot_open(path, error) from error


def _opened(opening: _Opening) -> Store:
    loss = _orphan(opening) or _suspect(opening)
    for again in (False, True) if loss is None else ():
        try:
            return _load(opening, None)
        except (sqlite3.Error, OSError, Unreadable, UnicodeDecodeError) as error:
            if not _is_damage(opening.path, error):
                raise
            read_whole(opening.path, suspect_path(opening.path))
            if again:
                loss = _set_aside(opening, str(error))
    return _load(opening, loss)


def _opened_at_last(opening: _Opening) -> Store:
    """On a full disk, in the space of the ballast."""
    try:
        return _opened(opening)
    except (sqlite3.Error, OSError) as error:
        raise _cannot_open(opening.path, error) from error


def _cannot_open(path: Path, error: Exception) -> JournalFailed:
    remedy = (
        f"make sure that {path.parent} may be written by this user and that its disk is not mounted read-only"
    )
    if is_full(error):
        remedy = f"the disk is full: free some space on the disk of {path.parent}; nothing that is stored there is lost"
    return JournalFailed(f"{path}: the buffer cannot be opened ({error}): {remedy}")


class _Bounds(NamedTuple):
    """max_bytes: of file and log. min_free: bytes of the disk left to others. drops: a full buffer drops its oldest."""

    max_bytes: int
    min_free: int
    drops: bool = False


class _Opening(NamedTuple):
    path: Path
    followers: tuple[str, ...]
    clock: Clock
    bounds: _Bounds


def _is_damage(path: Path, error: Exception) -> bool:
    code = (
        getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    )  # without one: a text that is none
    if isinstance(error, sqlite3.Error):
        return code in _DAMAGE or (code == sqlite3.SQLITE_ERROR and not is_sound(path))
    return isinstance(error, Unreadable | UnicodeDecodeError)


def _orphan(opening: _Opening) -> Loss | None:
    """A write-ahead log without its file: SQLite would delete it, and it may hold what nobody else has."""
    path = opening.path
    left = not path.exists() or path.stat().st_size == 0
    if not left or wal_bytes(path) == 0:
        return None
    return _set_aside(opening, "the file is missing or empty, and its write-ahead log is not")


def suspect_path(path: Path) -> Path:
    """Left behind when the file was found broken while in use: the next start then looks through all of it."""
    return path.with_name(path.name + ".suspect")


def _suspect(opening: _Opening) -> Loss | None:
    flag = suspect_path(opening.path)
    if not flag.exists():
        return None
    verdict = _verdict(opening.path)
    loss = None if verdict == "ok" else _set_aside(opening, verdict)
    flag.unlink()
    return loss


def _verdict(path: Path) -> str:
    try:
        with closing(connect(path)) as connection:
            return str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        return str(error)


def _set_aside(opening: _Opening, why: str) -> Loss:
    path = opening.path
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(opening.clock.now() / 1e9))
    aside = f"{path}.damaged-{stamp}"
    found = [Path(f"{path}{end}") for end in ("", "-wal") if Path(f"{path}{end}").exists()]
    begins = min([opening.clock.now(), *(file.stat().st_mtime_ns for file in found)])
    for file in found:
        file.rename(f"{aside}{str(file)[len(str(path)) :]}")
    Path(f"{path}-shm").unlink(missing_ok=True)
    log.error("%s: the buffer is damaged (%s); set aside as %s, and a new one is begun", path, why, aside)
    return Loss(begins, f"the buffer was damaged ({why}) and set aside as {Path(aside).name}")


def _load(opening: _Opening, loss: Loss | None) -> Store:
    with ExitStack() as stack:
        keep_private(opening.path)
        renew(Path(f"{opening.path}-wal"))
        if header.mend(opening.path):
            log.error("%s: a bit in the head of the file was wrong and was put right", opening.path)
        high = read_mark(opening.path)
        connection = stack.enter_context(closing(connect_writer(opening.path)))
        check_sound(connection)
        unbooked = mend(connection, high, opening.clock.now())
        store = _store(opening, connection, high)
        stack.callback(store.mark.close)
        _sync_folder(opening.path)
        first = partial(reconcile, high=high, loss=loss, booked=not unbooked)
        store.group([first, _condemn_last, adopt, lambda s: register(s, opening.followers)])
        _rebuild(store)
        store.room.ballast.hold(wal_bytes(opening.path), opening.bounds.min_free)
        stack.pop_all()
    return store


def _condemn_last(store: Store) -> None:
    """The last entry says where the journal ends, so it is looked at even if nobody has to read it any more."""
    newest = queries.rows(store.connection, store.standing.position - 1, 1)
    damage.condemn(store, [row for row in newest if not row.sound])


def _store(opening: _Opening, connection: sqlite3.Connection, high: HighWater | None) -> Store:
    try:
        position, total = damage.end(connection, high)
        booked = int(connection.execute("SELECT coalesce(sum(booked), 0) FROM sources").fetchone()[0])
        oldest = connection.execute("SELECT min(position) FROM entries").fetchone()[0]
        registry, checkpoints = queries.registry(connection), queries.checkpoints(connection)
    except (ValueError, KindConflict) as error:  # numbers and texts that nobody here has written
        raise Unreadable(str(error)) from error
    return Store(
        path=opening.path,
        connection=connection,
        name=queries.meta(connection, "store"),
        registry=registry,
        identities={},
        checkpoints=checkpoints,
        standing=Standing(
            position, total, registry.version, books.quarantine_size(connection), oldest=oldest, booked=booked
        ),
        mark=Mark.open(opening.path),
        clock=opening.clock,
        room=Room(
            opening.bounds.max_bytes,
            opening.bounds.min_free,
            Ballast.of(opening.path),
            drops=opening.bounds.drops,
        ),
    )


def _sync_folder(path: Path) -> None:
    """The names of new files are durable only with their folder (D10); Windows has no such thing and needs none."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def register(store: Store, followers: Sequence[str]) -> None:
    """New followers begin at the oldest row held; those that nobody wants any more are let go, or they hold the space."""
    connection = store.connection
    known = {row[0] for row in connection.execute("SELECT name FROM followers").fetchall()}
    for name in sorted(known - set(followers)):
        _let_go(store, name)
    oldest = connection.execute(
        "SELECT position - 1, total - count FROM entries ORDER BY position LIMIT 1"
    ).fetchone()
    cursor, reached = oldest or (store.standing.position, store.standing.total)
    connection.executemany(
        "INSERT INTO followers (name, cursor, reached, registered, registered_at) VALUES (?, ?, ?, ?, ?)",
        [(name, cursor, reached, reached, store.clock.now()) for name in followers if name not in known],
    )
    deriving.resume(connection, store.total_at)
    deriving.forget(connection)
    connection.execute(
        "UPDATE followers SET cursor = ?, reached = ? WHERE cursor > ?",
        (store.standing.position, store.standing.total, store.standing.position),
    )
    store.standing.cursors = dict(connection.execute("SELECT name, cursor FROM followers").fetchall())


def _let_go(store: Store, name: str) -> None:
    """With a gap for what it had not read; not for a derivation, whose output nobody was promised."""
    derives = deriving.standing(store.connection, name).snapshot is not None
    if not derives and (count := bounds.release(store, name)):
        log.warning(
            "%s: %s is no longer configured; %d values were not stored there", store.path, name, count
        )
    store.connection.execute("DELETE FROM followers WHERE name = ?", (name,))


def _rebuild(store: Store) -> None:
    """Identity of every source: its snapshot, and behind it the fold over what is held."""
    covered: dict[str, Position] = {}
    for source, position, kept in store.connection.execute(
        "SELECT source, position, snapshot FROM identities"
    ).fetchall():
        with suppress(SnapshotError):  # then whatever is held is what is known
            store.identities[source] = Identity.restore(kept if isinstance(kept, bytes) else b"")
        covered[source] = position
    at = int(queries.meta(store.connection, "identity_floor"))
    while found := queries.rows(store.connection, at, REPLAY):
        at = found[-1].position
        _replay(store, [row for row in found if row.position > covered.get(row.source, 0)])


def _replay(store: Store, rows: Sequence[queries.Row]) -> None:
    """What does not read back adds nothing to any memory, and the name of its source may be one that never was."""
    broken = []
    for row in rows:
        try:
            batches = codec.decode(row.blob) if row.sound and not row.damaged else []
        except codec.CodecError:
            broken.append(row)
            continue
        if not row.sound:
            broken.append(row)
            continue
        store.standing.unsaved.setdefault(row.source, row.position)
        store.standing.unsaved_values += row.values
        store.identities.setdefault(row.source, Identity()).replay(batches)
    if broken:
        store.group([lambda s: damage.condemn(s, broken)])
