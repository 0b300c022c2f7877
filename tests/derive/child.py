"""The process that is killed: a counter and a signal that falls silent, a journal, and both derivations at work.

The machine's truth is arithmetic, so that a restarted machine goes on where the journal's checkpoint says, as a source
that redelivers does: reading n of the register is `register(n)`. Every line on stdout is written after the journal returned:
`a <n>`: the readings before n are safe.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from functools import partial
from pathlib import Path

from adapters.base import Delivery
from adapters.clock import SystemClock
from collector.derive import derive
from collector.journal.base import Journal
from collector.journal.sqlite import open_journal
from pipelines import quality as q
from pipelines.batch import Batch, Flag, Kind, Point, batch_of
from pipelines.derivation import TICK
from pipelines.derivations.counter import Counter, Counters
from pipelines.derivations.stale import Stale
from tests.contracts.journal import refine

START = 1_700_000_000_000_000_000
S = 1_000_000_000
WIDTH = 16
RESET_EVERY = 900
SILENCE_EVERY = 50
PATIENCE = 3
SNAPSHOT_VALUES = 700
FOLLOWERS = ("derived.counter", "derived.stale", "sink")


_PERIOD = [k * 7919 % 41 for k in range(1, 42)]


def made_before(n: int) -> int:
    """What the machine has made when reading n is taken: 0 to 40 pieces per reading, by a rule that anybody can redo."""
    return n // 41 * sum(_PERIOD) + sum(_PERIOD[: n % 41])


def is_reset(n: int) -> bool:
    """In between the register comes around once: 5,400 readings are some 108,000 pieces."""
    return n % (6 * RESET_EVERY) == RESET_EVERY


def register(n: int) -> int:
    """A 16-bit register that is set to zero just before the pieces of some readings are counted."""
    last = next((k for k in range(n, 0, -1) if is_reset(k)), 0) if n >= RESET_EVERY else 0
    return (made_before(n) - made_before(last - 1 if last else 0)) % (1 << WIDTH)


def is_gap(n: int) -> bool:
    """Readings that are missing; not those around a reset, because then nobody can know what was made before it."""
    return n % 77 == 5 and n % RESET_EVERY not in (0, RESET_EVERY - 1)


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def readings(journal: Journal, first: int, end: int) -> list[Batch]:
    """Readings first..end-1 of the register, one a second; some without value. Every 50th second the load is silent for 10 s."""
    intern = journal.registry.intern
    count = intern(Point("m1", "count", Kind.INTEGER, "H87"))
    load = intern(Point("m1", "load", Kind.NUMBER, "P1"))
    tick = intern(Point(*TICK, Kind.INTEGER))
    batches = []
    for n in range(first, end):
        at, lost = START + n * S, is_gap(n)
        bad = (q.BAD_NO_COMMUNICATION, Flag.NO_VALUE) if lost else (q.GOOD, Flag(0))
        value = 0 if lost else register(n)
        batches.append(
            batch_of(Kind.INTEGER, [count], at, [value], received=at, quality=bad[0], flags=int(bad[1]))
        )
        if n % SILENCE_EVERY >= 10:
            batches.append(batch_of(Kind.NUMBER, [load], at, [float(n)], received=at))
        batches.append(batch_of(Kind.INTEGER, [tick], at, [1], received=at))
    return batches


async def feed(journal: Journal, dice: random.Random) -> None:
    """Goes on where the checkpoint says."""
    said = journal.checkpoint("plc")
    at = 0 if said is None else int(said)
    while True:
        end = at + dice.choice((1, 1, 20, 60, 120))
        batches = readings(journal, at, end)
        refined = refine(batches, journal.identity("plc"))
        delivery = Delivery(batches, sum(map(len, batches)), checkpoint=b"%d" % end)
        await journal.append("plc", delivery, refined)
        say("a", end)
        at = end
        await asyncio.sleep(0.001)


def builds(journal: Journal) -> tuple[partial[Counters], partial[Stale]]:
    counters = [Counter("m1", "count", "made", WIDTH)]
    return (
        partial(Counters, journal.registry, counters),
        partial(Stale, journal.registry, {("m1", "load"): PATIENCE * S}),
    )


async def main(path: Path, seed: int) -> None:
    dice, clock = random.Random(seed), SystemClock()
    async with (
        open_journal(path, followers=FOLLOWERS, clock=clock, window=0.01) as journal,
        asyncio.TaskGroup() as tasks,
    ):
        say("o")
        for build in builds(journal):
            tasks.create_task(derive(journal, build, clock, lambda _: None, SNAPSHOT_VALUES))
        tasks.create_task(feed(journal, dice))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
