"""The file that the journal is: its tables, and how a connection to it is opened.

Plain tables with plain names, so that anybody can look inside with the `sqlite3` program. `entries` holds one row per
append and the values in one compact blob with its own checksum, because a row per value costs ten times the space and time.
`total` is the running sum of `count`: whatever lies between two rows is known without reading what lies between them,
also when it is gone. Every row bears a checksum, `seal` (seals.py).
"""

from __future__ import annotations

import errno
import secrets
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

from collector.journal import seals, setaside, upgrading
from collector.journal.base import JournalFailed
from collector.journal.header import APPLICATION_ID, PAGE

FORMAT: Final = 3
"""Files of every released format can be opened for ever (tests/journal/golden). 2: `followers.dropped`. 3: `seal` in every
table, the format also in `meta`, and no index beside the tables.
"""

TABLES: Final = (
    """
CREATE TABLE meta (key TEXT PRIMARY KEY, value, seal INTEGER) WITHOUT ROWID;
CREATE TABLE points (id INTEGER PRIMARY KEY, machine TEXT NOT NULL, name TEXT NOT NULL, kind INTEGER NOT NULL,
    unit TEXT NOT NULL, tags TEXT NOT NULL, seal INTEGER);
CREATE TABLE sources (name TEXT PRIMARY KEY, decoded INTEGER NOT NULL DEFAULT 0, journaled INTEGER NOT NULL DEFAULT 0,
    refused INTEGER NOT NULL DEFAULT 0, filtered TEXT NOT NULL DEFAULT '{}', remarks TEXT NOT NULL DEFAULT '{}',
    gaps INTEGER NOT NULL DEFAULT 0, checkpoint BLOB, booked INTEGER NOT NULL DEFAULT 0, seal INTEGER) WITHOUT ROWID;
CREATE TABLE entries (position INTEGER PRIMARY KEY, source TEXT NOT NULL, appended INTEGER NOT NULL,
    count INTEGER NOT NULL, total INTEGER NOT NULL, damaged INTEGER NOT NULL DEFAULT 0, blob BLOB NOT NULL, seal INTEGER);
CREATE TABLE identities (source TEXT PRIMARY KEY, position INTEGER NOT NULL, snapshot BLOB NOT NULL, seal INTEGER)
    WITHOUT ROWID;
CREATE TABLE followers (name TEXT PRIMARY KEY, cursor INTEGER NOT NULL, reached INTEGER NOT NULL,
    registered INTEGER NOT NULL, registered_at INTEGER NOT NULL, stored INTEGER NOT NULL DEFAULT 0,
    quarantined INTEGER NOT NULL DEFAULT 0, planned_first INTEGER, planned_last INTEGER,
    dropped INTEGER NOT NULL DEFAULT 0, seal INTEGER) WITHOUT ROWID;
CREATE TABLE quarantine (number INTEGER PRIMARY KEY AUTOINCREMENT, origin TEXT NOT NULL, place TEXT NOT NULL,
    reason TEXT NOT NULL, raw BLOB NOT NULL, at INTEGER NOT NULL, count INTEGER NOT NULL, seal INTEGER);
CREATE TABLE gaps (number INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL, position INTEGER NOT NULL,
    begins INTEGER NOT NULL, ends INTEGER NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, machines TEXT NOT NULL,
    count INTEGER, seal INTEGER);
CREATE TABLE derivations (name TEXT PRIMARY KEY, covered INTEGER NOT NULL, snapshot BLOB NOT NULL, seal INTEGER)
    WITHOUT ROWID;
"""
    + setaside.TABLES
)

_NAMES: Final = {"meta", "points", "sources", "entries", "identities", "followers", "quarantine", "gaps"}

COUNTERS: Final = (
    "base_position",
    "base_total",
    "identity_floor",
    "deleted",
    "quarantine_dropped",
    "gaps_dropped",
    *(f"rows_{table}" for table in seals.COUNTED),
)
"""Numbers in `meta`. base: where the journal goes on behind something that was lost. identity_floor: everything up to
here is covered by snapshots. deleted: everything up to here was deleted in an orderly way. rows: of each table.
"""


class Unreadable(Exception):
    """The file is a journal, and not whole."""


class NotAJournal(Exception):
    """The file is there and is something else, or was written by a newer version: it is left alone."""


