"""Everything that is still held, written to one database once more: for a bucket that was made anew, or one that is new.

Beside the line and not in it: the sink's cursor stays where it is, what it has not stored yet goes on coming to it in order,
and nothing here can lose a value, because nothing is moved and nothing is forgotten (decisions/0006-rewind.md). Writing a
value under its own point and time again changes nothing, so the command may be ended and begun again at any time.

In the order of positions: what the buffer holds from there, everything else from the history. Sealing goes on meanwhile:
what leaves the buffer before it is read is a hole in the positions, and is looked for in the history again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.base import Entry, Sink
from adapters.clock import Clock
from adapters.errors import AdapterError, Misconfigured
from collector.health import Health, State
from collector.journal.reader import JournalReader
from collector.refused import refused_by
from collector.supervisor import Connected, Job, Supervisor
from pipelines.batch import Batch
from pipelines.registry import Registry

if TYPE_CHECKING:
    from adapters.history.replay import Replay, Span


log = logging.getLogger("collector")

VALUES = 20_000
"""Values of the buffer in one write."""


@dataclass(slots=True)
class Rewound:
    """Counts of values. expected: what there is at most. stored: confirmed by the database. refused: never to be taken."""

    expected: int = 0
    stored: int = 0
    refused: int = 0
    why: str = ""  # the first refusal's words


Told = Callable[[Rewound], None]


class Held:
    """What history and buffer hold up to a position, in writes of bounded size. registry: numbers the points of the batches."""

    def __init__(self, reader: JournalReader, history: Path | None, span: Span) -> None:
        from adapters.history.replay import Replay

        self._reader, self._span = reader, span
        self.registry: Registry = reader.registry
        self._history: Replay = Replay(history, self.registry)

    def expected(self) -> int:
        """Values, at most: a span of time is not counted, only looked for."""
        files = self._history.files(self._span.first)
        behind = max((file.last for file in files), default=0)
        entries = self._reader.entries(max(behind, self._span.first - 1), self._span.last)
        return sum(self._history.rows(file) for file in files) + sum(len(entry.batch) for entry in entries)

    def writes(self) -> Iterator[Sequence[Batch]]:
        done = self._span.first - 1
        for entry in self._reader.entries(done, self._span.last):
            if entry.position > done + 1:
                yield from self._sealed(done, entry.position - 1)
            done = entry.position
            yield from _some(self._within(entry))
        yield from self._sealed(done, self._span.last)

    def _sealed(self, done: int, last: int) -> Iterator[Sequence[Batch]]:
        """Behind `done`; files are replaced by larger ones meanwhile, and one that is damaged is said and left out."""
        from adapters.history.replay import Gone, damage

        while files := [file for file in self._history.files(done + 1) if file.first <= last]:
            span = replace(self._span, first=done + 1, last=last)
            try:
                yield from self._history.batches(files[0], span)
            except Gone:
                continue
            except damage() as error:
                log.warning("%s cannot be read and is left out: %s", files[0].path, error)
            done = files[0].last

    def _within(self, entry: Entry) -> Batch:
        """The rows of the span of time."""
        at, span = entry.batch.at, self._span
        wanted = (at >= (span.begins if span.begins is not None else at)) & (
            at < (span.ends if span.ends is not None else at + 1)
        )
        return entry.batch if wanted.all() else entry.batch.take(wanted)


def _some(batch: Batch) -> Iterator[Sequence[Batch]]:
    import numpy as np

    for begin in range(0, len(batch), VALUES):
        yield [batch.take(np.arange(begin, min(begin + VALUES, len(batch))))]


async def rewind(sink: Sink, held: Held, clock: Clock, told: Told) -> Rewound:
    """Until everything is stored; a database that is away is waited for. Raises AdapterError when somebody must act."""
    done, health = Rewound(held.expected()), Health()
    work = _Work(sink, held.writes(), done, told)
    job = Job(sink.name, "sink", work.run, slowest=15.0)
    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(Supervisor(health, clock).keep(job))
        while not (work.finished.is_set() or _stuck(health)):
            await clock.sleep(0.05)
        keeping.cancel()
    if not work.finished.is_set():
        raise AdapterError(health[sink.name].error, health[sink.name].remedy)
    return done


def _stuck(health: Health) -> bool:
    return any(
        known.error and known.state in (State.NEEDS_ATTENTION, State.STOPPED) for known in health.all()
    )


class _Work:
    """What is left to write; a write that failed comes again in the next session."""

    def __init__(self, sink: Sink, writes: Iterator[Sequence[Batch]], done: Rewound, told: Told) -> None:
        self._sink, self._writes, self._done, self._told = sink, writes, done, told
        self._now: Sequence[Batch] = ()
        self._reading = False
        self.finished = asyncio.Event()

    async def run(self, connected: Connected) -> None:
        async with self._sink.session() as write:
            connected(None)
            while self._now or self._next():
                refused = await refused_by(write, self._now) if self._now else ()
                self._count(self._now, sum(one.values for one in refused))
                if refused and not self._done.why:
                    self._done.why = refused[0].reason
                self._now = ()
        self.finished.set()
        await asyncio.Event().wait()

    def _next(self) -> bool:
        """Skips what is empty. What broke off in the middle of reading is no end."""
        if self._reading:
            raise Misconfigured(
                "what is held could not be read to its end", "Look at the log, and report it."
            )
        self._reading = True
        self._now = next((batches for batches in self._writes if batches), ())
        self._reading = False
        return bool(self._now)

    def _count(self, batches: Sequence[Batch], refused: int) -> None:
        values = sum(map(len, batches))
        self._done.refused += refused
        self._done.stored += values - refused
        self._told(self._done)
