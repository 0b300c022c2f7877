"""Exactly once through kill -9: every increment and every staleness there is, none twice, none invented (issue 3, point 4).

The oracle is outside: arithmetic says what the machine made, and this process reads what the killed one has left.
DERIVE_KILLS says how often (10; `make torture` asks for more).
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from adapters.clock import SystemClock
from collector.derive import derive
from collector.journal.base import Journal
from collector.journal.sqlite import SqliteJournal, open_journal
from pipelines import quality as q
from pipelines.batch import Batch, Flag
from tests.contracts.journal import take
from tests.derive import child
from tests.derive.child import FOLLOWERS, PATIENCE, SILENCE_EVERY, START, S

KILLS = int(os.environ.get("DERIVE_KILLS", "10"))
ENOUGH = 1000
"""Readings: with a reset among them."""
ROOT = Path(__file__).parent.parent.parent


@dataclass
class Oracle:
    """made: pieces by the number of the reading that told them. flagged: those during a gap. stale: seconds. safe: readings."""

    made: dict[int, int] = field(default_factory=dict)
    flagged: set[int] = field(default_factory=set)
    stale: list[int] = field(default_factory=list)
    events: dict[int, str] = field(default_factory=dict)
    safe: int = 0

    def take(self, journal: Journal, batch: Batch) -> None:
        for point, at, value, quality, flags in zip(
            *(c.tolist() for c in (batch.points, batch.at, batch.values, batch.quality, batch.flags)),
            strict=True,
        ):
            if flags & Flag.DERIVED:
                self._derived(journal.registry[point].name, (at - START) // S, value, (quality, flags))

    def _derived(self, name: str, n: int, value: object, state: tuple[int, int]) -> None:
        if name == "load":
            assert state == (q.BAD_NO_DATA, Flag.DERIVED | Flag.NO_VALUE)
            self.stale.append(n)
        elif name == "made":
            assert n not in self.made, "an increment came twice"
            assert isinstance(value, int)
            self.made[n] = value
            self.flagged |= {n} if state[1] & Flag.DURING_GAP else set()
        else:
            assert n not in self.events, "an event came twice"
            self.events[n] = str(value)

    def check(self, upto: int) -> None:
        """Readings before `upto` have been derived from."""
        total, shown = 0, sorted(self.made)
        for n in shown:
            total += self.made[n]
            assert total == child.made_before(n), f"up to reading {n}"
        good = [n for n in range(upto) if not child.is_gap(n)]
        assert total == child.made_before(good[-1])
        expected = range(SILENCE_EVERY + PATIENCE - 1, upto, SILENCE_EVERY)
        assert self.stale == [n for n in expected if n >= SILENCE_EVERY]
        assert self.flagged == {n + 1 for n in range(upto - 1) if child.is_gap(n)}


def run_and_kill(path: Path, seed: int, oracle: Oracle, dice: random.Random, longest: float) -> None:
    """longest: s that it may live."""
    command = [sys.executable, "-m", "tests.derive.child", str(path), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"o\n"
        time.sleep(dice.uniform(0, longest))  # the moment is the point of the test
        process.send_signal(signal.SIGKILL)
        said = process.stdout.read().decode()
    for line in said.splitlines(keepends=True):
        if line.endswith("\n"):
            oracle.safe = int(line.split()[1])


async def look(path: Path, oracle: Oracle) -> None:
    """What is there is whole; then it may be deleted as soon as the derivations let go of it."""
    async with open_journal(path, followers=FOLLOWERS, clock=SystemClock(), window=0.0) as journal:
        ledger = await journal.ledger()
        assert ledger.unaccounted == 0
        said = journal.checkpoint("plc")
        assert int(said or 0) >= oracle.safe
        await collect(journal, oracle)


async def collect(journal: SqliteJournal, oracle: Oracle) -> None:
    ledger = await journal.ledger()
    if ledger.sinks["sink"].cursor < ledger.tail:
        for one in await take(journal, "sink", ledger.tail):
            for batch in one.batches:
                oracle.take(journal, batch)
        await journal.commit("sink", ledger.tail)


async def finish(path: Path, oracle: Oracle) -> int:
    """Let both derivations come to the end; how many readings there are."""
    clock = SystemClock()
    async with open_journal(path, followers=FOLLOWERS, clock=clock, window=0.0) as journal:
        async with asyncio.timeout(180), asyncio.TaskGroup() as tasks:
            builds = child.builds(journal)
            jobs = [tasks.create_task(derive(journal, build, clock, lambda _: None)) for build in builds]
            while await pending(journal):
                await asyncio.sleep(0.01)
            for job in jobs:
                job.cancel()
        await collect(journal, oracle)
        assert (await journal.ledger()).unaccounted == 0
        return int(journal.checkpoint("plc") or 0)


async def pending(journal: SqliteJournal) -> int:
    sinks = (await journal.ledger()).sinks
    return sum(sinks[name].pending for name in FOLLOWERS[:2])


@pytest.mark.timeout(600 + 30 * KILLS)
async def test_derived_values_are_exactly_once_through_kill_9(tmp_path: Path) -> None:
    path, oracle, dice = tmp_path / "journal.db", Oracle(), random.Random(os.environ.get("SEED", "11"))
    kills = 0
    while kills < KILLS or (oracle.safe < ENOUGH and kills < 2 * KILLS):
        longest = 0.5 * 2 ** min(6, max(0, kills - KILLS))  # a busy computer gets further in longer lives
        run_and_kill(path, dice.randrange(2**32), oracle, dice, longest)
        await look(path, oracle)
        kills += 1
    readings = await finish(path, oracle)
    assert readings >= ENOUGH, "too little happened to show anything"
    oracle.check(readings)
    assert "reset" in oracle.events.values()
