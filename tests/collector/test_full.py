"""A buffer without room for one more word: it must still be possible to begin, to make room, and to end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapters.base import Delivery, Position
from adapters.clock import SystemClock
from collector import crew, run
from collector.assembly import Line
from collector.health import Health
from collector.journal.memory import MemoryJournal
from collector.journal.sqlite import open_journal
from collector.journal.waiting import first_of
from collector.run import Plant, Running
from pipelines.batch import Kind, Point, batch_of
from pipelines.refinery import refinery
from pipelines.stage import Refined, Treatments
from tests.collector.floor import Floor, influx, machine, opcua, plc, row, state
from tests.influxdb.fake import Fake, fake, refusal
from tests.opcua.scripted import ScriptedServer

T0 = 1_700_000_000_000_000_000
SIZE = 1_000_000


@pytest.fixture
async def database() -> AsyncIterator[Fake]:
    async with fake() as server:
        yield server


@pytest.fixture
async def left() -> AsyncIterator[ScriptedServer]:
    server = plc()
    await server.start()
    yield server
    await server.stop()


async def filled(folder: Path, *, reserve: bool) -> None:
    """A buffer into which nothing more goes, however small. reserve: nor into what is kept from the sources."""
    opened = open_journal(
        folder / "buffer.sqlite",
        followers=["influxdb"],
        clock=SystemClock(),
        max_bytes=SIZE,
        min_free=0,
        window=0.0,
    )
    async with opened as journal:
        point = journal.registry.intern(Point("press", "text", Kind.TEXT))
        refine, number = refinery(journal.registry, Treatments()), 0
        for length in (20_000, 10):
            full = False
            while not full:
                number += 1
                batch = batch_of(Kind.TEXT, [point], [T0 + number], [os.urandom(length).hex()], received=T0)
                refined = refine([batch], journal.identity("left"))
                append = journal.append("left", Delivery([batch], 1), refined, own=reserve)
                await first_of(append, journal.pressed.wait())
                full = journal.pressed.is_set()


@pytest.mark.parametrize("reserve", [False, True])
async def test_a_full_buffer_is_begun_with_emptied_and_ended(
    tmp_path: Path, left: ScriptedServer, database: Fake, monkeypatch: pytest.MonkeyPatch, reserve: bool
) -> None:
    """Nothing could begin: the word about the time away waited for space, and who makes space waited for that word."""
    monkeypatch.setattr(run, "DRAIN", 0.5)
    monkeypatch.setattr(crew, "TELLING", 0.5)
    floor = Floor(tmp_path)
    floor.config |= {
        "sources": {"left": opcua(left)},
        "machines": [machine("press", "left", "a")],
        "sinks": [influx(database.url)],
        "history": "off",
        "buffer": {"max": "1MB"},
    }
    floor.write()
    floor.state.mkdir(mode=0o700)
    await filled(floor.state, reserve=reserve)
    database.rule = lambda *_: refusal(503, "down")
    async with asyncio.timeout(120):
        async with floor.at_work():
            await floor.until("the sink has tried", lambda books: state(books, "influxdb") == "waiting")
    database.rule = lambda *_: None
    async with floor.at_work():
        await floor.connected("left")
        books = await floor.until("all of it is stored", lambda books: row(books, "influxdb")["pending"] == 0)
    assert books["unaccounted"] == 0
    assert row(books, "collector")["journaled"] > 0


class Stuck(MemoryJournal):
    """From some moment on nothing fits any more."""

    def __init__(self) -> None:
        super().__init__(followers=(), clock=SystemClock())
        self.stuck = False

    async def append(
        self, source: str, delivery: Delivery, refined: Refined, *, own: bool = False
    ) -> Position:
        while self.stuck:
            await asyncio.Event().wait()
        return await super().append(source, delivery, refined, own=own)


@asynccontextmanager
async def at_work(folder: Path, journal: Stuck) -> AsyncIterator[Plant]:
    line = Line(journal.registry, [], [], None, Treatments())
    plant, stop = Plant(Running(line, journal, Health(), SystemClock(), folder)), asyncio.Event()
    async with asyncio.timeout(90), asyncio.TaskGroup() as tasks:
        tasks.create_task(plant.work(stop))
        await plant.working.wait()
        yield plant
        stop.set()


async def test_a_standstill_is_a_gap_record_also_at_the_very_end(tmp_path: Path) -> None:
    journal = Stuck()
    async with at_work(tmp_path, journal) as plant:
        plant.stood(7.0)
    (gap,) = [one.gap for one in await journal.gaps() if one.gap.reason == "collector_stood_still"]
    assert gap.ends - gap.begins == 7 * 10**9


async def test_a_standstill_with_a_full_buffer_holds_up_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The word about it waited for space for ever, and the end waited for the word."""
    monkeypatch.setattr(run, "LAST_WORDS", 0.5)
    journal = Stuck()
    async with at_work(tmp_path, journal) as plant:
        journal.stuck = True
        plant.stood(7.0)
