"""The collector's own statements, stored like any other value: connections, staleness, gaps, its own downtime and condition.

A silent machine and a machine at standstill look the same in a flat line; these rows tell them apart (promise 2). They are
written by the pseudo-source `collector`, which keeps its own account in the ledger.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adapters.base import Delivery, Restating
from adapters.clock import Clock
from collector.alive import Mark
from collector.gaps import AT_ONCE, batches_of, downtime, is_repair, originals
from collector.journal.base import Journal
from collector.jumps import Jump, Jumps
from collector.seen import Seen
from collector.skew import Skew
from pipelines import quality
from pipelines.batch import Batch, Flag, Kind, Point, batch_of
from pipelines.derivation import TICK
from pipelines.stage import Gap, Refine
from pipelines.stages.trust import YEAR_2020

log = logging.getLogger("collector")

OWN = "collector"
"""Name of the pseudo-source, and the machine under which its points are stored: reserved, no machine may have it."""

ALIVE_EVERY = 10.0
CONDITION_EVERY = 60.0
SAID_AFTER = 1.5  # s after its return, until a source has said what is missing
ANSWERED_AFTER = 60.0  # s; a source that is lost sooner may not have said what stands
LOOK_EVERY = 1.0  # for new gaps, and for a clock that was set

BEHIND = 86_400 * 10**9
"""ns by which the clock may stand before the last sign of life when the collector starts; further back, it is wrong."""


Losses = Callable[[], Sequence[Gap]]


class _Owed(NamedTuple):
    """One append that is due. gaps: at least one."""

    batches: Sequence[Batch]
    gaps: Sequence[Gap]


class Facts:
    """Writes facts into the journal. One per running collector."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        refine: Refine,
        alive_every: float = ALIVE_EVERY,
        *,
        jumps: Jumps | None = None,
        losses: Losses = lambda: (),
    ) -> None:
        """losses: what sinks have found to be missing behind them since it was asked last."""
        self._journal, self._clock, self._refine = journal, clock, refine
        self.alive_every = alive_every
        self._up_since = 0
        self._skews: dict[str, Skew] = {}
        self._jumps = jumps or Jumps(clock)
        self._losses = losses
        self._silenced: frozenset[str] = frozenset()
        self._asked: dict[str, float] = {}  # when a source was asked what stands (monotonic s)
        self._owed: list[_Owed] = []  # what was seen and will not be seen again, until it is stored

    async def started(self) -> None:
        """State the downtime since the last sign of life as a gap of every source."""
        last = Mark.of(self._journal.checkpoint(OWN))
        now = self._up_since = self._clock.now()
        self._silenced = last.silenced
        self._jumps.look()
        gaps = (downtime(last.alive, now),) if last.alive else ()
        await self._tell([self._tick(now)], gaps, lambda _: Mark(now, last.gap, last.silenced))

    async def alive(self) -> None:
        """What the collector says of itself while it works; the only one that writes the checkpoint of these accounts.

        Every ten seconds (sooner where a signal is soon stale) a sign of life, from which the next start measures the
        downtime, and a tick, by which derivations know that time goes on (pipelines/derivation.py); new gaps as points, and
        that the clock was set or a database has lost something, within a second; once a minute the condition of the buffer and the clocks of the sources.
        """
        mark = Mark.of(self._journal.checkpoint(OWN))
        due = self._clock.monotonic() + CONDITION_EVERY
        while True:
            if (jump := self._jumps.look()) is not None:
                self._owed.append(self._jumped(jump))
            if losses := self._losses():
                self._owed.append(_Owed((), losses))
            await self._pay()
            mark = await self._copy_gaps(mark)
            if self._clock.monotonic() >= due:
                await self._condition()
                due = self._clock.monotonic() + CONDITION_EVERY
            await self._clock.sleep(LOOK_EVERY)

    async def ended(self) -> None:
        """The gaps of the last second as points, when no source works any more: who looks before the next start misses none.

        Before them what `alive` was about to tell when it was ended.
        """
        if self._up_since and self._owed:
            stored = [one.gap for one in await self._journal.gaps()]
            self._owed = [one for one in self._owed if one.gaps[0] not in stored]
            await self._pay()
        mark = Mark.of(self._journal.checkpoint(OWN))
        while self._up_since and (after := await self._copy_gaps(mark)).gap != mark.gap:
            mark = after

    async def _pay(self) -> None:
        while self._owed:
            await self._tell(*self._owed[0])
            del self._owed[0]

    async def _copy_gaps(self, mark: Mark) -> Mark:
        """At most AT_ONCE of the gaps that are not yet points, and how far that is, in one append."""
        now = self._clock.now()
        new = await self._journal.gaps_after(mark.gap, AT_ONCE)
        if not new and now - mark.alive < self.alive_every * 1e9:
            return mark
        mark = Mark(now, new[-1].number if new else mark.gap, self._silenced)
        known = await self._journal.gaps(None) if any(is_repair(one.gap) for one in new) else ()
        gaps = batches_of(self._journal.registry, OWN, new, now, originals(new, known))
        await self._tell([*gaps, self._tick(now)], (), lambda _: mark)
        return mark

    def _tick(self, now: int) -> Batch:
        """That it is `now`, and since when we run."""
        return batch_of(Kind.INTEGER, [self._own(TICK[1], Kind.INTEGER)], now, [self._up_since], received=now)

    async def _condition(self) -> None:
        """Bytes of the buffer, values that each sink still has to store, and seconds between a source's clock and ours."""
        ledger, now = await self._journal.ledger(), self._clock.now()
        counts = {(f"pending.{name}", ""): sink.pending for name, sink in ledger.sinks.items()}
        counts["buffer_bytes", "byte"] = ledger.size
        ids = [self._own(name, Kind.INTEGER, unit) for name, unit in counts]
        batches = [batch_of(Kind.INTEGER, ids, now, list(counts.values()), received=now)]
        found = ((source, skew.take()) for source, skew in self._skews.items())
        skews = {source: seconds for source, seconds in found if seconds is not None}
        if skews:
            ids = [self._own(f"skew.{source}", Kind.NUMBER, "s", source=source) for source in skews]
            batches.append(batch_of(Kind.NUMBER, ids, now, list(skews.values()), received=now))
        await self._tell(batches, ())

    def _own(self, name: str, kind: Kind, unit: str = "", **tags: str) -> int:
        return self._journal.registry.intern(Point(OWN, name, kind, unit, tags))

    def watch(self, source: str, skew: Skew) -> None:
        """From now on the clock of this source is told of, by these samples."""
        self._skews[source] = skew

    async def missing(self, source: str) -> str:
        """What the gap records say that this source has lost by its return, in words; asked when it is just back."""
        known = Mark.of(self._journal.checkpoint(OWN)).gap
        await self._clock.sleep(SAID_AFTER)
        gaps = [one.gap for one in await self._journal.gaps_after(known, AT_ONCE) if one.source == source]
        gaps = [gap for gap in gaps if not is_repair(gap)]
        count = sum(gap.count or 0 for gap in gaps)
        if count:
            more = " or more" if any(gap.count is None for gap in gaps) else ""
            return f"{count} values missing{more}"
        return "what it said meanwhile is missing: see its gap record" if gaps else ""

    def stood(self, seconds: float) -> None:
        """The process was stopped or its loop held up for so long until now: whatever no peer has kept is missing. `alive` tells
        it: a task of its own would hold up the end of all where nothing fits into the buffer any more.
        """
        now = self._clock.now()
        gap = Gap(now - round(seconds * 1e9), now, "collector_stood_still", "the collector stood still")
        self._owed.append(_Owed((), (gap,)))

    def _jumped(self, jump: Jump) -> _Owed:
        """The size as a point, and the times that are doubtful as a gap record: on both sides of it times mean something else."""
        log.warning("%s", jump.words)
        now = self._clock.now()
        size = batch_of(
            Kind.NUMBER, [self._own("clock.jump", Kind.NUMBER, "s")], now, [jump.seconds], received=now
        )
        begins, ends = sorted((jump.before, jump.after))
        return _Owed((size,), (Gap(begins, ends, "clock_jump", jump.words),))

    async def connection(self, source: str, up: bool) -> None:
        point = self._own(f"connected.{source}", Kind.FLAG, source=source)
        now = self._clock.now()
        await self._tell((batch_of(Kind.FLAG, [point], now, [up], received=now),), ())

    async def lost(self, source: str, seen: Seen) -> None:
        """The points of a lost source have no value from now on: stored once, never by repeating the last value.

        Nothing is forgotten before that is stored: an end in the middle of it tells it again.
        """
        now, ids = self._clock.now(), seen.ids()
        answered = self._clock.monotonic() - self._asked.get(source, -math.inf) >= ANSWERED_AFTER
        if len(ids) or not answered:
            self._silenced |= {source}
            batches = _without_value(self._journal, ids, now)
            await self._tell(batches, (), lambda before: before._replace(silenced=self._silenced))
        self._asked.pop(source, None)
        seen.forget()

    def silenced(self, source: str) -> bool:
        """Whether points of this source have no value because it was lost, also in an earlier life of the collector."""
        return source in self._silenced

    async def restated(self, source: str, at: int) -> None:
        """What has not changed while it was lost is stored once more at `at` (ns): those who compare values know why."""
        self._silenced -= {source}
        self._asked[source] = self._clock.monotonic()
        point = self._own(f"restated.{source}", Kind.FLAG, source=source)
        now = self._clock.now()
        await self._tell((batch_of(Kind.FLAG, [point], at, [True], received=now),), ())

    async def _tell(
        self, batches: Sequence[Batch], gaps: Sequence[Gap], mark: Callable[[Mark], Mark] | None = None
    ) -> None:
        """mark: what becomes of the one that is stored. Asked when it is our turn: until then somebody else may move it on."""
        async with self._journal.turn(OWN):
            checkpoint = None if mark is None else mark(Mark.of(self._journal.checkpoint(OWN))).dump()
            delivery = Delivery(batches, sum(map(len, batches)), gaps=gaps, checkpoint=checkpoint)
            refined = self._refine(batches, self._journal.identity(OWN))
            await self._journal.append(OWN, delivery, refined, own=True)


