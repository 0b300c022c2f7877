"""The journal for other processes, read-only, whether the collector runs or not: `status`, `export`, `query`, `quarantine`.

Every question is one short read transaction, so that a slow reader never holds the collector's write-ahead log.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from adapters.base import Entry, Position
from collector.journal import queries, setaside
from collector.journal.base import JournalFailed, Ledger, Quarantined, StoredGap
from collector.journal.schema import NotAJournal, Unreadable, check_format, connect
from collector.journal.setaside import Wanted
from pipelines import codec
from pipelines.batch import Batch
from pipelines.registry import Registry

STEP: Final = 50_000
"""Values per read."""

T = TypeVar("T")


class NoJournal(Exception):
    """There is no journal at this path."""


class JournalReader:
    """`with JournalReader(path) as reader: …`. Raises NoJournal, NotAJournal, and JournalFailed if it does not read back."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._open: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        try:
            empty = self._path.stat().st_size == 0
        except (FileNotFoundError, NotADirectoryError):
            empty = True
        except OSError as error:
            raise _unreadable(self._path, error) from error
        if empty:
            raise NoJournal(
                f"{self._path}: there is no buffer here. Has the collector run with this state directory?"
            )
        self._open = _connected(self._path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open is not None:
            self._open.close()
        self._open = None

    @property
    def registry(self) -> Registry:
        """As stored now: points of entries that are read later may be missing in it."""
        return self._ask(queries.registry)

    def registry_of(self, batches: Iterable[Batch]) -> Registry:
        """That of these batches, which were read before it: it has every point of theirs, by the name `lost-…` if the row does
        not read back.
        """
        highest = max((int(batch.points.max()) for batch in batches if len(batch)), default=-1)
        known = self.registry
        queries.keep_places(known, highest + 1)
        return known

    def ledger(self) -> Ledger:
        return self._ask(queries.ledger, self._path)

    def gaps(self, limit: int = 1000) -> Sequence[StoredGap]:
        return self._ask(queries.gaps, limit)

    def quarantined(self, limit: int = 1000) -> Sequence[Quarantined]:
        return self._ask(queries.quarantined, limit)

    def refusals(self, wanted: Wanted) -> Sequence[Quarantined]:
        """What matches, by rising number."""
        return self._ask(setaside.select, wanted)

    def cursor(self, follower: str) -> Position | None:
        """The last position that this follower has committed; None if nobody of that name is registered."""
        found = self._ask(queries.follower, follower)
        return None if found is None else found.cursor

    def entries(self, after: Position = 0, last: Position | None = None) -> Iterator[Entry]:
        """What is held behind `after`, in order, up to `last` or what was the tail at the beginning.

        What is deleted while this is being read is left out (every follower has it); what does not read back, too.
        """
        last = self._ask(queries.tail)[0] if last is None else last
        while rows := self._ask(queries.rows, after, STEP, last):
            after = rows[-1].position
            for row in rows:
                with suppress(codec.CodecError):  # the collector itself sets it aside and tells
                    yield from (
                        Entry(row.position, b) for b in ([] if row.damaged else codec.decode(row.blob))
                    )

    def _ask(self, question: Callable[..., T], *arguments: Any) -> T:
        if self._open is None:
            raise ValueError("use `with JournalReader(path) as reader`")
        try:
            self._open.execute("BEGIN")
            try:
                return question(self._open, *arguments)
            finally:
                if self._open.in_transaction:
                    self._open.execute("ROLLBACK")
        except sqlite3.DatabaseError as error:
            raise JournalFailed(f"{self._path}: the buffer does not read back ({error})") from error


def _unreadable(path: Path, error: Exception) -> JournalFailed:
    if isinstance(error, PermissionError):
        return JournalFailed(
            f"{path}: the buffer may not be read by this user: ask as the user as whom the collector runs"
        )
    return JournalFailed(f"{path}: the buffer cannot be read ({error})")


def _connected(path: Path) -> sqlite3.Connection:
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(closing(connect(path, readonly=True)))
            check_format(connection)
            tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        except (sqlite3.DatabaseError, Unreadable) as error:
            raise _unreadable(path, error) from error
        except NotAJournal as error:
            raise NotAJournal(f"{path}: {error}") from error
        if not tables:
            raise NoJournal(f"{path}: the buffer is still empty")
        stack.pop_all()
    return connection
