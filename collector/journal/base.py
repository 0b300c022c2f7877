"""What the line asks of a journal. Custody of a value changes hands at two points: when `append` returns (it is ours, and
the source may be told so) and when a sink's write returns (it is the database's). Everything between them is this.

Laws (tests/contracts/journal.py, run over every implementation)
  1. `append` returns when batches, new points, refusals, gaps, ledger and checkpoint are durable together, or raises
     and none of them is. Positions are contiguous and rise by one per append; an append of nothing stores nothing but
     may move the checkpoint, and returns the last position.
  2. `follow` yields every position after the follower's cursor exactly once, in order, waits at the tail, and yields again
     from the cursor in a new call: what was yielded and not committed comes again. A follower at the tail may be given
     little for as long as the commit window, so that its writes are few; nothing waits longer than that, or at the end.
  3. `commit` makes the cursor, the refused values and the sink's count durable together. A cursor never passes the tail
     and never goes back.
  4. Followers do not see each other. What every follower has committed may be deleted, nothing else ever, but by two
     doors with a gap record that is durable together with the deletion: a full buffer that was told to drop its oldest
     (`buffer_full`), and a sink that was told to let go (`release`: `sink_released`).
  5. Ledger: per source decoded = journaled + refused + filtered; per sink journaled = stored + quarantined + dropped +
     pending. `dropped` went through one of the doors of law 4. A refusal that somebody replays goes from `quarantined` (or
     `refused`) back to `pending` (or is decoded anew), under the same key; one that is purged stays counted.
     `journaled` is counted from the stored blobs, `decoded` by the decoder; `unaccounted` is the difference.
  6. `identity(source)` equals the fold of `Identity.replay` over the source's journaled batches, also after a crash.
  7. After kill -9 at any moment: 1 to 6 and 8 hold, everything whose append returned is there, nothing is invented or altered.
  8. A derivation is a follower and a source of the same name. `append_derived` makes its output, its account, its cursor
     and its snapshot durable together, once per position. Output has a reserve that the sources leave, and waits where it
     ends; a cursor and a snapshot never wait for space, nor does the output of the derivation that holds the buffer: what
     stands between a full journal and the entries to let go of goes on. Whatever lies behind a derivation's last snapshot
     is held.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from adapters.base import Delivery, Entry, Position
from collector.journal.waiting import Tail, Turns
from pipelines.batch import Batch
from pipelines.identity import Identity
from pipelines.registry import Registry
from pipelines.stage import Gap, Reason, Refined, Refusal, Remark

if TYPE_CHECKING:
    from collector.journal.quarantine import Quarantine


class JournalFailed(Exception):
    """The disk or the file under the journal failed: fatal for the process. No acknowledgement may follow; the next
    start decides from what reads back.
    """


class Slice(NamedTuple):
    """What a follower gets: the batches of the positions after its cursor, up to and including `position`."""

    position: Position
    batches: Sequence[Batch]


class Digest(Slice):
    """What a slow viewer gets in place of the slices that it missed: of every point in them the newest row and the
    newest good row, so that no view shows an old value as the present one. Never comes from `follow`.
    """

    __slots__ = ()


class Standing(NamedTuple):
    """Where a derivation stands: its cursor, its last snapshot if it has one, and the position that this covers."""

    cursor: Position
    covered: Position
    snapshot: bytes | None


class Range(NamedTuple):
    """A range whose boundaries are fixed in the journal (inclusive), for an archive to seal."""

    first: Position
    last: Position
    entries: Sequence[Entry]


@dataclass(frozen=True, slots=True)
class SourceAccount:
    """The books of one source since its first start. Counts are values."""

    decoded: int = 0
    journaled: int = 0
    refused: int = 0
    filtered: Mapping[Reason, int] = field(default_factory=dict)
    remarks: Mapping[Remark, int] = field(default_factory=dict)
    gaps: int = 0
    replayed: int = 0  # refused values that were read again: their outcome is counted anew
    purged: int = 0  # of `refused`

    @property
    def unaccounted(self) -> int:
        return self.decoded - self.journaled - self.refused - sum(self.filtered.values())


@dataclass(frozen=True, slots=True)
class SinkAccount:
    """The books of one follower since it was registered: `journaled` counts what was appended since then."""

    journaled: int = 0
    stored: int = 0
    quarantined: int = 0
    pending: int = 0
    cursor: Position = 0
    dropped: int = 0
    replayed: int = 0  # quarantined values that are or were written again: their outcome is counted anew
    purged: int = 0  # of `quarantined`

    @property
    def unaccounted(self) -> int:
        return self.journaled - self.stored - self.quarantined - self.dropped - self.pending


@dataclass(frozen=True, slots=True)
class Space:
    """How full the buffer is. bytes: in use, write-ahead log included. full_in: s until full at the present rate, None
    while it does not fill. held_by: followers that have not read what is a minute old, beyond the time for which they wait
    for more. condition: what is wrong with the space now, in words (`disk full: …`), None if nothing is.
    """

    bytes: int
    max_bytes: int
    full_in: float | None = None
    held_by: tuple[str, ...] = ()
    condition: str | None = None


class Contents(NamedTuple):
    """What is in the quarantine. dropped: refusals that made room for newer ones, ever."""

    rows: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Ledger:
    sources: Mapping[str, SourceAccount]
    sinks: Mapping[str, SinkAccount]
    size: int  # bytes on disk, write-ahead log included; 0 in memory
    tail: Position
    space: Space | None = field(default=None, compare=False)  # known to the running collector only
    quarantine: Contents = field(default_factory=Contents)

    @property
    def unaccounted(self) -> int:
        """Sum of the absolute differences: a surplus must not hide a loss."""
        at_sources = sum(abs(account.unaccounted) for account in self.sources.values())
        return at_sources + sum(abs(account.unaccounted) for account in self.sinks.values())


class StoredGap(NamedTuple):
    source: str
    position: Position
    gap: Gap


class NumberedGap(NamedTuple):
    """number: rising in the order of telling. rank: how many gaps of this source with this beginning were told before it."""

    number: int
    source: str
    gap: Gap
    rank: int


class Quarantined(NamedTuple):
    """origin: the source or sink that refused it."""

    number: int
    origin: str
    refusal: Refusal


class Journal(Protocol):
    """See the laws above. All methods are called from the event loop; none of them blocks it."""

    registry: Registry
    tail: Tail
    turn: Turns
    """Whoever refines and appends under a name that others append under, too, does both within his turn."""
    pressed: asyncio.Event
    """Set while something waits for space: who holds some and need not, lets go of it."""

    @property
    def quarantine(self) -> Quarantine:
        """What was refused, and the ways out of it."""
        ...

    def checkpoint(self, source: str) -> bytes | None: ...
    def identity(self, source: str) -> Identity: ...
    async def append(
        self, source: str, delivery: Delivery, refined: Refined, *, own: bool = False
    ) -> Position:
        """own: may use what is kept from the sources, for the little that the collector says of itself."""
        ...

    def follow(self, follower: str, *, values: int = 10_000) -> AsyncIterator[Slice]: ...
    def ranges(self, follower: str, *, values: int, seconds: float) -> AsyncIterator[Range]: ...
    async def commit(self, follower: str, position: Position, refused: Sequence[Refusal] = ()) -> None: ...
    async def enrol(self, followers: Sequence[str]) -> None:
        """Exactly these follow from now on: new ones from the oldest value held, others let go of what they had not read."""
        ...

    async def standing(self, derivation: str) -> Standing: ...
    async def behind(
        self, derivation: str, after: Position, *, values: int = 10_000, last: Position | None = None
    ) -> Range:
        """The entries behind `after` with their sources, at most up to `last`; waits until there is a position."""
        ...

    async def append_derived(
        self,
        derivation: str,
        position: Position,
        delivery: Delivery,
        refined: Refined,
        snapshot: bytes | None = None,
    ) -> Position:
        """What came of the entries up to `position` (law 8); the new cursor, which may lie behind its own output."""
        ...

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Slice]]:
        """What becomes durable from now on, for views: bounded, holds no space, skips ahead when the viewer is slow.

        What was skipped comes as a `Digest`, before what followed it.
        """
        ...

    def hurry(self) -> None:
        """The end is near: from now on nobody waits for more to come, and what is there is handed on and committed at once."""
        ...

    async def release(self, follower: str) -> int:
        """Let a dead sink go: its cursor moves to the tail, with a gap record. Returns the values it will not get."""
        ...

    async def ledger(self) -> Ledger: ...
    async def gaps(self, limit: int | None = 1000) -> Sequence[StoredGap]:
        """The newest, oldest of them first. None: all that are kept."""
        ...

    async def gaps_after(self, number: int, limit: int) -> Sequence[NumberedGap]:
        """The gaps that were told after this one, the oldest first."""
        ...

    async def quarantined(self, limit: int = 1000) -> Sequence[Quarantined]: ...
