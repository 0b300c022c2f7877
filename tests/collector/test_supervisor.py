"""The supervisor: jobs are independent, lost ones come back, edges are logged once, a failed journal ends everything."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

import pytest

from adapters.errors import Misconfigured, NotConnected, Throttled
from collector.health import Health, State
from collector.journal.base import JournalFailed
from collector.supervisor import Connected, Job, Supervisor, cause_of
from pipelines.batch import Kind, Point
from pipelines.registry import KindConflict
from tests.collector.instant import InstantClock

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
