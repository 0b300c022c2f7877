"""The supervisor: jobs are independent, lost ones come back, edges are logged once, a failed journal ends everything."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from adapters.errors import Misconfigured, NotConnected, Throttled
from collector.health import Health, State
from collector.journal.base import JournalFailed
from collector.supervisor import NEWS, Connected, Job, Supervisor, attempted, cause_of
from pipelines.batch import Kind, Point
from pipelines.registry import KindConflict
from tests.collector.instant import InstantClock
from tests.fakes import FakeClock, eventually

Run = Callable[[Connected], Awaitable[None]]


class Bench:
    def __init__(self) -> None:
        self.clock = InstantClock()
        self.health = Health()
        self.supervisor = Supervisor(self.health, self.clock, random.Random(1))

    async def lives(self, run: Run, count: int, **options: object) -> list[float]:
        """Keep the job for this many attempts; the pauses between them."""
        attempts = 0
        done = asyncio.Event()

        async def counted(connected: Connected) -> None:
            nonlocal attempts
            attempts += 1
            if attempts > count:
                done.set()
                await asyncio.Event().wait()
            await run(connected)

        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self.supervisor.keep(Job("cnc-1", "source", counted, **options)))  # type: ignore[arg-type]
            await done.wait()
            task.cancel()
        return self.clock.slept


async def refuse(_connected: Connected) -> None:
    raise NotConnected("connection refused")


async def test_pauses_grow_with_jitter_up_to_the_slowest() -> None:
    pauses = await Bench().lives(refuse, 12)
    assert all(0.125 <= pause <= 4.0 for pause in pauses)
    assert pauses[0] <= 0.25
    assert max(pauses) > 2.0
    assert len(set(pauses)) == len(pauses)


async def test_a_session_that_lasted_starts_the_pauses_anew() -> None:
    bench = Bench()

    async def long_life(connected: Connected) -> None:
        connected(None)
        bench.clock.seconds += 60
        raise NotConnected("lost")

    assert all(pause <= 0.25 for pause in await bench.lives(long_life, 5))


async def test_throttled_waits_as_long_as_asked() -> None:
    async def throttled(_connected: Connected) -> None:
        raise Throttled("busy", wait=42.0)

    assert await Bench().lives(throttled, 2) == [42.0, 42.0]


@pytest.mark.parametrize(
    "error",
    [
        Misconfigured("wrong password", "set the right one"),
        KindConflict(Point("m", "s", Kind.NUMBER), Kind.TEXT),
    ],
)
async def test_what_needs_somebody_is_shown_and_tried_slowly(error: Exception) -> None:
    bench = Bench()

    seen: list[State] = []

    async def wrong(_connected: Connected) -> None:
        seen.append(bench.health["cnc-1"].state)
        raise error

    pauses = await bench.lives(wrong, 2)
    assert min(pauses) >= 15.0
    assert str(error) in bench.health["cnc-1"].error
    assert seen == [State.CONNECTING, State.NEEDS_ATTENTION]


async def test_an_unforeseen_error_restarts_only_this_job(caplog: pytest.LogCaptureFixture) -> None:
    """P10: the others go on, and it is said once."""
    bench = Bench()
    other_runs = asyncio.Event()

    async def broken(_connected: Connected) -> None:
        raise ZeroDivisionError("a bug")

    async def steady(connected: Connected) -> None:
        connected(None)
        other_runs.set()
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as tasks:
        other = tasks.create_task(bench.supervisor.keep(Job("other", "source", steady)))
        await other_runs.wait()
        await bench.lives(broken, 3)
        assert bench.health["other"].state is State.CONNECTED
        other.cancel()
    assert "a bug" in caplog.text
    assert caplog.text.count("nobody foresaw") == 1


async def test_a_failed_journal_ends_it() -> None:
    async def disk_gone(_connected: Connected) -> None:
        raise ExceptionGroup("several", [ValueError("noise"), JournalFailed("I/O error")])

    with pytest.raises(JournalFailed):
        await Bench().supervisor.keep(Job("cnc-1", "source", disk_gone))


async def test_the_log_has_edges_and_not_levels(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    tries = 0

    async def flaky(connected: Connected) -> None:
        nonlocal tries
        tries += 1
        if tries in (1, 20):
            connected(None)
        raise NotConnected("unplugged")

    with caplog.at_level(logging.INFO, "collector"):
        await bench.lives(flaky, 25)
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(" after")[0] for line in lines] == [
        "cnc-1: connected",
        "cnc-1: unplugged",
        "cnc-1: back",
        "cnc-1: unplugged",
    ]


async def test_edges_are_told_up_and_down_in_order() -> None:
    told: list[bool] = []

    async def listen(up: bool) -> None:
        told.append(up)

    async def short(connected: Connected) -> None:
        connected(None)
        await asyncio.sleep(0)
        raise NotConnected("lost")

    await Bench().lives(short, 2, edge=listen)
    assert told == [True, False, True, False]


async def test_stopping_says_so() -> None:
    bench = Bench()
    await bench.lives(refuse, 1)
    assert bench.health["cnc-1"].state is State.STOPPED


def test_the_cause_of_a_group_is_the_word_of_an_adapter() -> None:
    lost = NotConnected("lost")
    assert cause_of(ExceptionGroup("a", [ValueError("x"), ExceptionGroup("b", [lost])])) is lost
    assert isinstance(cause_of(ExceptionGroup("a", [ValueError("x")])), ValueError)


async def test_an_error_in_one_source_leaves_the_others_at_work(caplog: pytest.LogCaptureFixture) -> None:
    """P10: one adapter raises what nobody foresaw, again and again; the other one loses nothing of its rate."""
    clock, health = FakeClock(), Health()
    supervisor = Supervisor(health, clock, random.Random(2))
    samples, attempts = 0, 0

    async def steady(connected: Connected) -> None:
        nonlocal samples
        connected(None)
        while True:
            await clock.sleep(0.125)
            samples += 1

    async def broken(connected: Connected) -> None:
        nonlocal attempts
        attempts += 1
        connected(None)
        await clock.sleep(0.5)
        raise ZeroDivisionError(f"a bug, for the {attempts}. time")

    async with asyncio.TaskGroup() as tasks:
        jobs = [Job("steady", "source", steady), Job("broken", "source", broken)]
        running = [tasks.create_task(supervisor.keep(job)) for job in jobs]
        await passing(clock, 60.0)
        assert samples >= 0.95 * 60 / 0.125
        assert attempts >= 60 / (4.0 + 0.5)  # never longer away than 4 s
        for task in running:
            task.cancel()
    assert "broken: stopped by an error that nobody foresaw" in caplog.text
    assert "steady" not in caplog.text


async def test_fifty_jobs_of_which_twenty_flap() -> None:
    """U23: back-off with jitter and no starvation: those that flap every 3 s neither slow the others nor storm their peers."""
    clock, health = FakeClock(), Health()
    supervisor = Supervisor(health, clock, random.Random(3))
    samples: Counter[str] = Counter()
    attempts: Counter[str] = Counter()

    def healthy(name: str) -> Run:
        async def run(connected: Connected) -> None:
            connected(None)
            while True:
                await clock.sleep(1.0)
                samples[name] += 1

        return run

    def flapping(name: str) -> Run:
        async def run(connected: Connected) -> None:
            attempts[name] += 1
            connected(None)
            await clock.sleep(3.0)
            raise NotConnected("reset")

        return run

    async with asyncio.TaskGroup() as tasks:
        jobs = [Job(f"good-{n}", "source", healthy(f"good-{n}")) for n in range(30)]
        jobs += [Job(f"bad-{n}", "source", flapping(f"bad-{n}")) for n in range(20)]
        running = [tasks.create_task(supervisor.keep(job)) for job in jobs]
        await passing(clock, 300.0)
        for task in running:
            task.cancel()
    assert len(samples) == 30
    assert min(samples.values()) >= 0.99 * 300
    assert len(attempts) == 20
    assert min(attempts.values()) >= 300 / (3.0 + 4.0) - 1
    assert max(attempts.values()) <= 300 / 3.0


async def passing(clock: FakeClock, seconds: float, step: float = 0.125) -> None:
    """Let time pass in small steps that floats add up exactly, and everybody act after each."""
    for _ in range(round(seconds / step)):
        for _ in range(4):
            await asyncio.sleep(0)
        clock.advance(step)


async def test_another_kind_of_error_while_it_is_down_is_news(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    errors = [NotConnected("refused"), NotConnected("refused"), Misconfigured("wrong password", "set it")] * 3
    waiting = iter(errors)

    async def away(_connected: Connected) -> None:
        raise next(waiting)

    await bench.lives(away, len(errors))
    assert [record.getMessage() for record in caplog.records] == [
        "cnc-1: refused",
        "cnc-1: wrong password - set it",
    ]


async def test_what_differs_in_every_attempt_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    count = iter(range(1000))

    async def away(_connected: Connected) -> None:
        raise NotConnected(f"refused, port {next(count)}")

    await Bench().lives(away, 100)
    assert len(caplog.records) == NEWS


async def test_a_change_that_fails_is_an_answer_and_not_an_end() -> None:
    async def bug() -> int:
        raise ZeroDivisionError("a bug")

    async def disk() -> int:
        raise JournalFailed("I/O error")

    async def fine() -> int:
        return 5

    assert isinstance(await attempted(bug()), ZeroDivisionError)
    assert await attempted(fine()) == 5
    with pytest.raises(JournalFailed):
        await attempted(disk())


async def test_the_line_of_the_return_says_what_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    """Known a moment after the return; a source that is lost before has its line all the same, once."""
    bench, tries = Bench(), 0

    async def flaky(connected: Connected) -> None:
        nonlocal tries
        tries += 1
        bench.clock.seconds += 250
        connected(None)
        for _ in range(3 if tries == 2 else 0):
            await asyncio.sleep(0)
        raise NotConnected("unplugged")

    async def missing() -> str:
        return "3 values missing"

    with caplog.at_level(logging.INFO, "collector"):
        await bench.lives(flaky, 3, missing=missing)
    lines = [record.getMessage() for record in caplog.records if "back" in record.getMessage()]
    assert len(lines) == 2
    assert lines[0].startswith("cnc-1: back after 4 min 1")
    assert lines[0].endswith(", 3 values missing")
    assert "missing" not in lines[1]


async def test_a_stop_while_a_lost_life_is_being_cleared_away() -> None:
    """What a life has begun may take a while to end (an append that is under way is waited for): a stop that comes just then
    counts, too.
    """
    clearing, cleared, again = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def edge(up: bool) -> None:
        if up and not clearing.is_set():
            try:
                await asyncio.Event().wait()
            finally:
                clearing.set()
                await cleared.wait()

    async def lost(connected: Connected) -> None:
        if clearing.is_set():
            again.set()
            await asyncio.Event().wait()
        connected(None)
        await asyncio.sleep(0)
        raise NotConnected("lost at once")

    bench = Bench()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(bench.supervisor.keep(Job("cnc-1", "source", lost, edge=edge)))
        await clearing.wait()
        task.cancel()
        cleared.set()
        await eventually(lambda: task.done() or again.is_set())
        task.cancel()
    assert not again.is_set(), "it was stopped and lives again"
    assert bench.health["cnc-1"].state is State.STOPPED


class _WithResult(asyncio.CancelledError):
    """As asyncua's wait_for raises it when a cancellation meets an answer; a task group takes it for an error."""


async def test_a_stop_that_meets_an_answer_ends_this_job_and_nothing_else() -> None:
    bench, waiting = Bench(), asyncio.Event()

    async def run(_connected: Connected) -> None:
        async with asyncio.TaskGroup():
            try:
                waiting.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise _WithResult from None

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(bench.supervisor.keep(Job("cnc-1", "source", run)))
        await waiting.wait()
        task.cancel()
    assert task.cancelled()
    assert bench.health["cnc-1"].state is State.STOPPED


async def test_a_time_out_that_meets_an_answer_is_a_lost_life() -> None:
    async def run(_connected: Connected) -> None:
        async with asyncio.TaskGroup():
            raise _WithResult

    assert len(await Bench().lives(run, 3)) == 3
