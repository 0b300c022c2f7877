"""The process that is killed: sources that append, a sink and an archive that commit, and a pipe that says what is safe.

Every line on stdout is written after the journal returned: `a <source> <first> <last>` (appended), `c <follower>
<position>` (committed), `s <follower> <value>…` (taken by the follower, written before its commit). The order of the
lines of one source and of one follower is the order of events.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

from adapters.clock import SystemClock
from collector.journal.base import Journal
from collector.journal.sqlite import open_journal
from tests.contracts.journal import append, values_of

SOURCES = ("s0", "s1", "s2")
STRIDE = 10_000_000
"""Source n counts from n times this, so that every value of the run is unique."""


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def feed(journal: Journal, source: str, start: int, dice: random.Random) -> None:
    """Goes on where the checkpoint says, as a source that redelivers does."""
    said = journal.checkpoint(source)
    at = start if said is None else int(said)
    while True:
        count = dice.choice((1, 1, 7, 60, 300))
        pressing = asyncio.Event()
        if dice.random() < 0.5:
            pressing.set()
        end = at + count
        await append(journal, range(at, end), source=source, checkpoint=b"%d" % end, pressing=pressing)
        say("a", source, at, end)
        at = end


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


async def main(path: Path, seed: int) -> None:
    dice = random.Random(seed)
    followers = ["sink", "archive"]
    async with (
        open_journal(
            path, followers=followers, clock=SystemClock(), window=0.01, max_bytes=600_000
        ) as journal,
        asyncio.TaskGroup() as tasks,
    ):
        say("o")
        for n, source in enumerate(SOURCES):
            tasks.create_task(feed(journal, source, n * STRIDE, dice))
        tasks.create_task(drain(journal, "sink", dice))
        tasks.create_task(archive(journal, "archive"))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
