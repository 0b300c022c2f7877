"""The journal in one SQLite file (DESIGN section 6): what the line calls, on the event loop; the disk is elsewhere.

Two threads of its own: one that writes and checkpoints, one that reads and decodes for the followers, each with its
connection. Nothing here waits for the disk on the event loop.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from adapters.base import Delivery, Position
from adapters.clock import Clock
from collector.journal import bounds, deriving, queries
from collector.journal.base import (
    JournalFailed,
    Ledger,
    NumberedGap,
    Quarantined,
    Range,
    Slice,
    Standing,
    StoredGap,
)
from collector.journal.flushing import Job, is_nothing
from collector.journal.following import Chunk, Pace, ranges, slices
from collector.journal.lock import locked
from collector.journal.place import refuse_network
from collector.journal.quarantine import SqliteQuarantine
from collector.journal.reading import Reader, decoded, tell
from collector.journal.recent import Recent
from collector.journal.recovery import open_store, register, suspect_path
from collector.journal.schema import connect_reader
from collector.journal.space import space
from collector.journal.store import Appending, Store
from collector.journal.viewers import Viewers
from collector.journal.waiting import Tail, Turns
from collector.journal.writer import Writer
from pipelines.identity import Identity
from pipelines.registry import Registry
from pipelines.stage import Refined, Refusal

MAX_BYTES: Final = 2 * 1024**3
MIN_FREE: Final = 64 * 1024**2

T = TypeVar("T")


@asynccontextmanager
async def open_journal(
    path: str | Path,
    *,
    followers: Sequence[str],
    clock: Clock,
    window: float = 0.25,
    max_bytes: int = MAX_BYTES,
    min_free: int = MIN_FREE,
    on_full: Literal["wait", "drop_oldest"] = "wait",
    network_drive: Literal["refuse", "allow"] = "refuse",
) -> AsyncIterator[SqliteJournal]:
    """The journal at `path`, created if it is not there. Leaving commits what waits and closes the file.

    followers: who must have read a value before it is deleted. New ones begin at the oldest value held; those of
    earlier runs that are not named here are let go. Without any, everything is kept until `max_bytes`, then the oldest
    goes. window: s, how long appends wait for others to share a flush, and followers for more to write. max_bytes: the file's used pages and its write-ahead log; beyond it `append` waits (a sixteenth
    earlier, so that all others have reserve), or the oldest entries are dropped with a gap record. min_free: bytes of the
    disk that are left to others. Raises JournalInUse, NotAJournal, JournalFailed, NetworkDrive, ValueError.
    """
    path = Path(path)
    if network_drive == "refuse":
        refuse_network(path)
    with locked(path), ThreadPoolExecutor(1, "journal-write") as writing:
        opening = partial(
            open_store,
            path,
            followers,
            clock,
            max_bytes=max_bytes,
            min_free=min_free,
            drops=on_full == "drop_oldest",
        )
        store = await asyncio.get_running_loop().run_in_executor(writing, opening)
        try:
            with (
                closing(connect_reader(path)) as connection,
                ThreadPoolExecutor(1, "journal-read") as reading,
            ):
                writer = Writer(store, writing, clock, window)
                async with _running(writer):
                    yield SqliteJournal(
                        store, writer, Reader(connection, reading), frozenset(followers), Pace(clock, window)
                    )
        finally:
            await asyncio.get_running_loop().run_in_executor(writing, store.close)


@asynccontextmanager
async def _running(writer: Writer) -> AsyncIterator[None]:
    """The writer at work. An error of the body leaves as it is, not as a group of one."""
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(writer.run())
            try:
                yield
            finally:
                writer.close()
    except ExceptionGroup as group:
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None
        raise


class SqliteJournal:
    """See `collector.journal.base.Journal` for the promises. Opened by `open_journal`."""

    def __init__(
        self, store: Store, writer: Writer, reader: Reader, followers: frozenset[str], pace: Pace
    ) -> None:
        self.registry: Registry = store.registry
        self.clock = store.clock
        self.tail = Tail(store.standing.position)
        self.pace = pace
        self.turn = Turns()
        self.pressed = writer.pressed
        self._store, self._writer, self._reader, self._followers = store, writer, reader, followers
        self._viewers, self._recent = Viewers(), Recent()
        self.quarantine = SqliteQuarantine(writer.submit, self._ask, self._durable)
        self._behind: set[str] = set()

    def checkpoint(self, source: str) -> bytes | None:
        return self._store.checkpoints.get(source)

    def identity(self, source: str) -> Identity:
        known = self._store.identities.get(source)  # made when it is not there, and not with every look
        return self._store.identities.setdefault(source, Identity()) if known is None else known

    async def append(
        self, source: str, delivery: Delivery, refined: Refined, *, own: bool = False
    ) -> Position:
        if is_nothing(delivery, refined):
            return self.tail.position
        item = Appending(source, delivery, refined, derived=own)
        job = Job(lambda store: store.append(item), _future(), append=item, then=partial(self._durable, item))
        return int(await self._writer.submit(job))

    def _durable(self, item: Appending, position: Position) -> None:
        """In the order of the positions, before anybody learns of them: memory follows the disk and never leads it."""
        self.identity(item.source).learn(item.refined.learned)
        if item.delivery.checkpoint is not None:
            self._store.checkpoints[item.source] = item.delivery.checkpoint
        if item.blob:
            self._recent.add(position, item.source, item.refined.batches, len(item.blob))
            self._viewers.show(Slice(position, item.refined.batches))
            self.tail.advance(position, item.count)

    def follow(self, follower: str, *, values: int = 10_000) -> AsyncIterator[Slice]:
        return slices(self, self._known(follower), values)

    def ranges(self, follower: str, *, values: int, seconds: float) -> AsyncIterator[Range]:
        return ranges(self, self._known(follower), values, seconds)

    async def commit(self, follower: str, position: Position, refused: Sequence[Refusal] = ()) -> None:
        self._known(follower)
        if position > self.tail.position:
            raise ValueError(f"{follower}: position {position} is behind the tail {self.tail.position}")
        # Who has a backlog is not held up by the window; who follows live shares the commit of the next append.
        urgent = follower in self._behind
        job = Job(lambda store: store.commit(follower, position, tuple(refused)), _future(), urgent=urgent)
        await self._writer.submit(job)

    async def enrol(self, followers: Sequence[str]) -> None:
        work = partial(register, followers=followers)
        await self._writer.submit(Job(work, _future(), urgent=True))
        self._followers = frozenset(followers)

    def _known(self, follower: str) -> str:
        if follower not in self._followers:
            raise ValueError(f"{follower!r} is not a follower of this journal: {sorted(self._followers)}")
        return follower

    async def standing(self, derivation: str) -> Standing:
        return await self._ask(deriving.standing, self._known(derivation))

    async def behind(
        self, derivation: str, after: Position, *, values: int = 10_000, last: Position | None = None
    ) -> Range:
        return await deriving.behind(self, self._known(derivation), after, values, last)

    async def append_derived(
        self,
        derivation: str,
        position: Position,
        delivery: Delivery,
        refined: Refined,
        snapshot: bytes | None = None,
    ) -> Position:
        known = self._known(derivation)
        item = Appending(known, delivery, refined, derived=True, beside=len(snapshot or b""))
        work = partial(deriving.append, follower=known, position=position, item=item, snapshot=snapshot)
        job = Job(work, _future(), then=partial(self._derived, item), urgent=known in self._behind)
        # Only what it puts out takes space: a cursor or a memory goes in the place of the one before.
        job.append = item if refined.batches else None
        return int((await self._writer.submit(job)).cursor)

    def _derived(self, item: Appending, done: deriving.Done) -> None:
        if done.appended is not None:
            self._durable(item, done.appended)

    def hurry(self) -> None:
        self.pace.hurry()
        self._writer.hurry()

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Slice]]:
        return self._watch()

    @asynccontextmanager
    async def _watch(self) -> AsyncIterator[AsyncIterator[Slice]]:
        with self._viewers.viewing() as viewer:
            yield viewer.slices()

    @property
    def condition(self) -> str | None:
        """What is wrong with the space, in words (`disk full: …`, `buffer full: …`); None if nothing is."""
        return self._store.room.condition

    async def ledger(self) -> Ledger:
        books = await self._ask(queries.ledger, self._store.path)
        waits = dict(self.pace.waits)
        return replace(books, space=await self._ask(space, self._store, self.clock.now(), waits))

    async def release(self, follower: str) -> int:
        self._known(follower)
        work = partial(bounds.release, follower=follower)
        return int(await self._writer.submit(Job(work, _future(), urgent=True)))

    async def gaps(self, limit: int | None = 1000) -> Sequence[StoredGap]:
        return await self._ask(queries.gaps, limit)

    async def gaps_after(self, number: int, limit: int) -> Sequence[NumberedGap]:
        return await self._ask(queries.gaps_after, number, limit)

    async def quarantined(self, limit: int = 1000) -> Sequence[Quarantined]:
        return await self._ask(queries.quarantined, limit)

    async def _ask(self, question: Callable[..., T], *arguments: Any) -> T:
        try:
            return await self._reader.ask(question, *arguments)
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT:
                suspect_path(self._store.path).touch()
            raise JournalFailed(f"{self._store.path}: the buffer does not read back ({error})") from error

    async def cursor(self, follower: str) -> Position:
        return (await self._row(follower)).cursor

    async def planned(self, follower: str) -> tuple[Position, Position] | None:
        return (await self._row(follower)).planned

    async def _row(self, follower: str) -> queries.Follower:
        found = await self._ask(queries.follower, follower)
        if found is None:
            raise JournalFailed(f"{follower} has vanished from the buffer's file {self._store.path}")
        return found

    async def first_behind(self, after: Position, values: int) -> queries.First | None:
        return await self._ask(queries.first_behind, after, values)

    async def plan(self, follower: str, first: Position, last: Position) -> None:
        job = Job(lambda store: store.plan(follower, first, last), _future(), urgent=True)
        await self._writer.submit(job)

    async def read(self, follower: str, after: Position, values: int, last: Position | None = None) -> Chunk:
        """Never beyond the tail: the file may be ahead of what the event loop has been told."""
        last = self.tail.position if last is None else min(last, self.tail.position)
        chunk = self._remembered(after, values, last) or await self._decoded(after, values, last)
        (self._behind.add if chunk.position < last else self._behind.discard)(follower)
        return chunk

    async def _decoded(self, after: Position, values: int, last: Position) -> Chunk:
        chunk, harm = await self._ask(decoded, after, values, last)
        if harm:
            await self._writer.submit(Job(partial(tell, harm=harm), _future(), urgent=True))
        return chunk

    def _remembered(self, after: Position, values: int, last: Position) -> Chunk | None:
        """What was dropped from the file, and told so, is not handed out any more."""
        oldest = self._store.standing.oldest
        return None if oldest is None or after + 1 < oldest else self._recent.chunk(after, values, last)


def _future() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()
