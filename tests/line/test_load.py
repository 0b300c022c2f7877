"""More than there is room for: bursts are taken into the buffer, an overload is passed back to where it comes from, memory stays.

Rows L1 to L3. The machine and the database of the self-test are used (collector/selftest), because they know every value that was
said and what became of it; the long run uses the simulators (tests/soak, `make soak`).
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from collector.selftest.child import Child, child
from collector.selftest.database import Database, database
from collector.selftest.press import Press
from collector.selftest.truth import MACHINE, TIMED, Truth
from simulators.doors import shut
from tests.line.harness import ENVIRONMENT
from tests.soak import inside
from tests.soak.run import soak
from tests.soak.watch import MIB, Limits, Sample, heap_slope, judge, sample

LONG = os.environ.get("SHOPFLOOR_LONG") == "1"
"""As long as the fault list says (`make torture`)."""


class Timed(Press):
    """Knows how long every acknowledgement took, from the moment the machine had something to say."""

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._said: deque[float] = deque()
        self.waits: list[float] = []

    def say(self, topic: str, payload: bytes) -> None:
        self._said.append(time.monotonic())
        super().say(topic, payload)

    def note(self) -> None:
        """Acknowledgements come in the order of the messages."""
        now = time.monotonic()
        while len(self.waits) < self.acknowledged:
            self.waits.append(now - self._said.popleft())


class Bed(NamedTuple):
    machine: Timed
    store: Database
    collector: Child
    folder: Path

    async def talk(self, seconds: float, rate: int, note: int = 0, least: int = 0) -> list[Sample]:
        """Messages per second, of four values each (and a text of `note` bytes); what the collector held meanwhile.

        least: so many messages, however long a busy computer takes for them.
        """
        began, said, samples = time.monotonic(), 0, list[Sample]()
        while (passed := time.monotonic() - began) < seconds or said < least:
            while said < passed * rate and not self.machine.backed_up:
                self.machine.say(TIMED, self.machine.truth.timed(note))
                said += 1
            self.machine.note()
            if len(samples) < passed * 5:
                samples.append(sample(self.collector.pid, self.folder / "state", passed))
            await asyncio.sleep(0.005)
        return samples

    async def until(self, holds: Any, what: str, seconds: float = 150.0) -> None:
        began = time.monotonic()
        while not holds():
            assert time.monotonic() - began < seconds, f"{what}; {self.collector.log[-2000:]}"
            assert self.collector.alive, self.collector.log[-3000:]
            self.machine.note()
            await asyncio.sleep(0.02)

    async def books(self) -> Mapping[str, Any]:
        """As soon as the collector answers."""
        while (books := await self.collector.books()) is None:
            assert self.collector.alive, self.collector.log[-3000:]
            await asyncio.sleep(0.05)
        return books

    async def is_full(self) -> bool:
        """Whether nothing more fits into the buffer."""
        return str((await self.books()).get("buffer", {}).get("condition") or "").startswith("buffer full")

    async def journaled(self) -> int:
        """Values of the machine in the buffer."""
        rows = (await self.books())["sources"]
        return next(int(row["journaled"]) for row in rows if row["name"] == "press")

    async def ended(self) -> Mapping[str, int]:
        """Everything is acknowledged and stored; the books balance; what the comparison says."""
        await self.until(lambda: not self.machine.unacknowledged, "everything is acknowledged")
        books = await self.books()
        while any(row["pending"] for row in books["sinks"]):
            await asyncio.sleep(0.05)
            books = await self.books()
        assert books["unaccounted"] == 0
        assert await self.collector.stop(150.0), self.collector.log[-3000:]
        counts = self.machine.truth.compare(self.store.of(MACHINE), self.collector.quarantine())
        return counts._asdict()


@asynccontextmanager
async def bed(folder: Path) -> AsyncIterator[Bed]:
    machine = Timed(Truth())
    server = await asyncio.start_server(machine.serve, "127.0.0.1", 0)
    machine.port = server.sockets[0].getsockname()[1]
    try:
        async with database() as store, child(folder, machine.port, store.port) as collector:
            await collector.start()
            made = Bed(machine, store, collector, folder)
            machine.say(TIMED, machine.truth.timed())
            await made.until(lambda: store.stored, "the first value is stored")
            yield made
    finally:
        await shut(server)


AT_ONCE = 1.0 if LONG else 90.0
"""Seconds until a message is acknowledged. The long run is for a quiet computer; in CI a disk may stand still for some of them."""


@pytest.mark.timeout(1800 if LONG else 600)
async def test_a_burst_is_absorbed(tmp_path: Path) -> None:
    """L1: ten times the usual rate; nothing is lost, and 99 of 100 messages are acknowledged within a second (AT_ONCE)."""
    async with bed(tmp_path) as running:
        await running.talk(1.0, 100)
        before = len(running.machine.waits)
        await running.talk(60.0 if LONG else 3.0, 1_000, least=2_500)
        await running.until(lambda: not running.machine.unacknowledged, "the burst is acknowledged")
        waits = sorted(running.machine.waits[before:])
        counts = await running.ended()
    assert len(waits) > 2_000
    assert waits[int(len(waits) * 0.99)] <= AT_ONCE
    assert (counts["missing"], counts["duplicated"]) == (0, 0)


@pytest.mark.timeout(7200 if LONG else 600)
async def test_an_overload_is_passed_back(tmp_path: Path) -> None:
    """L2: the database takes nothing for a while and the machine talks on: it is held up, memory and buffer stay in bounds,
    and when there is room again everything arrives.
    """
    async with bed(tmp_path) as running:
        await running.talk(2.0, 200)
        await running.store.stop()
        samples = await running.talk(3_600.0 if LONG else 5.0, 1_000, note=4_000)
        while not await running.is_full() or running.machine.unacknowledged <= 1_000:
            samples += await running.talk(0.5, 1_000, note=4_000)
        held = await running.journaled()
        await asyncio.sleep(
            0.5
        )  # a moment in which nothing happens has no event; a longer one would be as right
        assert await running.journaled() == held > 0, "the buffer is full and still something is taken"
        await running.store.start()
        counts = await running.ended()
    assert max(one.journal for one in samples) <= 16
    assert samples[-1].memory - samples[len(samples) // 4].memory <= 64
    assert (counts["missing"], counts["duplicated"]) == (0, 0)


@pytest.mark.timeout(900)
def test_a_long_run_is_flat(tmp_path: Path) -> None:
    """L3: a quarter of a minute of ten times the speed; whole with `make soak`. The wide limits find what leaks with every value."""
    done = soak(tmp_path, 15.0, speed=10.0)
    lines = judge(done.samples, 6.0, Limits(slope=20_000.0, descriptors=8))
    assert [line for line in lines if not line.ok] == []
    assert done.books["unaccounted"] == 0
    assert done.stored > 500
    assert done.samples[-1].heap > 10


def _samples(leak: float, seed: int, seconds: int = 2400) -> list[Sample]:
    """What the long run looks like: 80 MiB, and above them what is used for a while, by batches, sealing and compaction.

    leak: MiB per hour.
    """
    dice = random.Random(seed)
    compacting = [dice.uniform(100, 500) * n for n in range(24)]
    found = []
    for s in range(seconds):
        sealing = 6.0 * dice.random() if s % 10 in (3, 4, 5) else 0.0
        long = 12.0 if any(0 <= s - begins < 20 for begins in compacting) else 0.0
        used = 80 + leak * s / 3600 + dice.expovariate(1.0) + sealing + long
        found.append(Sample(float(s), 2 * used, 10 + s // 1000, 5, 1.0, 0.0, 0, used))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_a_leak_is_seen(seed: int) -> None:
    """L3: of two megabytes an hour, within forty minutes, under peaks that are six times as high; and none where none is."""
    leaking, tight = heap_slope(_samples(2.0, seed)), heap_slope(_samples(0.0, seed))
    assert abs(leaking.rise - 2.0) <= 3 * leaking.error <= 0.75
    assert abs(tight.rise) <= 3 * tight.error <= 0.75
    failed = {line.name for line in judge(_samples(2.0, seed), 60.0, Limits()) if not line.ok}
    assert failed == {"in use, MiB/h"}
    assert [line for line in judge(_samples(0.0, seed), 60.0, Limits()) if not line.ok] == []


def test_what_is_in_use_is_told() -> None:
    """L3: what was given back is not in use. In a process of its own, where no thread of another test gives anything back."""
    command = [sys.executable, "-c", _HELD_AND_GIVEN_BACK]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=True, timeout=300)
    held, left = map(int, done.stdout.split())
    assert 49 * MIB < held < 60 * MIB
    assert left < 10 * MIB


_HELD_AND_GIVEN_BACK = """
from tests.soak.inside import in_use
before = in_use()
held = bytearray(50 * 1024 * 1024)
print(in_use() - before)
del held
print(in_use() - before)
"""
_AS_HOURS_DO = """
import sys
import numpy as np
from tests.soak.inside import fill, in_use
if sys.argv[1] == "filled":
    fill()
before = in_use()
for number in range(400_000):
    sys.intern(f"file {number}")
for size in range(1, 1024):
    held = [np.empty(size, np.uint8) for _ in range(7)]
del held
print(in_use() - before)
"""


@pytest.mark.parametrize(("how", "least", "most"), [("empty", 2.0, 8.0), ("filled", -0.2, 0.2)])
def test_bounded_tables_do_not_look_like_a_leak(how: str, least: float, most: float) -> None:
    """L3: names that come and go, and arrays of every size, in a new process: they leave nothing in tables that are full."""
    command = [sys.executable, "-c", _AS_HOURS_DO, how]
    done = subprocess.run(
        command, env={**ENVIRONMENT, **inside.ENVIRONMENT}, capture_output=True, check=True, timeout=300
    )
    assert least <= int(done.stdout) / MIB <= most


def test_open_files_that_are_forgotten_are_seen() -> None:
    """L3: five more at the end than after the warm-up."""
    lost = [one._replace(descriptors=10 + n // 400) for n, one in enumerate(_samples(0.0, 1))]
    assert [line.name for line in judge(lost, 60.0, Limits()) if not line.ok] == ["file descriptors"]
