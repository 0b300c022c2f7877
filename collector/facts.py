"""The collector's own statements, stored like any other value: connections, staleness, and its own downtime.

A silent machine and a machine at standstill look the same in a flat line; these rows tell them apart (promise 2). They are
written by the pseudo-source `collector`, which keeps its own account in the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from adapters.base import Delivery
from adapters.clock import Clock
from collector.journal.base import Journal
from pipelines import quality
from pipelines.batch import Batch, Flag, Kind, Point, batch_of
from pipelines.identity import Identity
from pipelines.stage import Gap, Refine, Refined

OWN = "collector"
"""Name of the pseudo-source, and the machine under which its points are stored: reserved, no machine may have it."""

ALIVE_EVERY = 10.0


class Facts:
    """Writes facts into the journal. One per running collector."""

    def __init__(self, journal: Journal, clock: Clock, refine: Refine) -> None:
        self._journal, self._clock, self._refine = journal, clock, refine

    async def started(self) -> None:
        """State the downtime since the last sign of life as a gap of every source."""
        last = self._journal.checkpoint(OWN)
        now = self._clock.now()
        gaps: tuple[Gap, ...] = ()
        if last is not None:
            gaps = (Gap(int(last), now, "collector_down", "the collector was not running"),)
        await self._tell((), gaps, now)

    async def alive(self) -> None:
        """A sign of life every ten seconds: what the next start measures the downtime from."""
        while True:
            await self._clock.sleep(ALIVE_EVERY)
            await self._tell((), (), self._clock.now())

    async def connection(self, source: str, up: bool) -> None:
        point = self._journal.registry.intern(
            Point(OWN, f"connected.{source}", Kind.FLAG, "", {"source": source})
        )
        now = self._clock.now()
        await self._tell((batch_of(Kind.FLAG, [point], now, [up], received=now),), (), now)

    async def lost(self, seen: Seen) -> None:
        """The points of a lost source have no value from now on: stored once, never by repeating the last value."""
        now = self._clock.now()
        ids = seen.take()
        if len(ids):
            await self._tell(_without_value(self._journal, ids, now), (), now)

    async def _tell(self, batches: Sequence[Batch], gaps: Sequence[Gap], now: int) -> None:
        delivery = Delivery(batches, sum(map(len, batches)), gaps=gaps, checkpoint=str(now).encode())
        refined = self._refine(batches, self._journal.identity(OWN))
        await self._journal.append(OWN, delivery, refined)


def _without_value(journal: Journal, ids: NDArray[np.int32], now: int) -> list[Batch]:
    kinds = np.array([journal.registry[int(i)].kind for i in ids])
    return [
        batch_of(
            kind,
            ids[kinds == kind],
            now,
            [kind.empty] * int(np.count_nonzero(kinds == kind)),
            received=now,
            quality=quality.BAD_NO_COMMUNICATION,
            flags=Flag.NO_VALUE,
        )
        for kind in sorted({Kind(k) for k in kinds})
    ]


class Seen:
    """Which points a source has delivered in this life: a bit per point, set by the column."""

    def __init__(self) -> None:
        self._seen = np.zeros(0, np.bool_)

    def note(self, points: NDArray[np.int32], version: int) -> None:
        if version > len(self._seen):
            self._seen = np.concatenate([self._seen, np.zeros(version - len(self._seen) + 64, np.bool_)])
        self._seen[points] = True

    def take(self) -> NDArray[np.int32]:
        """The points seen since the last call, ascending."""
        ids = np.flatnonzero(self._seen).astype(np.int32)
        self._seen[:] = False
        return ids


@dataclass(frozen=True, slots=True)
class Watching:
    """A refine that also notes which points went through it."""

    refine: Refine
    seen: Seen
    version: Callable[[], int]

    def __call__(self, batches: Sequence[Batch], identity: Identity) -> Refined:
        refined = self.refine(batches, identity)
        for batch in refined.batches:
            self.seen.note(batch.points, self.version())
        return refined


@dataclass(slots=True)
class Edges:
    """What the supervisor calls when one source comes or goes."""

    source: str
    facts: Facts
    seen: Seen = field(default_factory=Seen)

    async def __call__(self, up: bool) -> None:
        await self.facts.connection(self.source, up)
        if not up:
            await self.facts.lost(self.seen)
