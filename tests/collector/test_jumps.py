"""A clock that was set is a stored fact, once, with its size; slewing is none; and what our wrong clock stamped is marked, all of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from adapters.influxdb.encode import Encoder
from adapters.influxdb.names import Names
from collector.facts import believed_from
from collector.health import Health
from collector.journal.memory import MemoryJournal
from collector.jumps import THRESHOLD, Jumps, doubt
from pipelines import quality
from pipelines.batch import Kind, Point, batch_of
from pipelines.identity import Identity
from pipelines.refinery import refinery
from pipelines.stage import Remark, Treatments
from pipelines.stages.trust import DAY, YEAR_2020, Limits
from tests.collector.test_gaps import facts_of, journal_of, live, told
from tests.fakes import FakeClock, eventually

SECOND = 10**9
HOUR = 3600 * SECOND
YEAR = 365 * DAY


@pytest.mark.parametrize("jump", [1.0, 3600.0, -3600.0, 10 * 365 * 86400.0, -10 * 365 * 86400.0])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_jump_is_stored_once_with_its_size(kind: str, jump: float, tmp_path: Path) -> None:
    """T1: as a point of the machine `collector` and as a gap record over the times that are doubtful."""
    clock = FakeClock()
    async with journal_of(kind, tmp_path, clock) as journal:
        facts = facts_of(journal, clock)
        await facts.started()
        before = clock.wall_now()
        clock.advance(0, wall=jump)
        await live(facts, clock, 5)
        rows = [row for row in await told(journal) if row["signal"] == "clock.jump"]
        gaps = [gap.gap for gap in await journal.gaps() if gap.gap.reason == "clock_jump"]
    assert [(row["machine"], row["value"], row["unit"]) for row in rows] == [
        ("collector", pytest.approx(jump), "s")
    ]
    assert [(gap.begins, gap.ends) for gap in gaps] == [tuple(sorted((before, before + round(jump * 1e9))))]
    assert ("ahead" if jump > 0 else "back") in gaps[0].detail


async def test_every_jump_is_told_and_slewing_is_not() -> None:
    """T1: a time service that turns the clock by 83 ms a second for an hour tells nothing; two steps are two facts."""
    clock = FakeClock()
    jumps = Jumps(clock)
    jumps.look()
    for _ in range(3600):
        clock.advance(1.0, wall=1.083)
        assert jumps.look() is None
    found = []
    for step in (7200.0, 0.0, -7200.0, 0.0):
        clock.advance(1.0, wall=1.0 + step)
        found.append(jumps.look())
    assert [jump and round(jump.seconds, 6) for jump in found] == [7200.0, None, -7200.0, None]
    assert (jumps.count, jumps.as_json()["last_jump_s"]) == (2, -7200.0)


class HeldUp(FakeClock):
    """The process is stopped between reading one clock and the other, so many times."""

    stops = 0

    def wall_now(self) -> int:
        found = super().wall_now()
        if self.stops:
            self.stops -= 1
            self.advance(7.0)
            return found + 7 * SECOND
        return found


async def test_a_process_that_is_held_up_while_it_looks_sees_no_jump() -> None:
    """T1, P6: SIGSTOP between the two readings is no jump of the clock."""
    clock = HeldUp()
    jumps = Jumps(clock)
    jumps.look()
    for _ in range(5):
        clock.stops = 2
        clock.advance(1.0)
        assert jumps.look() is None
    clock.advance(1.0, wall=1.0 + 2 * THRESHOLD)
    assert jumps.look() is not None


@pytest.mark.parametrize(
    ("believed", "now"),
    [(YEAR_2020, 5 * SECOND), (YEAR_2020, YEAR_2020 - DAY), (YEAR_2020 + 5 * YEAR, YEAR_2020 + YEAR)],
)
def test_every_value_that_our_wrong_clock_stamped_is_marked(believed: int, now: int) -> None:
    """T3: 1970, 2019, or years behind what was stored; the mark reaches the database with the value itself."""
    journal = MemoryJournal(followers=["sink"], clock=FakeClock())
    points = [journal.registry.intern(Point("m1", name, Kind.NUMBER)) for name in "abc"]
    refine = refinery(journal.registry, Treatments(), Limits(believed=believed))
    times = [0, now, believed + YEAR]  # none; ours, given by the adapter; the machine's own
    made = refine([batch_of(Kind.NUMBER, points, times, [1.0, 2.0, 3.0], received=now)], Identity())
    (batch,) = made.batches
    assert batch.quality.tolist() == [quality.GOOD_EDITED, quality.GOOD_EDITED, quality.GOOD]
    assert batch.at.tolist()[2] == believed + YEAR
    assert made.remarks[Remark.CLOCK_UNTRUSTED] == 2
    lines = Encoder(Names(journal.registry, "machine", unsigned=True), unsigned=True).encode([batch]).texts
    marked = [line for line in lines if "GoodEdited" in line]
    assert {line.split("signal=")[1][0] for line in marked} == {"a", "b"}
    assert sum(" a=1" in line or "a=1.0" in line for line in lines) == 1


def test_a_reason_that_is_already_there_stays() -> None:
    """T3: a bad row is no value anywhere; overflow is said beside the mark."""
    journal = MemoryJournal(followers=[], clock=FakeClock())
    points = [journal.registry.intern(Point("m1", name, Kind.NUMBER)) for name in "ab"]
    given = batch_of(
        Kind.NUMBER, points, 0, [1.0, 2.0], received=5, quality=[quality.BAD, quality.GOOD | quality.OVERFLOW]
    )
    (batch,) = refinery(journal.registry, Treatments())([given], Identity()).batches
    assert batch.quality.tolist() == [quality.BAD, quality.GOOD_EDITED | quality.OVERFLOW]


@pytest.mark.parametrize(("back", "doubted"), [(3600, False), (2 * 86400, True), (20 * 365 * 86400, True)])
async def test_a_start_far_behind_what_was_stored_is_doubted(
    back: int, doubted: bool, tmp_path: Path
) -> None:
    """T3: the last sign of life decides; and the time between is a gap that begins before it ends."""
    clock = FakeClock()
    async with journal_of("sqlite", tmp_path, clock) as journal:
        await facts_of(journal, clock).started()
    clock.advance(0, wall=-float(back))
    async with journal_of("sqlite", tmp_path, clock) as journal:
        assert (clock.wall_now() < believed_from(journal)) is doubted
        await facts_of(journal, clock).started()
        (gap,) = [one.gap for one in await journal.gaps()]
    assert gap.begins <= gap.ends


async def test_a_clock_that_cannot_be_believed_is_an_alarm_until_it_is_set() -> None:
    """T3: said once, and once when it is over."""
    clock, health = FakeClock(5 * SECOND), Health()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(doubt(clock, YEAR_2020, health))
        await eventually(lambda: "clock" in health.alarms)
        assert "1970-01-01" in health.alarms["clock"]
        clock.advance(1.0, wall=YEAR_2020 / 1e9)
        await eventually(lambda: "clock" not in health.alarms)
        task.cancel()
