"""How followers read, whatever the journal is kept in: the two generators over a handful of questions to it.

They hold nothing while they are suspended: a generator that is dropped in the middle leaves no lock and no transaction.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from adapters.base import Entry, Position
from adapters.clock import Clock
from collector.journal.base import Range, Slice
from collector.journal.queries import First
from collector.journal.waiting import Patience, Tail
from pipelines.batch import Batch
from pipelines.stage import Refusal


class Chunk(NamedTuple):
    """The entries behind a cursor up to `position`; none where nothing reads back or nothing is left."""

    position: Position
    entries: Sequence[Entry]

    @property
    def batches(self) -> list[Batch]:
        return [entry.batch for entry in self.entries]


class Pace:
    """How long a follower that has everything else lets more come, so that it writes a few times a second and not with
    every commit: what comes after a quiet time is handed on at once. Kept apart from the window of the commits, because
    a source that presses for its acknowledgement ends that one early, a hundred times a second if it must.

    waits: s for which a follower of ranges leaves unread what there is, because it wants more at once: no fault of it.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock, self._seconds = clock, seconds
        self._patience = Patience(clock)
        self.waits: dict[str, float] = {}

    def hurry(self) -> None:
        """From now on nobody waits."""
        self._patience.end()

    async def gather(self, tail: Tail, since: float, seen: int, values: int) -> None:
        """since: when the last slice was given (monotonic s). Returns at the latest `seconds` after that, and at once when
        `values` values have come since there were `seen`.
        """
        await self._patience.wait(since + self._seconds - self._clock.monotonic(), tail, seen + values)

    def now(self) -> float:
        return self._clock.monotonic()


class Readable(Protocol):
    """What the generators need to know of a journal."""

    tail: Tail
    pace: Pace
    clock: Clock

    async def cursor(self, follower: str) -> Position: ...
    async def planned(self, follower: str) -> tuple[Position, Position] | None: ...
    async def read(
        self, follower: str, after: Position, values: int, last: Position | None = None
    ) -> Chunk: ...
    async def first_behind(self, after: Position, values: int) -> First | None: ...
    async def plan(self, follower: str, first: Position, last: Position) -> None: ...
    async def commit(self, follower: str, position: Position, refused: Sequence[Refusal] = ()) -> None: ...


async def slices(journal: Readable, follower: str, values: int) -> AsyncIterator[Slice]:
    """Law 2. What holds nothing that reads back is committed here: nobody could do anything with it."""
    at, given, seen = await journal.cursor(follower), -math.inf, 0
    while True:
        await journal.tail.beyond(at)
        await journal.pace.gather(journal.tail, given, seen, values)
        before, come = at, journal.tail.values
        chunk = await journal.read(follower, at, values)
        at = chunk.position
        # Who has a backlog is given the rest of it at once.
        given, seen = (journal.pace.now() if at >= journal.tail.position else -math.inf), come
        if chunk.entries:
            yield Slice(at, chunk.batches)
        elif await journal.cursor(follower) == before:
            await journal.commit(follower, at)


async def ranges(journal: Readable, follower: str, values: int, seconds: float) -> AsyncIterator[Range]:
    """Fixed before it is yielded, and the same again until it is committed."""
    journal.pace.waits[follower] = seconds
    at = await journal.cursor(follower)
    while True:
        planned = await journal.planned(follower)
        if planned is None or planned[1] <= at:
            planned = await _next_range(journal, at, values, seconds)
            await journal.plan(follower, *planned)
        first, last = planned
        chunk = await journal.read(follower, at, 1 << 62, last)
        if chunk.entries:
            yield Range(first, last, chunk.entries)
        elif await journal.cursor(follower) == at:
            await journal.commit(follower, last)
        at = last


async def _next_range(
    journal: Readable, after: Position, values: int, seconds: float
) -> tuple[Position, Position]:
    """Waits until the range is full or its oldest entry old enough, and says where it ends."""
    deadline, patience = math.inf, Patience(journal.clock)
    while True:
        await journal.tail.beyond(after)
        tail, seen = journal.tail.position, journal.tail.values
        found = await journal.first_behind(after, values)
        if found is None:  # a hole at the end: nothing will ever come there
            return after + 1, tail
        if found.full_at is not None:
            return after + 1, found.full_at
        # Once seen, on the monotonic clock: a wall clock that is set back cannot hold a range open for years.
        age = max(0.0, (journal.clock.now() - found.appended) / 1e9)
        deadline = min(deadline, journal.clock.monotonic() + seconds - age)
        left = deadline - journal.clock.monotonic()
        if left <= 0:
            return after + 1, tail
        await patience.wait(left, journal.tail, seen + max(1, values - found.held))
