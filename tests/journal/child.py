"""The process that is killed: sources that append, a sink and an archive that commit, and a file that says what is safe.

Every line on stdout is written after the journal returned: `a <source> <first> <last>` (appended), `c <follower>
<position>` (committed), `s <follower> <value>…` (taken by the follower, written before its commit), `o <ns>` (open, and
how long that took). The order of the lines of one source and of one follower is the order of events.
"""

from __future__ import annotations

import os
import random
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from adapters.clock import SystemClock
from adapters.pressing import Pressing
from collector.journal.base import Journal
from collector.journal.sqlite import SqliteJournal, open_journal
from tests.contracts.journal import append, values_of

SOURCES = ("s0", "s1", "s2")
STRIDE = 10_000_000
"""Source n counts from n times this, so that every value of the run is unique."""


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def opened(path: Path) -> AbstractAsyncContextManager[SqliteJournal]:
    return open_journal(
        path, followers=["sink", "archive"], clock=SystemClock(), window=0.01, max_bytes=600_000
    )


async def feed(journal: Journal, source: str, start: int, dice: random.Random, appends: int) -> None:
    """Goes on where the checkpoint says, as a source that redelivers does. appends: how many; 0: for ever."""
    said = journal.checkpoint(source)
    at = start if said is None else int(said)
    done = 0
    while not appends or done < appends:
        count = dice.choice((1, 1, 7, 60, 300))
        pressing = Pressing()
        if dice.random() < 0.5:
            pressing.set()
        end = at + count
        await append(journal, range(at, end), source=source, checkpoint=b"%d" % end, pressing=pressing)
        say("a", source, at, end)
        at, done = end, done + 1


async def drain(journal: Journal, follower: str, dice: random.Random) -> None:
    async for one in journal.follow(follower, values=dice.choice((50, 1000))):
        say("s", follower, *map(int, values_of(one.batches)))
        await journal.commit(follower, one.position)
        say("c", follower, one.position)


async def archive(journal: Journal, follower: str) -> None:
    async for span in journal.ranges(follower, values=500, seconds=0.05):
        values = values_of(entry.batch for entry in span.entries)
        say("r", follower, span.first, span.last, *map(int, values))
        await journal.commit(follower, span.last)
        say("c", follower, span.last)
