"""What a journal is asked to do before the power goes, and the memory of it outside the journal.

Each question and each answer carries the number of disk operations at that moment, so that for any power cut it is known
what was acknowledged before it (must be there) and what was only asked for (may be there, whole, and nothing else may).
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from unittest.mock import patch

from adapters.base import Delivery
from collector.journal import ballast, deriving, housekeeping, queries, store
from collector.journal.base import Journal, Standing
from collector.journal.mark import read_mark
from collector.journal.store import Appending, Store
from pipelines import codec
from pipelines.batch import Batch
from pipelines.identity import Identity
from pipelines.stage import Gap, Refined
from tests.contracts.journal import START, following, next_range, numbers, refine, refusal
from tests.fakes import FakeClock
from tests.journal.vfs import Disk

DERIVATION: Final = "derived.sum"
FOLLOWERS: Final = ("sink", "archive", DERIVATION)
SOURCES: Final = ("s0", "s1", "s2")
NEVER: Final = 1 << 62


@dataclass(slots=True)
class Asked:
    """One append. number: also its checkpoint. asked, acked: disk operations before it was, and before it returned."""

    number: int
    source: str
    delivery: Delivery
    refined: Refined
    asked: int
    acked: int = NEVER
    blob: bytes = b""

    @property
    def values(self) -> int:
        return sum(map(len, self.refined.batches))


@dataclass(slots=True)
class Moved:
    """One commit of a follower. refused: values."""

    follower: str
    position: int
    refused: int
    asked: int
    acked: int = NEVER


@dataclass(slots=True)
class History:
    disk: Disk
    appends: list[Asked] = field(default_factory=list)
    moves: list[Moved] = field(default_factory=list)
    folds: dict[tuple[str, int], bytes] = field(default_factory=dict)

    @property
    def now(self) -> int:
        return len(self.disk.ops)

    @property
    def stored(self) -> list[Asked]:
        return [event for event in self.appends if event.blob]

    @property
    def done(self) -> list[Asked | Moved]:
        return [*self.appends, *self.moves]

    async def append(self, journal: Journal, source: str, dice: random.Random) -> None:
        event = self._event(journal, source, dice)
        self.appends.append(event)
        await journal.append(source, event.delivery, event.refined)
        event.acked = self.now

    def _event(self, journal: Journal, source: str, dice: random.Random) -> Asked:
        number = len(self.appends) + 1
        batches = [_batch(journal, source, dice) for _ in range(dice.choice((0, 1, 1, 1, 2)))]
        refused = [refusal(2, b"?" * dice.choice((1, 3000)))] if dice.random() < 0.15 else []
        gaps = [Gap(START, START + 1, "connection_lost", "cable")] if dice.random() < 0.15 else []
        decoded = sum(map(len, batches)) + sum(r.values for r in refused)
        delivery = Delivery(batches, decoded, refused, gaps, b"%d" % number)
        refined = refine(batches, journal.identity(source))
        blob = codec.encode(refined.batches) if refined.batches else b""
        return Asked(number, source, delivery, refined, self.now, blob=blob)

    async def read_and_commit(self, journal: Journal, dice: random.Random) -> None:
        one = await asyncio.wait_for(anext(following(journal, "sink", values=dice.choice((3, 20)))), 120)
        refused = 1 if dice.random() < 0.2 else 0
        move = Moved("sink", one.position, refused, self.now)
        self.moves.append(move)
        await journal.commit("sink", one.position, [refusal()] * refused)
        move.acked = self.now

    async def seal(self, journal: Journal, dice: random.Random) -> None:
        span = await asyncio.wait_for(next_range(journal, "archive", values=8, seconds=0.0), 120)
        if dice.random() < 0.7:
            move = Moved("archive", span.last, 0, self.now)
            self.moves.append(move)
            await journal.commit("archive", span.last)
            move.acked = self.now

    async def derive(self, journal: Journal, dice: random.Random, *beside: str) -> None:
        """The next step of the derivation, and in the same transaction an append of each source in `beside`."""
        standing = await journal.standing(DERIVATION)
        total = await _recalled(journal, standing)
        assert total == _sums(self.stored[: standing.cursor])[0], "its memory is not what it was"
        span = await asyncio.wait_for(
            journal.behind(DERIVATION, standing.cursor, values=dice.choice((3, 40))), 120
        )
        total, made = _derived(total, [(e.position, e.source, e.batch) for e in span.entries])
        # The first step brings a snapshot, as collector/derive.py does it: without one, nothing is held.
        snapshot = b"%d" % total if standing.snapshot is None or dice.random() < 0.3 else None
        await asyncio.gather(
            self._put(journal, span.last, made, snapshot), *(self.append(journal, s, dice) for s in beside)
        )

    async def _put(self, journal: Journal, last: int, made: list[float], snapshot: bytes | None) -> None:
        number = len(self.appends) + 1
        batches = [numbers(journal, made, machine=DERIVATION)] if made else []
        refined = refine(batches, journal.identity(DERIVATION))
        blob = codec.encode(refined.batches) if refined.batches else b""
        delivery = Delivery(batches, len(made), checkpoint=b"%d" % number if made else None)
        end = last + 1 if blob and len(self.stored) == last else last
        event = Asked(number, DERIVATION, delivery, refined, self.now, blob=blob)
        move = Moved(DERIVATION, end, 0, self.now)
        self.appends += [event] if made else []
        self.moves.append(move)
        assert await journal.append_derived(DERIVATION, last, delivery, refined, snapshot) == end
        event.acked = move.acked = self.now

    def cursor(self, follower: str) -> int:
        return max((m.position for m in self.moves if m.follower == follower), default=0)

    def fold(self, source: str, last: int) -> bytes:
        """The identity of a source after its appends up to that number."""
        if (source, last) not in self.folds:
            memory = Identity()
            for event in self.appends:
                if event.source == source and event.number <= last:
                    memory.replay(event.refined.batches)
            self.folds[source, last] = memory.snapshot()
        return self.folds[source, last]

    def acknowledged(self, cut: int) -> int:
        """How many answers had been given by then."""
        return sum(done.acked <= cut for done in self.done)

    def settle(self, found: Store) -> None:
        """After a death in the middle of something: what is there was done, what is not never was."""
        last = {source: _last(found, source) for source in (*SOURCES, DERIVATION)}
        self.appends = [e for e in self.appends if e.number <= last[e.source]]
        self.folds.clear()
        self.moves = [m for m in self.moves if m.position <= _cursor(found, m.follower)]
        for done in self.done:
            done.acked = min(done.acked, self.now)


async def _recalled(journal: Journal, standing: Standing) -> int:
    """The memory at the cursor: the last snapshot, and what lies between, of which nothing may be missing."""
    total, at = int(standing.snapshot or b"0"), standing.covered
    while at < standing.cursor:
        span = await journal.behind(DERIVATION, at, values=7, last=standing.cursor)
        held = [entry.position for entry in span.entries]
        assert sorted(set(held)) == list(range(at + 1, span.last + 1)), "not held behind the snapshot"
        total, _ = _derived(total, [(e.position, e.source, e.batch) for e in span.entries])
        at = span.last
    return total


def _derived(total: int, entries: list[tuple[int, str, Batch]]) -> tuple[int, list[float]]:
    """Per position of the sources one value, which says the position and the sum of everything up to there."""
    made: dict[int, float] = {}
    for position, source, batch in entries:
        if source != DERIVATION:
            total += round(float(batch.values.sum()))
            made[position] = position * 1000.0 + total % 1000
    return total, list(made.values())


def _sums(stored: list[Asked]) -> tuple[int, list[float]]:
    """What a derivation must remember and must have made behind these, from what was handed in."""
    entries = [
        (place, event.source, batch)
        for place, event in enumerate(stored, start=1)
        for batch in event.refined.batches
    ]
    return _derived(0, entries)


def _batch(journal: Journal, source: str, dice: random.Random) -> Batch:
    """Few times and few values, so that the identity rule has something to do; now and then a point that is new."""
    values = [float(dice.randrange(12)) for _ in range(dice.choice((1, 2, 5, 40)))]
    machine = f"{source}-{dice.choice('aaaaabc')}"
    return numbers(
        journal, values, at=START + dice.randrange(6) if dice.random() < 0.3 else None, machine=machine
    )


@contextmanager
def small() -> Any:
    """Housekeeping after a few appends instead of after thousands; a start that does not fill megabytes of ballast first."""
    sizes = (
        (ballast, "SIZE", 8192),
        (ballast, "DELETE", 4096),
        (housekeeping, "RETIRE_ROWS", 3),
        (housekeeping, "CHUNK", 4),
        (housekeeping, "SNAPSHOT_APPENDS", 4),
        (housekeeping, "CHECKPOINT", 60_000),
    )
    with ExitStack() as stack:
        for module, name, size in sizes:
            stack.enter_context(patch.object(module, name, size))
        yield


async def work(journal: Journal, history: History, clock: FakeClock, dice: random.Random, steps: int) -> None:
    """So many steps of everything that a line does with its journal, one after the other, some at once."""
    for _ in range(steps):
        tail = len(history.stored)
        match dice.randrange(13):
            case 0 | 1 | 2 | 3:
                await history.append(journal, dice.choice(SOURCES), dice)
            case 4 | 5:
                await asyncio.gather(*(history.append(journal, s, dice) for s in dice.sample(SOURCES, 2)))
            case 6 | 7 if tail > history.cursor("sink"):
                await history.read_and_commit(journal, dice)
            case 8 if tail > history.cursor("archive"):
                await history.seal(journal, dice)
            case 9:  # the wall clock jumps: an hour, ten years, in both directions
                clock.advance(1.0, wall=dice.choice((3600.0, -3600.0, 3.2e8, -3.2e8)))
            case 10 | 11 if tail > history.cursor(DERIVATION):
                await history.derive(journal, dice)
            case 12 if tail > history.cursor(DERIVATION):
                await history.derive(journal, dice, dice.choice(SOURCES))


def _last(found: Store, source: str) -> int:
    return int(found.checkpoints.get(source, b"0"))


def _cursor(found: Store, follower: str) -> int:
    row = queries.follower(found.connection, follower)
    return 0 if row is None else row.cursor


def verify(found: Store, history: History, cut: int) -> None:
    """I1 to I5, I8, I9 for a store opened after a power cut behind `cut` operations."""
    asked = [event for event in history.appends if event.asked <= cut]
    there = [event for event in asked if event.number <= _last(found, event.source)]
    missing = [event.number for event in asked if event.acked <= cut and event not in there]
    assert not missing, f"acknowledged and lost: {missing}"
    stored = [event for event in there if event.blob]
    _entries_are(found, stored)
    _books_are(found, there)
    _followers_are(found, [move for move in history.moves if move.asked <= cut], cut)
    _derivation_is(found, stored)
    for source in {event.source for event in stored}:
        assert found.identities[source].snapshot() == history.fold(source, _last(found, source))
    told = [gap for gap in queries.gaps(found.connection, 1000) if gap.source == store.JOURNAL]
    acknowledged = any(event.acked <= cut for event in asked)
    assert not (told and acknowledged), f"damage told where only power was lost: {told}"
    high = read_mark(found.path)
    assert high is None or high.position <= len(stored)


def _entries_are(found: Store, stored: list[Asked]) -> None:
    """Contiguous up to the tail, byte for byte what was handed in, every point under its own name."""
    held = queries.rows(found.connection, 0, NEVER)
    assert found.standing.position == len(stored)
    assert not stored or held[-1].position == len(stored)
    first = held[0].position if held else 1
    assert [row.position for row in held] == list(range(first, len(stored) + 1))
    total = sum(event.values for event in stored[: first - 1])
    for row, event in zip(held, stored[first - 1 :], strict=True):
        total += event.values
        assert (row.source, row.values, row.total, row.blob) == (
            event.source,
            event.values,
            total,
            event.blob,
        )
    machines = {event.source for event in stored}
    assert {p.machine.split("-")[0] for p in found.registry.since(0)} >= machines


def _books_are(found: Store, there: list[Asked]) -> None:
    ledger = queries.ledger(found.connection, found.path)
    assert ledger.unaccounted == 0
    for source in {event.source for event in there}:
        mine, books = [event for event in there if event.source == source], ledger.sources[source]
        dropped = Counter[Any]()
        for event in mine:
            dropped.update(event.refined.counts)
        assert books.decoded == sum(event.delivery.decoded for event in mine)
        assert books.journaled == sum(event.values for event in mine)
        assert books.refused == sum(r.values for event in mine for r in event.delivery.refused)
        assert books.gaps == sum(len(event.delivery.gaps) for event in mine)
        assert books.filtered == dropped


def _followers_are(found: Store, moves: list[Moved], cut: int) -> None:
    """A cursor is where a commit put it, with the refusals of every commit up to it; nothing before it was deleted early."""
    ledger = queries.ledger(found.connection, found.path)
    assert set(ledger.sinks) == set(FOLLOWERS)
    for follower, books in ledger.sinks.items():
        mine = [move for move in moves if move.follower == follower]
        assert books.cursor in {0, *(move.position for move in mine)}
        assert books.cursor >= max((m.position for m in mine if m.acked <= cut), default=0)
        assert books.quarantined == sum(m.refused for m in mine if m.position <= books.cursor)
    oldest = found.connection.execute("SELECT min(position) FROM entries").fetchone()[0]
    assert oldest is None or oldest - 1 <= min(books.cursor for books in ledger.sinks.values())


def _derivation_is(found: Store, stored: list[Asked]) -> None:
    """Exactly once: what is there was made of everything up to the cursor and of nothing else, and the memory can be made again."""
    standing = deriving.standing(found.connection, DERIVATION)
    made = [event for event in stored if event.source == DERIVATION]
    values = [float(v) for event in made for batch in event.refined.batches for v in batch.values]
    assert values == _sums(stored[: standing.cursor])[1]
    assert standing.covered <= standing.cursor
    if standing.snapshot is None:
        assert standing.cursor == 0
        return
    assert int(standing.snapshot) == _sums(stored[: standing.covered])[0]
    oldest = found.connection.execute("SELECT min(position) FROM entries").fetchone()[0]
    assert oldest is None or oldest <= standing.covered + 1


def goes_on(found: Store) -> None:
    """The next append gets the next position and can be read."""
    item = Appending("s0", Delivery((), 0), Refined((), (), {}, {}, refine((), Identity()).learned))
    before = found.standing.position
    found.group([lambda s: s.append(item)])
    assert found.standing.position == before
