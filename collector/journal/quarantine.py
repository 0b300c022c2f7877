"""What was refused, and the ways out of it: written again to the sink that refused it, read again by its source, or purged.

Values keep their identity: what a sink refused is written again under the same point and time, and never becomes a new
entry of the journal (other sinks, the history and derivations have it already, and would count it twice). What a source
could not read is read again from the bytes under the time of its receipt, which gives it the key that it would have had.
Each step is one transaction, so the books balance at any moment.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from adapters.base import Delivery, Position
from collector.journal import books, setaside
from collector.journal.base import Contents, Quarantined
from collector.journal.flushing import Job
from collector.journal.setaside import Purged, Waiting, Wanted
from collector.journal.store import Appending, Store
from pipelines.stage import Refined, Refusal

if TYPE_CHECKING:
    from collector.journal.memory import MemoryJournal


class Quarantine(Protocol):
    """Of one journal. Counts are values."""

    def may_wait(self, follower: str) -> bool:
        """False when nothing waits to be written to it again: asked after every write, so it costs nothing."""
        ...

    async def select(self, wanted: Wanted) -> Sequence[Quarantined]: ...
    async def write_again(self, follower: str, numbers: Sequence[int]) -> int:
        """Have the sink try these once more; returns the values. Those whose values were not kept stay as they are."""
        ...

    async def waiting(self, follower: str, values: int) -> Sequence[Waiting]: ...
    async def settle(self, follower: str, numbers: Sequence[int], refused: Sequence[Refusal]) -> None:
        """They were written again; what the sink refused again is in quarantine once more, and the rest is stored."""
        ...

    async def read_again(
        self, source: str, delivery: Delivery, refined: Refined, numbers: Sequence[int]
    ) -> Position:
        """Append what came of reading these refusals again, in their place."""
        ...

    async def purge(self, numbers: Sequence[int]) -> Purged: ...


class SqliteQuarantine:
    """ask: a question to the reading connection. durable: what the journal does when an append is."""

    def __init__(
        self,
        submit: Callable[[Job], Awaitable[Any]],
        ask: Callable[..., Awaitable[Any]],
        durable: Callable[[Appending, Position], None],
    ) -> None:
        self._submit, self._ask, self._durable = submit, ask, durable
        self._empty: set[str] = set()

    def may_wait(self, follower: str) -> bool:
        return follower not in self._empty

    async def select(self, wanted: Wanted) -> Sequence[Quarantined]:
        found: list[Quarantined] = await self._ask(setaside.select, wanted)
        return found

    async def write_again(self, follower: str, numbers: Sequence[int]) -> int:
        try:
            moved: int = await self._change(lambda s: setaside.write_again(s.connection, follower, numbers))
        finally:
            self._empty.discard(follower)
        return moved

    async def waiting(self, follower: str, values: int) -> Sequence[Waiting]:
        self._empty.add(
            follower
        )  # before the question: what is queued while it is under way is asked for again
        found: list[Waiting] = await self._ask(setaside.waiting, follower, values)
        if found:
            self._empty.discard(follower)
        return found

    async def settle(self, follower: str, numbers: Sequence[int], refused: Sequence[Refusal]) -> None:
        def work(store: Store) -> None:
            setaside.settle(store.connection, follower, numbers, sum(r.values for r in refused))
            store.refuse(follower, refused)

        await self._submit(Job(work, _future(), urgent=True))

    async def read_again(
        self, source: str, delivery: Delivery, refined: Refined, numbers: Sequence[int]
    ) -> Position:
        item = Appending(source, delivery, refined)

        def work(store: Store) -> Position:
            setaside.take_back(store.connection, source, numbers)
            store.standing.quarantine = books.quarantine_size(store.connection)
            return store.append(item)

        job = Job(work, _future(), append=item, then=partial(self._durable, item), urgent=True)
        return int(await self._submit(job))

    async def purge(self, numbers: Sequence[int]) -> Purged:
        purged: Purged = await self._change(lambda s: setaside.purge(s.connection, numbers))
        return purged

    async def _change(self, change: Callable[[Store], Any]) -> Any:
        def work(store: Store) -> Any:
            result = change(store)
            store.standing.quarantine = books.quarantine_size(store.connection)
            return result

        return await self._submit(Job(work, _future(), urgent=True))


def _future() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


class MemoryQuarantine:
    """The same without the disk, over the lists of a MemoryJournal."""

    def __init__(self, journal: MemoryJournal) -> None:
        self._journal = journal
        self._waiting: dict[str, list[Waiting]] = {}
        self.replayed, self.purged = Counter[str](), Counter[str]()

    def may_wait(self, follower: str) -> bool:
        return bool(self._waiting.get(follower))

    def values(self, follower: str) -> int:
        return sum(one.values for one in self._waiting.get(follower, ()))

    def contents(self) -> Contents:
        return Contents(len(self._journal.refusals), self._journal.refusals_dropped)

    async def select(self, wanted: Wanted) -> Sequence[Quarantined]:
        return wanted.of(self._journal.refusals)

    def _remove(self, taken: Sequence[Quarantined]) -> None:
        for one in taken:
            self._journal.refusals.remove(one)

    async def write_again(self, follower: str, numbers: Sequence[int]) -> int:
        chosen = Wanted(tuple(numbers), follower).of(self._journal.refusals) if numbers else []
        taken = [one for one in chosen if one.refusal.batch is not None]
        self._remove(taken)
        queue = self._waiting.setdefault(follower, [])
        queue += [Waiting(one.number, one.refusal.values, one.refusal.batch or b"") for one in taken]
        values = sum(one.refusal.values for one in taken)
        self._journal.count(follower, quarantined=-values)
        self.replayed[follower] += values
        return values

    async def waiting(self, follower: str, values: int) -> Sequence[Waiting]:
        found: list[Waiting] = []
        for one in self._waiting.get(follower, ()):
            found.append(one)
            if sum(max(1, known.values) for known in found) >= values:
                break
        return found

    async def settle(self, follower: str, numbers: Sequence[int], refused: Sequence[Refusal]) -> None:
        queue = self._waiting.get(follower, [])
        done = [one for one in queue if one.number in numbers]
        queue[:] = [one for one in queue if one.number not in numbers]
        again = sum(r.values for r in refused)
        self._journal.count(follower, stored=sum(one.values for one in done) - again, quarantined=again)
        self._journal.refuse(follower, refused)

    async def read_again(
        self, source: str, delivery: Delivery, refined: Refined, numbers: Sequence[int]
    ) -> Position:
        taken = Wanted(tuple(numbers), source).of(self._journal.refusals) if numbers else []
        self._remove(taken)
        values = sum(one.refusal.values for one in taken)
        self._journal.uncount(source, values)
        self.replayed[source] += values
        return await self._journal.append(source, delivery, refined)

    async def purge(self, numbers: Sequence[int]) -> Purged:
        taken = Wanted(tuple(numbers)).of(self._journal.refusals) if numbers else []
        self._remove(taken)
        for one in taken:
            self.purged[one.origin] += one.refusal.values
        return Purged(len(taken), sum(one.refusal.values for one in taken))
