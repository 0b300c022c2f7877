"""The promises between the line and everything it reads from and writes to. Prose first: the code here is only names.

An adapter speaks, the runner acts: an adapter connects, reads or writes, and closes. It never retries across sessions,
never reconnects, never counts anything but decoded values, and never decides to drop. The supervisor opens the next session.

Laws of a Source (each one a test in tests/contracts/source.py, run over every source that can be configured)
  1. Entering `session()` connects, or raises NotConnected or Misconfigured; nothing else crosses this border.
  2. A lost connection raises NotConnected from the iterator; what was received before it is delivered first.
  3. Leaving (also by cancellation) releases every task, socket and thread within the grace period.
  4. Values of one point come in the order of the wire.
  5. What was not acknowledged comes again in a later session, if the session says that it `redelivers`.
  6. Reception never waits for the disk, acknowledgement always does: while a delivery is being journaled the adapter
     goes on receiving and hands over all of it together next time (natural batching).
  7. What is received and not yet acknowledged is bounded; beyond the bound the adapter stops reading from the wire.
  8. An undecodable message is a Refusal: never an exception, never silence. It is acknowledged like any other.
  9. A loss that is known is a Gap. A point without a value says so by quality and Flag.NO_VALUE.
 10. Conservation: `decoded` = Σ len(batches) + Σ refused.values, per delivery. `decoded` is counted where bytes become
     values, not from the batches: it is the independent side of the ledger.

Laws of a Sink (tests/contracts/sink.py)
  1. `write` returning means stored, by the peer's own word. 2. NotConnected and Throttled mean that nothing is known:
  the caller writes the same again. 3. Rejected(refused) means these values never, all others are stored.
  4. Writing a batch twice equals writing it once. 5. Leaving releases everything within the grace period.

Law of an Archive (tests/contracts/archive.py): sealing the same range twice leaves one file; the boundaries of a range
are fixed in the journal before the file is written.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

from adapters.clock import Clock
from adapters.labels import Labels
from adapters.pressing import Pressing
from pipelines.batch import Batch
from pipelines.registry import Registry
from pipelines.stage import Gap, Refusal

Position = int
"""A place in the journal: the contiguous number of an append, counting from 1; 0 is before everything."""

GRACE = 5.0
"""Seconds that a session has for leaving."""


class Entry(NamedTuple):
    """One batch of the journal and where it stands: several batches may share a position (one append).

    source: who appended it; empty where nobody asks.
    """

    position: Position
    batch: Batch
    source: str = ""


async def no_ack() -> None:
    """For deliveries that nobody waits for."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What was received since the last hand-over.

    decoded: values seen by the decoder, refused ones included. checkpoint: what the source needs to go on after a
    restart, durable together with the values; None leaves the stored one as it is. ack: call once, when it is durable;
    it only notes the acknowledgement and never waits for the network. pressing: set by the adapter, at any time while
    the delivery is being journaled, when the peer's window of unacknowledged messages runs short: commit at once.
    """

    batches: Sequence[Batch]
    decoded: int
    refused: Sequence[Refusal] = ()
    gaps: Sequence[Gap] = ()
    checkpoint: bytes | None = None
    ack: Callable[[], Awaitable[None]] = no_ack
    pressing: Pressing | None = None


@runtime_checkable
class Telling(Protocol):
    """Who has words for people about its connection: the session of a source, or a sink. They may change while it works."""

    facts: dict[str, str]


@runtime_checkable
class Restating(Protocol):
    """A session that can say what has not changed since before it began, which nothing else would ever tell."""

    def restate(self) -> int:
        """Have it delivered once more, flagged HEARTBEAT, under the time that is returned: ns, our clock, when the session began."""


class SourceSession(Protocol):
    """One life of a connection: an asynchronous iterator of deliveries. `redelivers` is known once connected.

    `facts` are words about the connection for people (endpoint, security, protocol version, warnings), for `status`.
    """

    redelivers: bool
    facts: dict[str, str]

    def __aiter__(self) -> AsyncIterator[Delivery]: ...


class Source(Protocol):
    """Where values come from. `name` is the configured name; `machines` are the ids of the machines it feeds."""

    name: str
    machines: tuple[str, ...]

    def session(self, resume: bytes | None) -> AbstractAsyncContextManager[SourceSession]:
        """Connect with what the last durable checkpoint said (None: first time). See the laws above."""
        ...

    async def probe(self) -> Sequence[Finding]:
        """Connect, resolve every address, subscribe every topic, and say what was found, for `check --online`. Changes nothing."""
        ...


@runtime_checkable
class Lingering(Protocol):
    """A source whose peer keeps something for it beyond the connection, such as an MQTT session that queues messages.

    lingers: the name under which the peer keeps it. Two sources with one name share it: it must outlive the first.
    """

    name: str
    lingers: str

    async def farewell(self) -> None:
        """Have the peer forget it, and what it queued: this source is no longer configured. Raises NotConnected."""
        ...


@runtime_checkable
class Doctor(Protocol):
    """A source that can be examined, for `collector doctor`."""

    name: str

    def examine(self) -> AsyncIterator[Finding]:
        """One step after the other, in the order in which things must work: name, connection, trust, sign-in, limits, rights, data.

        `where` of a finding is its step. It ends with the first error that nothing can work beyond, reads and changes
        nothing, and leaves no session and no subscription. Never raises AdapterError.
        """
        ...


@runtime_checkable
class Rereads(Protocol):
    """A source that can read what it once refused again, because all that it needs is in the bytes."""

    def reread(self, where: str, raw: bytes, at: int) -> Delivery:
        """What these bytes say by the present configuration. where, raw, at: as in the refusal; `at` is the time of receipt."""
        ...


class Recall(Protocol):
    """Values of the past, as deliveries without a checkpoint; `ack` is how it learns that it may go on.

    signals: how many of the source's have a history. done: of these. troubles: by signal, why it did not come back as a whole.
    """

    @property
    def signals(self) -> int: ...

    @property
    def done(self) -> int: ...

    @property
    def troubles(self) -> Mapping[str, str]: ...

    def __aiter__(self) -> AsyncIterator[Delivery]: ...


@runtime_checkable
class Remembers(Protocol):
    """A source whose peer may keep a history."""

    name: str

    def recall(self, begins: int, ends: int) -> AbstractAsyncContextManager[Recall]:
        """What it has of the time from `begins` up to but not including `ends` (ns), beside a session and without one.

        Connects, or raises NotConnected or Misconfigured.
        """
        ...


Write = Callable[[Sequence[Batch]], Awaitable[None]]


class Sink(Protocol):
    """Where values go. See the laws above."""

    name: str

    def session(self) -> AbstractAsyncContextManager[Write]: ...

    async def probe(self) -> Sequence[Finding]: ...


@runtime_checkable
class Losing(Protocol):
    """A sink that finds out afterwards that what its peer confirmed is not there."""

    name: str

    def take_losses(self) -> Sequence[Gap]:
        """What was found since the last call: the times of the writes that are not there. From the event loop, and at once."""
        ...


class Archive(Protocol):
    """Takes ranges of the journal, not single writes: a range becomes one file, named by its boundaries."""

    name: str
    seal_values: int  # a range is closed at this many values …
    seal_seconds: float  # … or at this age of its first value, whichever comes first

    async def seal(self, first: Position, last: Position, entries: Sequence[Entry]) -> None:
        """Store the batches of positions first..last (inclusive) as one file; done when it is on the disk for good."""
        ...

    async def tidy(self) -> None:
        """Compact what is finished and expire what is too old or too much; called after seals and at start."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `check` or `doctor`. level: ok | warning | error. where: file:line, source, node or topic."""

    level: str
    where: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Bench:
    """What a settings model is given to build an adapter with: everything that is not configuration.

    scratch: a look that leaves no trace at the peer (dry run, probe): another client id, no persistent session taken.
    labels: where an adapter tells what its machines call their signals, at any time; the page and `status` show it.
    """

    registry: Registry
    clock: Clock
    state_dir: str = "."
    scratch: bool = False
    labels: Labels = field(default_factory=Labels)