def believed_from(journal: Journal) -> int:
    """ns: a clock that stands before this is wrong. See pipelines/stages/trust.py for what becomes of its times.

    What was stored last decides, once per start: a clock that was ahead by years and was put right while the collector was off
    is doubted until the next start.
    """
    return max(YEAR_2020, Mark.of(journal.checkpoint(OWN)).alive - BEHIND)


async def note(journal: Journal, clock: Clock, refine: Refine, name: str) -> None:
    """One more time that this happened, as a value of the collector's own; whoever follows the journal wakes up."""
    point = journal.registry.intern(Point(OWN, name, Kind.FLAG))
    now = clock.now()
    batches = [batch_of(Kind.FLAG, [point], now, [True], received=now)]
    async with journal.turn(OWN):
        await journal.append(OWN, Delivery(batches, 1), refine(batches, journal.identity(OWN)), own=True)


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


@dataclass(slots=True)
class Edges:
    """What the supervisor calls when one source comes or goes."""

    source: str
    facts: Facts
    seen: Seen = field(default_factory=Seen)
    again: int = 0

    def back(self, session: object) -> None:
        """Called when it is connected: whoever was lost and can say what stands is asked to."""
        if isinstance(session, Restating) and self.facts.silenced(self.source):
            self.again = session.restate()

    async def __call__(self, up: bool) -> None:
        if up:  # and not when it is made: a reload makes one for every source, at work or not
            self.facts.watch(self.source, self.seen.skew)
        await self.facts.connection(self.source, up)
        if not up:
            await self.facts.lost(self.source, self.seen)
        elif self.again:
            at, self.again = self.again, 0
            await self.facts.restated(self.source, at)
