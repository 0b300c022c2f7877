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
from pathlib import Path
from typing import Final, NamedTuple

from adapters.base import Position
from adapters.clock import Clock
from collector.journal import books, deriving, queries
from collector.journal.adoption import adopt
from collector.journal.ballast import Ballast
from collector.journal.base import JournalFailed
from collector.journal.mark import HighWater, Mark, read_mark
from collector.journal.place import keep_private
from collector.journal.renewal import read_whole, renew
from collector.journal.room import Room, is_full, wal_bytes
from collector.journal.schema import Unreadable, connect, connect_writer
from collector.journal.soundness import check_sound, is_sound
from collector.journal.store import JOURNAL, Standing, Store
from pipelines import codec
from pipelines.identity import Identity, SnapshotError
from pipelines.registry import KindConflict
from pipelines.stage import Gap

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


class _Loss(NamedTuple):
    """begins: ns, since when something may be missing."""

    begins: int
    detail: str


def _is_damage(path: Path, error: Exception) -> bool:
    code = (
        getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    )  # without one: a text that is none
    if isinstance(error, sqlite3.Error):
        return code in _DAMAGE or (code == sqlite3.SQLITE_ERROR and not is_sound(path))
    return isinstance(error, Unreadable | UnicodeDecodeError)


def _orphan(opening: _Opening) -> _Loss | None:
    """A write-ahead log without its file: SQLite would delete it, and it may hold what nobody else has."""
    path = opening.path
    left = not path.exists() or path.stat().st_size == 0
    if not left or wal_bytes(path) == 0:
        return None
    return _set_aside(opening, "the file is missing or empty, and its write-ahead log is not")


def suspect_path(path: Path) -> Path:
    """Left behind when the file was found broken while in use: the next start then looks through all of it."""
    return path.with_name(path.name + ".suspect")


def _suspect(opening: _Opening) -> _Loss | None:
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


def _set_aside(opening: _Opening, why: str) -> _Loss:
    path = opening.path
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(opening.clock.now() / 1e9))
    aside = f"{path}.damaged-{stamp}"
    found = [Path(f"{path}{end}") for end in ("", "-wal") if Path(f"{path}{end}").exists()]
    begins = min([opening.clock.now(), *(file.stat().st_mtime_ns for file in found)])
    for file in found:
        file.rename(f"{aside}{str(file)[len(str(path)) :]}")
    Path(f"{path}-shm").unlink(missing_ok=True)
    log.error("%s: the buffer is damaged (%s); set aside as %s, and a new one is begun", path, why, aside)
    return _Loss(begins, f"the buffer was damaged ({why}) and set aside as {Path(aside).name}")


def _load(opening: _Opening, loss: _Loss | None) -> Store:
    with ExitStack() as stack:
        keep_private(opening.path)
        renew(Path(f"{opening.path}-wal"))
        connection = stack.enter_context(closing(connect_writer(opening.path)))
        check_sound(connection)
        store = _store(opening, connection)
        stack.callback(store.mark.close)
        _sync_folder(opening.path)
        high = read_mark(opening.path)
        store.group([lambda s: _reconcile(s, high, loss), adopt, lambda s: register(s, opening.followers)])
        _rebuild(store)
        store.room.ballast.hold(wal_bytes(opening.path), opening.bounds.min_free)
        stack.pop_all()
    return store


def _store(opening: _Opening, connection: sqlite3.Connection) -> Store:
    try:
        position, total = queries.tail(connection)
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
            position, total, registry.version, books.quarantine_size(connection), oldest=oldest
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


def _reconcile(store: Store, high: HighWater | None, loss: _Loss | None) -> None:
    """Go on behind the mark, never before it: positions that a history file may already bear are not given again."""
    standing, now = store.standing, store.clock.now()
    ahead = high is not None and high.position > standing.position
    if high is not None and ahead and (standing.position == 0 or high.store == store.name):
        loss = loss or _Loss(_last_seen(store, now), "the buffer ends before what was acknowledged")
        first, missing = standing.position + 1, high.total - standing.total
        detail = f"{loss.detail}: positions {first} to {high.position}"
        gap = Gap(loss.begins, now, "journal_damaged", detail, count=missing if standing.position else None)
        _rebase(store, high)
        _tell(store, gap)
    elif loss is not None:
        _tell(store, Gap(loss.begins, now, "journal_damaged", loss.detail))


def _tell(store: Store, gap: Gap) -> None:
    log.error("%s: %s", store.path, gap.detail)
    books.add_gaps(store.connection, JOURNAL, store.standing.position, [gap])


def _last_seen(store: Store, now: int) -> int:
    row = store.connection.execute("SELECT appended FROM entries ORDER BY position DESC LIMIT 1").fetchone()
    return now if row is None else min(now, row[0])


def _rebase(store: Store, high: HighWater) -> None:
    store.standing.position, store.standing.total = high.position, high.total
    for key, value in (("base_position", high.position), ("base_total", high.total)):
        store.connection.execute("UPDATE meta SET value = ? WHERE key = ?", (value, key))


def register(store: Store, followers: Sequence[str]) -> None:
    """New followers begin at the oldest row held; those that nobody wants any more are let go, or they hold the space."""
    connection = store.connection
    known = {row[0] for row in connection.execute("SELECT name FROM followers").fetchall()}
    for name in sorted(known - set(followers)):
        log.warning(
            "%s: %s is no longer configured and lets go of what it had not yet read", store.path, name
        )
        connection.execute("DELETE FROM followers WHERE name = ?", (name,))
    connection.execute(deriving.TABLE)
    deriving.forget(connection)
    oldest = connection.execute(
        "SELECT position - 1, total - count FROM entries ORDER BY position LIMIT 1"
    ).fetchone()
    cursor, reached = oldest or (store.standing.position, store.standing.total)
    connection.executemany(
        "INSERT INTO followers (name, cursor, reached, registered, registered_at) VALUES (?, ?, ?, ?, ?)",
        [(name, cursor, reached, reached, store.clock.now()) for name in followers if name not in known],
    )
    connection.execute(
        "UPDATE followers SET cursor = ?, reached = ? WHERE cursor > ?",
        (store.standing.position, store.standing.total, store.standing.position),
    )
    store.standing.cursors = dict(connection.execute("SELECT name, cursor FROM followers").fetchall())


def _rebuild(store: Store) -> None:
    """Identity of every source: its snapshot, and behind it the fold over what is held."""
    covered: dict[str, Position] = {}
    for source, position, kept in store.connection.execute("SELECT * FROM identities").fetchall():
        with suppress(SnapshotError):  # then whatever is held is what is known
            store.identities[source] = Identity.restore(kept if isinstance(kept, bytes) else b"")
        covered[source] = position
    at = int(queries.meta(store.connection, "identity_floor"))
    while found := queries.rows(store.connection, at, REPLAY):
        at = found[-1].position
        _replay(store, [row for row in found if row.position > covered.get(row.source, 0)])


def _replay(store: Store, rows: Sequence[queries.Row]) -> None:
    broken = []
    for row in rows:
        store.standing.unsaved.setdefault(row.source, row.position)
        store.standing.unsaved_values += row.values
        try:
            batches = [] if row.damaged else codec.decode(row.blob)
        except codec.CodecError:
            broken.append(row)
        else:
            store.identities.setdefault(row.source, Identity()).replay(batches)
    if broken:
        store.group([lambda s: s.condemn(broken)])
