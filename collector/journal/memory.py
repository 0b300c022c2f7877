"""The journal's laws without the disk, for dry runs and tests: everything is gone with the process.

Kept apart from the SQLite journal down to its accounts, which are counted here value by value: two implementations that
share their arithmetic would agree on its mistakes. What the two do share is how followers are driven (following.py).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Final, Literal

from adapters.base import Delivery, Position
from adapters.clock import Clock
from collector.journal.base import Ledger, NumberedGap, Quarantined, Range, Slice, Standing, StoredGap
from collector.journal.deriving import behind, is_nothing
from collector.journal.following import Chunk, Pace, ranges, slices
from collector.journal.memory_books import Books, Cursor, Row, entries_of, first, losses, numbered
from collector.journal.quarantine import MemoryQuarantine
from collector.journal.queries import First
from collector.journal.store import RESERVE
from collector.journal.viewers import Viewers
from collector.journal.waiting import Space, Tail, Turns
from pipelines.batch import Batch
from pipelines.identity import Identity
from pipelines.registry import Registry
from pipelines.stage import Gap, Refined, Refusal

MAX_VALUES: Final = 1_000_000
ROWS: Final = 10_000  # refusals and gaps that are kept


class MemoryJournal:
    """See `collector.journal.base.Journal`. Holds at most `max_values`, the last sixteenth for what is derived."""

    def __init__(
        self,
        *,
        followers: Sequence[str],
        clock: Clock,
        max_values: int = MAX_VALUES,
        on_full: Literal["wait", "drop_oldest"] = "wait",
    ) -> None:
        self.registry = Registry()
        self.clock = clock
        self.tail = Tail(0)
        self.pace = Pace(clock, 0.0)
        self.turn = Turns()
        self._max, self._drops = max_values, on_full == "drop_oldest"
        self._rows: deque[Row] = deque()
        self._books: dict[str, Books] = {}
        self._cursors = {name: Cursor() for name in followers}
        self._gaps: deque[StoredGap] = deque(maxlen=ROWS)
        self.refusals: deque[Quarantined] = deque(maxlen=ROWS)
        self.refusals_dropped = 0
        self.quarantine = MemoryQuarantine(self)
        self._quarantine_number = self._gaps_told = 0
        self._viewers = Viewers()
        self.pressed = asyncio.Event()
        self._space = Space(self.pressed)

    def checkpoint(self, source: str) -> bytes | None:
        return self._books.setdefault(source, Books()).checkpoint

    def identity(self, source: str) -> Identity:
        return self._books.setdefault(source, Books()).identity

    async def append(
        self, source: str, delivery: Delivery, refined: Refined, *, own: bool = False
    ) -> Position:
        values = sum(len(batch) for batch in refined.batches)
        most = self._max if own else self._max - self._max // RESERVE
        await self._space.wait(lambda: self._fits(values, most))
        if values:
            self._add(source, tuple(refined.batches), values)
        self._book(source, delivery, refined, values)
        return self.tail.position

    def _fits(self, values: int, most: int) -> bool:
        if not self._cursors:
            while self._rows and self._held() + values > most:
                self._rows.popleft()
        elif self._drops:
            self._drop(values, most)
        return not values or not self._rows or self._held() + values <= most

    def _derivable(self, values: int, cursor: Cursor) -> bool:
        """Law 8: up to the end of the reserve, or because nobody holds more than this derivation."""
        return self._fits(values, self._max) or cursor.hold == self._slowest()

    def _slowest(self) -> Position:
        return min((cursor.hold for cursor in self._cursors.values()), default=0)

    def _drop(self, values: int, most: int) -> None:
        """The oldest rows until so many values fit, moving on whoever had not read them. Derivations keep what they need."""
        needed = min((c.covered for c in self._cursors.values() if c.snapshot is not None), default=1 << 62)
        doomed: list[Row] = []
        while self._rows and self._rows[0].position <= needed and self._held() + values > most:
            doomed.append(self._rows.popleft())
        behind = sorted(n for n, c in self._cursors.items() if doomed and c.position < doomed[-1].position)
        for loss in losses(doomed, [self._cursors[name] for name in behind]):
            detail = f"the buffer was full; dropped before it was stored by {', '.join(behind)}"
            self._tell(loss.source, doomed[-1].position, loss.gap(self.registry, detail))
        for name in behind:
            self._cursors[name].pass_over(doomed)

    def _tell(self, source: str, position: Position, gap: Gap) -> None:
        self._gaps.append(StoredGap(source, position, gap))
        self._gaps_told += 1

    def _held(self) -> int:
        return sum(len(row) for row in self._rows)

    def _add(self, source: str, batches: tuple[Batch, ...], values: int) -> None:
        row = Row(self.tail.position + 1, self.clock.now(), batches, source)
        self._rows.append(row)
        for cursor in self._cursors.values():
            cursor.journaled += values
        self._viewers.show(Slice(row.position, batches))
        self.tail.advance(row.position, values)

    def _book(self, source: str, delivery: Delivery, refined: Refined, values: int) -> None:
        books = self._books.setdefault(source, Books())
        refused = [*delivery.refused, *refined.refused]
        books.counts["decoded"] += delivery.decoded
        books.counts["journaled"] += values
        books.counts["refused"] += sum(r.values for r in refused)
        books.counts["gaps"] += len(delivery.gaps)
        books.filtered.update({str(reason): count for reason, count in refined.counts.items()})
        books.remarks.update({str(remark): count for remark, count in refined.remarks.items()})
        books.identity.learn(refined.learned)
        if delivery.checkpoint is not None:
            books.checkpoint = delivery.checkpoint
        self._gaps_told += len(delivery.gaps)
        self._gaps.extend(StoredGap(source, self.tail.position, gap) for gap in delivery.gaps)
        self.refuse(source, refused)

    def refuse(self, origin: str, refused: Sequence[Refusal]) -> None:
        for refusal in refused:
            self._quarantine_number += 1
            self.refusals_dropped += len(self.refusals) == ROWS
            self.refusals.append(Quarantined(self._quarantine_number, origin, refusal))

    def follow(self, follower: str, *, values: int = 10_000) -> AsyncIterator[Slice]:
        self._cursor(follower)
        return slices(self, follower, values)

    def ranges(self, follower: str, *, values: int, seconds: float) -> AsyncIterator[Range]:
        self._cursor(follower)
        return ranges(self, follower, values, seconds)

    async def commit(self, follower: str, position: Position, refused: Sequence[Refusal] = ()) -> None:
        cursor = self._cursor(follower)
        if position > self.tail.position:
            raise ValueError(f"{follower}: position {position} is behind the tail {self.tail.position}")
        if position <= cursor.position:
            return
        done = sum(len(row) for row in self._rows if cursor.position < row.position <= position)
        refused_values = sum(r.values for r in refused)
        cursor.position = position
        cursor.stored += done - refused_values
        cursor.quarantined += refused_values
        self.refuse(follower, refused)
        await self._delete()

    async def enrol(self, followers: Sequence[str]) -> None:
        oldest = self._rows[0].position - 1 if self._rows else self.tail.position
        new, gone = set(followers) - set(self._cursors), set(self._cursors) - set(followers)
        self._cursors |= {name: Cursor(oldest, self._held()) for name in new}
        for name in gone:
            if self._cursors[name].snapshot is None:
                await self.release(name)
            del self._cursors[name]
        await self._delete()

    async def release(self, follower: str) -> int:
        cursor = self._cursor(follower)
        behind = [row for row in self._rows if row.position > cursor.position]
        count = sum(len(row) for row in behind)
        cursor.position, cursor.planned, cursor.dropped = self.tail.position, None, cursor.dropped + count
        if count:
            gap = Gap(behind[0].appended, behind[-1].appended, "sink_released", follower, count=count)
            self._tell("journal", self.tail.position, gap)
        await self._delete()
        return count

    async def _delete(self) -> None:
        slowest = self._slowest()
        while self._rows and self._rows[0].position <= slowest:
            self._rows.popleft()
        self._space.changed()

    async def standing(self, derivation: str) -> Standing:
        cursor = self._cursor(derivation)
        return Standing(cursor.position, cursor.covered, cursor.snapshot)

    async def behind(
        self, derivation: str, after: Position, *, values: int = 10_000, last: Position | None = None
    ) -> Range:
        self._cursor(derivation)
        return await behind(self, derivation, after, values, last)

    async def append_derived(
        self,
        derivation: str,
        position: Position,
        delivery: Delivery,
        refined: Refined,
        snapshot: bytes | None = None,
    ) -> Position:
        cursor, nothing = self._cursor(derivation), is_nothing(delivery, refined)
        if position < cursor.position or (position == cursor.position and not nothing):
            return cursor.position
        end, values = position, sum(len(batch) for batch in refined.batches)
        await self._space.wait(lambda: self._derivable(values, cursor))
        if values:
            self._add(derivation, tuple(refined.batches), values)
            end += self.tail.position == position + 1
        if not nothing:
            self._book(derivation, delivery, refined, values)
        if snapshot is not None:
            cursor.covered, cursor.snapshot = end, snapshot
        await self.commit(derivation, end)
        await self._delete()
        return end

    def _cursor(self, follower: str) -> Cursor:
        if follower not in self._cursors:
            raise ValueError(f"{follower!r} is not a follower of this journal: {sorted(self._cursors)}")
        return self._cursors[follower]

    def hurry(self) -> None:
        self.pace.hurry()

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Slice]]:
        return self._watch()

    @asynccontextmanager
    async def _watch(self) -> AsyncIterator[AsyncIterator[Slice]]:
        with self._viewers.viewing() as viewer:
            yield viewer.slices()

    async def ledger(self) -> Ledger:
        out = self.quarantine
        sources = {
            name: replace(books.account(), replayed=out.replayed[name], purged=out.purged[name])
            for name, books in self._books.items()
            if books.counts
        }
        sinks = {
            name: replace(
                cursor.account(self._rows, out.values(name)),
                replayed=out.replayed[name],
                purged=out.purged[name],
            )
            for name, cursor in self._cursors.items()
        }
        return Ledger(sources, sinks, 0, self.tail.position, quarantine=out.contents())

    async def gaps(self, limit: int | None = 1000) -> Sequence[StoredGap]:
        return list(self._gaps)[-limit if limit else 0 :]

    async def gaps_after(self, number: int, limit: int) -> Sequence[NumberedGap]:
        return numbered(self._gaps, self._gaps_told, number)[:limit]

    async def quarantined(self, limit: int = 1000) -> Sequence[Quarantined]:
        return list(self.refusals)[-limit:]

    def count(self, follower: str, *, stored: int = 0, quarantined: int = 0) -> None:
        """Move values within a sink's account, for the quarantine."""
        cursor = self._cursor(follower)
        cursor.stored += stored
        cursor.quarantined += quarantined

    def uncount(self, source: str, values: int) -> None:
        """Values of a source as if they had never been decoded and refused: they are read again."""
        self._books[source].counts.subtract({"decoded": values, "refused": values})

    async def cursor(self, follower: str) -> Position:
        return self._cursor(follower).position

    async def planned(self, follower: str) -> tuple[Position, Position] | None:
        return self._cursor(follower).planned

    async def plan(self, follower: str, first: Position, last: Position) -> None:
        self._cursor(follower).planned = (first, last)

    async def read(self, follower: str, after: Position, values: int, last: Position | None = None) -> Chunk:
        entries = entries_of(self._rows, after, values, last)
        end = self.tail.position if last is None else last
        return Chunk(entries[-1].position if entries else end, entries)

    async def first_behind(self, after: Position, values: int) -> First | None:
        return first(self._rows, after, values)
