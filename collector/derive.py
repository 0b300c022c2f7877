"""What is computed from the journal goes into the journal: one follower per derivation, exactly once.

Not a stage behind `intake`: a derivation may look at several sources, its output is stored in a transaction with its own
cursor, and a slow or faulty one holds up nobody who acknowledges. After a crash its memory is made again from its last
snapshot and the entries behind it, up to the cursor and without putting anything out: all of that was stored already.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from adapters.base import Delivery, Entry, Position
from adapters.clock import Clock
from collector.journal.base import Journal, Standing
from collector.journal.waiting import first_of
from collector.supervisor import Connected
from pipelines.batch import Batch
from pipelines.derivation import PREFIX, Derivation, Derived, Selection, SnapshotError
from pipelines.identity import Identity
from pipelines.stage import Reason, Refined
from pipelines.stages.identify import identify
from pipelines.table import Tally

log = logging.getLogger("collector")

Build = Callable[[], Derivation]

SNAPSHOT_VALUES: Final = 100_000
SNAPSHOT_POSITIONS: Final = 20_000
"""A snapshot is due behind so many values of the journal, or positions: what a start may have to read again."""

BYTES_PER_VALUE: Final = 4
"""A large memory is stored more rarely, so that it wears the disk less than the values themselves do."""

IDLE: Final = 30.0
"""Seconds without anything new after which a snapshot is stored, so that little has to be read again."""

PRESSED: Final = 1.0
"""The same while something waits for space: a full buffer may be waiting for what we hold."""


class Due:
    """When the next snapshot is due, and what the last one covers."""

    def __init__(self, standing: Standing, every: int) -> None:
        self._every, self._covered, self._size = every, standing.covered, len(standing.snapshot or b"")
        self._first = standing.snapshot is None
        self._values = 0

    def now(self, position: Position, values: int, *, pressed: bool = False) -> bool:
        """pressed: something waits for space. Then as often as the disk bears it, because that lets go of entries."""
        self._values += values
        enough = max(0 if pressed else self._every, self._size // BYTES_PER_VALUE)
        return self._first or self._values >= enough or position - self._covered >= SNAPSHOT_POSITIONS

    def behind(self, position: Position) -> bool:
        return position > self._covered

    def stored(self, position: Position, snapshot: bytes) -> None:
        self._covered, self._size, self._first, self._values = position, len(snapshot), False, 0


class _Step(NamedTuple):
    delivery: Delivery
    refined: Refined


async def derive(
    journal: Journal, build: Build, clock: Clock, connected: Connected, every: int = SNAPSHOT_VALUES
) -> None:
    """Until cancelled, or until the journal fails. `build` makes a derivation without any memory.

    every: values of the journal between two snapshots, at least.
    """
    name = PREFIX + build().name
    standing = await journal.standing(name)
    derivation = await recalled(journal, build, standing)
    select = Selection(journal.registry, derivation.reads)
    connected(None)
    at, due = standing.cursor, Due(standing, every)
    while True:
        if await _idle(journal, at, clock):
            at = await _save(journal, derivation, at, due)
        span = await journal.behind(name, at)
        derived = derivation.feed(_read(select, span.entries))
        step = _step(derived, journal.identity(name))
        values = sum(len(entry.batch) for entry in span.entries)
        wanted = due.now(span.last, values, pressed=journal.pressed.is_set())
        snapshot = derivation.snapshot() if wanted else None
        at = await journal.append_derived(name, span.last, *step, snapshot)
        if snapshot is not None:
            due.stored(at, snapshot)


async def recalled(journal: Journal, build: Build, standing: Standing) -> Derivation:
    """The derivation as it was at its cursor."""
    derivation, at = build(), standing.covered
    try:
        if standing.snapshot is not None:
            derivation.restore(standing.snapshot)
    except SnapshotError as error:
        log.warning("%s: %s; it is made anew from what the buffer holds", PREFIX + derivation.name, error)
        at = 0
    if await _replay(journal, derivation, at, standing.cursor):
        return derivation
    log.warning(
        "%s: what it needs for its memory was dropped from the buffer; it is made anew from the rest",
        PREFIX + derivation.name,
    )
    derivation = build()
    await _replay(journal, derivation, 0, standing.cursor)
    return derivation


async def _replay(journal: Journal, derivation: Derivation, after: Position, upto: Position) -> bool:
    """Feed it what it has seen before, and drop what it says. False: the beginning is missing, so it must not be trusted."""
    select = Selection(journal.registry, derivation.reads)
    at = after
    while at < upto:
        span = await journal.behind(PREFIX + derivation.name, at, last=upto)
        if 0 < at == after and (not span.entries or span.entries[0].position > at + 1):
            return False
        derivation.feed(_read(select, span.entries))
        at = span.last
    return True


def _read(select: Selection, entries: Iterable[Entry]) -> list[Batch]:
    found = (select(entry.source, entry.batch) for entry in entries)
    return [batch for batch in found if batch is not None]


def _step(derived: Derived, identity: Identity) -> _Step:
    """As an append: what it made is what it decoded. What it said before is dropped, however long ago: times of what it makes
    rise (law 3 of derivations), so that what is stored tells how far it got, also when cursor or memory was lost.
    """
    tally = Tally()
    batches = [batch.take(identity.newer(batch.points, batch.at)) for batch in derived.batches]
    tally.counts[Reason.DUPLICATE] += sum(map(len, derived.batches)) - sum(map(len, batches))
    kept, learned = identify([batch for batch in batches if len(batch)], identity, tally)
    counts = {reason: count for reason, count in tally.counts.items() if count}
    tally.remarks.update(derived.remarks)
    remarks = {remark: count for remark, count in tally.remarks.items() if count}
    return _Step(
        Delivery(derived.batches, sum(map(len, derived.batches))), Refined(kept, (), counts, remarks, learned)
    )


async def _idle(journal: Journal, at: Position, clock: Clock) -> bool:
    """Whether nothing came for a while; returns at once when something is there."""
    if journal.tail.position <= at:
        await first_of(journal.tail.beyond(at), clock.sleep(IDLE), _pressed(journal, clock))
    return journal.tail.position <= at


async def _pressed(journal: Journal, clock: Clock) -> None:
    await journal.pressed.wait()
    await clock.sleep(PRESSED)


async def _save(journal: Journal, derivation: Derivation, at: Position, due: Due) -> Position:
    if not due.behind(at):
        return at
    snapshot = derivation.snapshot()
    at = await journal.append_derived(
        PREFIX + derivation.name, at, *_step(Derived((), {}), Identity()), snapshot
    )
    due.stored(at, snapshot)
    return at