def connect(path: Path, *, readonly: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode that may be handed to the one thread that will use it."""
    address = f"{path.absolute().as_uri()}?mode={'ro' if readonly else 'rwc'}"
    connection = sqlite3.connect(
        address, uri=True, isolation_level=None, check_same_thread=False, timeout=5.0, cached_statements=64
    )
    with ExitStack() as stack:
        stack.callback(connection.close)
        connection.execute("PRAGMA cache_size=-2048")
        # A text that is none any more is met by its seal, and not by an error in the middle of a question.
        connection.text_factory = _text
        stack.pop_all()
    return connection


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def connect_writer(path: Path) -> sqlite3.Connection:
    """The one connection that writes and checkpoints. Creates the file and its tables if they are not there."""
    with ExitStack() as stack:
        connection = stack.enter_context(closing(connect(path)))
        _prepare(connection)
        stack.pop_all()
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads, for the journal's own followers. Raises JournalFailed."""
    try:
        return connect(path, readonly=True)
    except sqlite3.Error as error:
        raise JournalFailed(f"{path}: the buffer cannot be read ({error})") from error


def _prepare(connection: sqlite3.Connection) -> None:
    check_format(connection)  # first, because the next lines write, and what is not ours is left as it is
    # These three hold only if set before the first table is made, in this order.
    connection.execute(f"PRAGMA page_size={PAGE}")
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    connection.execute("PRAGMA secure_delete=0")
    check_format(connection)
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA journal_size_limit=4194304")
    # Our own checkpoints (Store.checkpoint): SQLite's automatic one swallows I/O errors, and these must end the process.
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute("PRAGMA temp_store=MEMORY")  # for the triggers of seals.py
    if not _tables(connection):
        _create(connection)
    elif (version := version_of(connection)) < FORMAT:
        _upgrade(connection)
    elif (
        _pragma(connection, "user_version") != version
    ):  # a bit of the header has flipped: `meta` knows better
        connection.execute(f"PRAGMA user_version={version}")


def _upgrade(connection: sqlite3.Connection) -> None:
    """A flipped bit in the text of a table makes another column of it, and the file look like one of an earlier format (D7)."""
    try:
        upgrading.upgrade(connection, TABLES, numbers(), FORMAT)
    except KeyError as column:
        raise Unreadable(f"a table has lost its column {column}") from column


def _write_ahead(connection: sqlite3.Connection) -> None:
    """SQLite swallows an I/O error of the switch and says `wal`; it goes on without a log, where a commit may be rolled
    back by a power cut (D3). After a look into the file it tells the truth.
    """
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    if mode != "wal":
        raise OSError(errno.EIO, f"no write-ahead log can be kept here (journal_mode={mode})")


def _create(connection: sqlite3.Connection) -> None:
    connection.executescript(f"BEGIN IMMEDIATE; PRAGMA application_id={APPLICATION_ID}; {TABLES}")
    connection.execute(f"PRAGMA user_version={FORMAT}")
    seals.install(connection)
    rows = {**numbers(), "store": secrets.token_hex(8)}
    connection.executemany("INSERT INTO meta (key, value) VALUES (?, ?)", list(rows.items()))
    connection.execute("COMMIT")


def numbers() -> dict[str, object]:
    """What `meta` begins with, the id of the journal aside."""
    return {**dict.fromkeys(COUNTERS, 0), "format": FORMAT}


def check_format(connection: sqlite3.Connection) -> None:
    """Raises NotAJournal for a file of another program or of a later version; Unreadable, sqlite3.DatabaseError for a
    broken one.
    """
    known, tables = _pragma(connection, "application_id"), _tables(connection)
    if not tables:
        return
    if known != APPLICATION_ID:
        raise NotAJournal("this is an SQLite file of another program: give the buffer another path")
    if missing := _NAMES - tables:
        raise Unreadable(f"tables are missing: {', '.join(sorted(missing))}")
    version = version_of(connection)
    if version > FORMAT:
        raise NotAJournal(
            f"the buffer was written by a newer version (format {version}, known here: {FORMAT}): update the collector"
        )


def version_of(connection: sqlite3.Connection) -> int:
    """The file's format: by the shape of its tables and by `meta`, because a bit of the number in the header may flip.

    Whatever comes after us keeps (key, value, seal) in `meta`, and its format under `format`.
    """
    if "seal" not in seals.columns(connection, "meta"):
        return 2 if "dropped" in seals.columns(connection, "followers") else 1
    row = connection.execute("SELECT key, value, seal FROM meta WHERE key = 'format'").fetchone()
    if row is not None and row[2] == seals.seal("meta", *row[:2]):
        return int(row[1])
    return FORMAT


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {str(row[0]) for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
