"""Whatever the computer's clock does: waits keep their length, order is kept, and a time that nobody can believe is said.

Rows T1 to T3 of the fault list. The wall clock is a thing that is handed in (adapters/clock.py), so that it can be made to jump.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.base import Delivery
from adapters.clock import SystemClock
from adapters.mqtt.times import rfc3339
from collector.journal.reader import JournalReader
from collector.journal.sqlite import open_journal
from pipelines.batch import Kind, Point, batch_of
from pipelines.identity import Identity
from pipelines.refinery import refinery
from pipelines.registry import Registry
from pipelines.stage import Refined, Remark, Treatment, Treatments
from tests.fakes import FakeClock, eventually

HOUR = 3_600 * 10**9
YEAR = 365 * 24 * HOUR
T0 = 1_790_000_000_000_000_000
JUMPS = [HOUR, -HOUR, 10 * YEAR, -10 * YEAR, 10**9, -1, 0]


class Jumping:
    """The wall clock as a test wants it."""

    def __init__(self) -> None:
        self.wall = T0

    def __call__(self) -> int:
        return self.wall


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Iterator[Jumping]:
    made = Jumping()
    with monkeypatch.context() as patched:
        patched.setattr(time, "time_ns", made)
        yield made


@pytest.mark.parametrize("jump", JUMPS)
def test_receive_stamps_rise_whatever_the_clock_does(wall: Jumping, jump: int) -> None:
    """T1: after a jump back the stamps go on by nanoseconds; after a jump ahead and back, too. No two are equal."""
    clock = SystemClock()
    stamps = [clock.now() for _ in range(3)]
    wall.wall += jump
    stamps += [clock.now() for _ in range(3)]
    wall.wall -= jump
    stamps += [clock.now() for _ in range(3)]
    assert stamps == sorted(set(stamps))


async def test_a_jump_is_no_time_that_passed() -> None:
    """T1: what waits, waits as long as it was told, by the monotonic clock."""
    clock, ended = FakeClock(), list[str]()

    async def wait() -> None:
        await clock.sleep(60)
        ended.append("over")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(wait())
        await eventually(lambda: clock.sleeping == 1)
        for jump in (3_600.0, -3_600.0, 10 * 365 * 86_400.0):
            clock.advance(0, wall=jump)
            await asyncio.sleep(0)
            assert not ended
        clock.advance(60, wall=0)


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 10 * YEAR, -10 * YEAR])
async def test_values_without_a_time_keep_their_order_over_a_jump(tmp_path: Path, jump: int) -> None:
    """T1: stored in the order in which they came, none lost, none taken for a repetition; also over a restart."""
    path = tmp_path / "buffer.sqlite"
    told: list[int] = []
    for life in range(2):
        clock = FakeClock(T0 + (jump if life else 0))
        async with open_journal(path, followers=["database"], clock=clock, window=0.0) as journal:
            point = journal.registry.intern(Point("m1", "x", Kind.NUMBER))
            refine = refinery(journal.registry, Treatments({("m1", "x"): Treatment(time="receive")}))
            for number in range(20):
                clock.advance(
                    0.001, wall=jump / 1e9 if number == 10 else -jump / 1e9 if number == 15 else None
                )
                value = life * 20 + number
                batch = batch_of(Kind.NUMBER, [point], [0], [value], received=clock.now())
                await journal.append("s", Delivery([batch], 1), refine([batch], journal.identity("s")))
                told.append(value)
    with JournalReader(path) as reader:
        kept = [value for entry in reader.entries() for value in entry.batch.values.tolist()]
        account = reader.ledger().sources["s"]
    assert kept == told
    assert (account.journaled, account.unaccounted) == (40, 0)


def refined(received: int, at: int, treatment: Treatment | None = None) -> tuple[Refined, Any]:
    registry = Registry()
    point = registry.intern(Point("m1", "x", Kind.NUMBER))
    treatments = Treatments({("m1", "x"): treatment} if treatment else {})
    batch = batch_of(Kind.NUMBER, [point] * 3, np.arange(3) + at, [1, 2, 3], received=received)
    made = refinery(registry, treatments)([batch], Identity())
    return made, made.batches[0].at.tolist()


def test_started_in_1970_and_nobody_knows_the_time() -> None:
    """T3: values that have only our impossible time are kept, told apart, and counted as not to be trusted."""
    received = 5 * 10**9  # five seconds after the battery was found to be missing
    made, at = refined(received, 0)
    assert made.remarks[Remark.CLOCK_UNTRUSTED] == 3
    assert at == sorted(set(at))
    by_wish, _ = refined(received, T0, Treatment(time="receive"))
    assert by_wish.remarks[Remark.CLOCK_UNTRUSTED] == 3


def test_started_in_1970_and_the_machine_knows_the_time() -> None:
    """T3: a machine's possible time is believed, also where our own clock says that it lies far ahead."""
    made, at = refined(5 * 10**9, T0)
    assert at == [T0, T0 + 1, T0 + 2]
    assert Remark.CLOCK_UNTRUSTED not in made.remarks


def test_a_clock_that_is_right_is_not_doubted() -> None:
    """T3: the mark says something only because it is not always there."""
    made, _ = refined(T0, 0)
    assert Remark.CLOCK_UNTRUSTED not in made.remarks
    assert made.remarks[Remark.TIME_SUBSTITUTED] == 3


ZONES = ["UTC", "Europe/Brussels", "America/St_Johns", "Pacific/Apia", "Asia/Kathmandu", "BROKEN/Zone"]
# The last hour of summer time exists twice in Brussels: 2026-10-25, 02:30 is 00:30Z and 01:30Z.
TIMES = [
    "2026-10-25T00:30:00Z",
    "2026-10-25T02:30:00+02:00",
    "2026-10-25T02:30:00+01:00",
    "2026-03-29T02:30:00",
]
PRINT = """
import sys
from adapters.mqtt.times import rfc3339
from collector.words import time_words
for text in sys.argv[1:]:
    print(time_words(rfc3339(text)))
"""


@pytest.mark.parametrize("zone", ZONES)
def test_the_computers_time_zone_changes_nothing(zone: str) -> None:
    """T2: times are read and shown in UTC, in whatever zone the computer stands, also in the hours that exist twice or never."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", PRINT, *TIMES],
        env={**os.environ, "TZ": zone},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [
        "2026-10-25T00:30:00.000000000Z",
        "2026-10-25T00:30:00.000000000Z",
        "2026-10-25T01:30:00.000000000Z",
        "2026-03-29T02:30:00.000000000Z",
    ]


def test_the_zone_changes_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """T2: and nothing changes with it."""
    before = [rfc3339(text) for text in TIMES]
    for zone in ZONES:
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        assert [rfc3339(text) for text in TIMES] == before
    monkeypatch.undo()
    time.tzset()
