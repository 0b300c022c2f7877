"""Journal, outflow, supervisor and a real InfluxDB 1.x, with a cable between them that a test can pull."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.clock import SystemClock
from collector.health import State
from collector.journal.sqlite import open_journal
from pipelines.batch import Batch, Kind, Point, batch_of
from pipelines.registry import Registry
from simulators.doors import kept, shut
from tests.contracts.rig import eventually
from tests.contracts.sink import START, contents, difference, write_once
from tests.fakes import FakeClock
from tests.influxdb.outflow import Line, line
from tests.influxdb.rigs import InfluxV1Rig, bench

pytestmark = pytest.mark.server("influxd")

OUTAGE = int(os.environ.get("INFLUX_OUTAGE_VALUES", "100000"))
"""Values that wait at the end of the outage: 100000 in CI; `INFLUX_OUTAGE_VALUES=100000000` is a week at 165 values/s."""

LONG = os.environ.get("SHOPFLOOR_LONG") == "1"


class Cable:
    """A TCP relay to the database. up: whether anybody listens. loses: how many answers to swallow. sent: what went through."""

    def __init__(self, url: str) -> None:
        self._to = urlsplit(url)
        self.loses = self.port = 0
        self.sent = bytearray()
        self._server: asyncio.Server | None = None
        self._place: socket.socket | None = None  # while it is pulled
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def plug(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        self._let_go()

    async def pull(self) -> None:
        assert self._server is not None
        await shut(self._server)
        self._place = kept("127.0.0.1", self.port)
        for writer in list(self._open):
            writer.transport.abort()
        await self._server.wait_closed()
        await eventually(lambda: not self._open, "all connections are gone")

    async def cut(self) -> None:
        """Pulled for good."""
        if self._place is None:
            await self.pull()
        self._let_go()

    def _let_go(self) -> None:
        if self._place is not None:
            self._place.close()
            self._place = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            back, there = await asyncio.open_connection(self._to.hostname, self._to.port)
        except OSError:
            self._open.discard(writer)
            writer.transport.abort()
            return
        self._open.add(there)
        try:
            if writer.transport.is_closing():  # pulled meanwhile
                return
            async with asyncio.TaskGroup() as both:
                both.create_task(self._up(reader, there))
                both.create_task(self._down(back, writer))
        except* (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open -= {writer, there}
            writer.close()
            there.close()

    async def _up(self, reader: asyncio.StreamReader, there: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            self.sent += data
            there.write(data)
            await there.drain()
        raise ConnectionResetError

    async def _down(self, back: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await back.read(1 << 16):
            if self.loses and data.startswith(b"HTTP/1.1 204") and b"/write" in self.sent:
                self.loses -= 1
                writer.transport.abort()
                raise ConnectionResetError
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[InfluxV1Rig]:
    rig = await InfluxV1Rig(tmp_path).start()
    yield rig
    await rig.stop()


@asynccontextmanager
async def cable(rig: InfluxV1Rig) -> AsyncIterator[Cable]:
    cable = Cable(rig.settings().url)
    await cable.plug()
    try:
        yield cable
    finally:
        await cable.cut()


def rows(registry: Registry, first: int, n: int) -> list[Batch]:
    point = registry.intern(Point("mill", "load", Kind.NUMBER))
    at = START + np.arange(first, first + n) * 1000
    return [batch_of(Kind.NUMBER, [point] * n, at, at % 977 / 7, received=1)]


async def fill(running: Line, writes: int, n: int) -> list[Batch]:
    batches = [rows(running.journal.registry, i * n, n) for i in range(writes)]
    async with asyncio.TaskGroup() as group:
        for batch in batches:
            group.create_task(running.append(batch))
    return [batch for batches in batches for batch in batches]


async def test_answers_that_get_lost_on_the_way(rig: InfluxV1Rig, tmp_path: Path) -> None:
    """I2: stored by a real database, ten answers lost: as many values as were sent, the same keys, books balanced."""
    pauses = FakeClock()
    async with cable(rig) as wire, line(tmp_path, ["influx"], pauses) as running:
        rig.registry = running.journal.registry
        batches = await fill(running, 20, 200)
        wire.loses = 10
        sink = rig.settings(name="influx", url=wire.url, batch_lines=300, canary=False).build(
            bench(rig.registry)
        )
        running.start(sink)
        await running.drained_after("influx", pauses)
        account = await running.account("influx")
        assert (account.stored, wire.loses) == (4000, 0)
        assert difference(contents(rig.registry, batches), await rig.stored()) == []


async def test_bad_values_among_good_ones(rig: InfluxV1Rig, tmp_path: Path) -> None:
    """I3: values that a real database refuses, in company and alone: quarantined one by one, all others stored."""
    poisoned = await rig.poison()
    registry = rig.registry
    async with line(tmp_path, ["influx"]) as running:
        for point in registry.since(0):
            running.journal.registry.intern(point)
        await running.append(poisoned.batches)
        running.start(rig.settings(name="influx").build(bench(running.journal.registry)))
        account = await running.drained("influx")
        assert account.quarantined == poisoned.bad == len(await running.quarantined())
        assert difference(poisoned.good, await rig.stored()) == []


async def test_a_database_that_is_made_later(rig: InfluxV1Rig, tmp_path: Path) -> None:
    """I5: 404 from a real database: everything held, attention asked for, stored within 60 s of `CREATE DATABASE`."""
    pauses = FakeClock()
    async with line(tmp_path, ["influx"], pauses) as running:
        rig.registry = running.journal.registry
        await fill(running, 5, 100)
        running.start(rig.settings(name="influx", create=False).build(bench(rig.registry)))
        for _ in range(3):
            await eventually(lambda: pauses.sleeping == 1, "it waits")
            assert running.state("influx") is State.NEEDS_ATTENTION
            assert "database not found" in running.health["influx"].error
            pauses.advance(60.0)
        assert (await running.account("influx")).cursor == 0
        rig.query('CREATE DATABASE "machines"')
        assert await running.drained_after("influx", pauses) <= 60
        assert (await running.account("influx")).stored == 500


async def test_points_older_than_the_database_keeps(rig: InfluxV1Rig, tmp_path: Path) -> None:
    """I11: a real database with a retention of one day: old values quarantined with that reason, new ones stored."""
    rig.query('CREATE DATABASE "machines" WITH DURATION 1d')
    async with line(tmp_path, ["influx"]) as running:
        registry = rig.registry = running.journal.registry
        point = registry.intern(Point("mill", "load", Kind.NUMBER))
        at = [*range(START, START + 300), *range(now := time.time_ns(), now + 300)]
        await running.append([batch_of(Kind.NUMBER, [point] * 600, at, np.arange(600.0), received=1)])
        running.start(rig.settings(name="influx").build(bench(registry)))
        account = await running.drained("influx")
        reasons = [entry.refusal.reason for entry in await running.quarantined()]
    assert (account.stored, account.quarantined) == (300, 300)
    assert all("retention" in reason for reason in reasons)
    assert len(await rig.stored()) == 300


async def test_an_outage_of_a_week(rig: InfluxV1Rig, tmp_path: Path) -> None:
    """I10: the database is away while the journal grows; then all of it, in order, at 5 times the live rate and more
    (by the processor's time: what the disk and other programs take is not ours).
    """
    per_write, live = 100, 1000.0
    rig.query('CREATE DATABASE "machines"')
    pauses = FakeClock()
    async with cable(rig) as wire, line(tmp_path, ["influx"], pauses) as running:
        rig.registry = running.journal.registry
        await wire.pull()
        running.start(rig.settings(name="influx", url=wire.url, canary=False).build(bench(rig.registry)))
        await fill(running, OUTAGE // per_write, per_write)
        await eventually(lambda: pauses.sleeping == 1, "it waits")
        assert (await running.account("influx")).pending == OUTAGE
        await wire.plug()
        began = time.process_time()
        pauses.advance(60.0)
        account = await running.drained("influx", patience=120 + OUTAGE / 500)
        seconds = time.process_time() - began
    times = [int(found) for found in re.findall(rb"machine,\S+ load=\S+ (\d{19})", wire.sent)]
    assert account.stored == OUTAGE == len(times)
    assert times == sorted(times), "in the order of the journal"
    (series,) = rig.query("SELECT count(load) FROM machine")
    assert int(series["values"][0][1]) == OUTAGE
    assert OUTAGE / seconds >= 5 * live, f"caught up at {OUTAGE / seconds:,.0f} values/s"


async def test_a_database_deleted_and_made_anew(rig: InfluxV1Rig, tmp_path: Path) -> None:
    """I12: DROP DATABASE, and what the journal still holds is written again, as by a cursor that was set back: all of it."""
    async with line(tmp_path, ["influx", "history"]) as running:
        registry = rig.registry = running.journal.registry
        batches = await fill(running, 10, 100)
        running.start(rig.settings(name="influx").build(bench(registry)))
        await running.drained("influx")
    rig.query('DROP DATABASE "machines"')
    followers = ["history", "anew"]  # one that has everything before it is a cursor at the beginning
    async with open_journal(tmp_path / "journal.db", followers=followers, clock=SystemClock()) as journal:
        sink = rig.settings(name="anew").build(bench(journal.registry))
        stored = 0
        async with sink.session() as write:
            async for position, found in journal.follow("anew"):
                await write(found)
                await journal.commit("anew", position)
                stored += sum(map(len, found))
                if stored >= 1000:
                    break
        rig.registry = journal.registry
        assert difference(contents(journal.registry, batches), await rig.stored()) == []


async def test_two_databases_one_down(rig: InfluxV1Rig, tmp_path: Path) -> None:
    """I14: two sinks into a real server, the cable of one pulled: the other gets every write, the first catches up."""
    async with cable(rig) as wire, line(tmp_path, ["up", "down"]) as running:
        registry = rig.registry = running.journal.registry
        running.start(rig.settings(name="up").build(bench(registry)))
        running.start(rig.settings(name="down", url=wire.url, database="second").build(bench(registry)))
        await running.append(rows(registry, 0, 10))
        await running.drained("down")
        await wire.pull()
        for first in range(10, 1010, 100):
            began = time.monotonic()
            await running.append(rows(registry, first, 100))
            await running.drained("up")
            assert time.monotonic() - began < (2.0 if LONG else 60.0)
        assert (await running.account("down")).pending == 1000
        await wire.plug()
        assert (await running.drained("down")).stored == 1010
    assert await _count(rig) == await _count(rig.sharing(registry, "second")) == 1010


async def _count(rig: InfluxV1Rig) -> int:
    found: Sequence[object] = list((await rig.stored()).values())
    return len(found)


async def test_replays_of_drawn_writes(rig: InfluxV1Rig) -> None:
    """I2: drawn writes, repeated whole, in part and in another order: the database is what it was after the first time."""
    drawn: list[list[tuple[int, int, float]]] = []

    @given(
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30), st.floats(-9, 9)), min_size=1, max_size=30)
    )
    @settings(max_examples=25, database=None)
    def draw(cells: list[tuple[int, int, float]]) -> None:
        drawn.append(cells)

    draw()
    ids = [rig.registry.intern(Point("mill", f"s{i}", Kind.NUMBER)) for i in range(4)]
    writes = [
        batch_of(
            Kind.NUMBER,
            [ids[signal] for signal, _, _ in cells],
            [START + n * 1000 + at for _, at, _ in cells],
            [value for *_, value in cells],
            received=1,
        )
        for n, cells in enumerate(drawn)
    ]
    for batch in writes:
        await write_once(rig.sink(), [batch])
    once = await rig.stored()
    async with rig.sink().session() as write:
        await write(writes)
        for batch in writes[::-2]:
            await write([batch])
    assert difference(once, await rig.stored()) == []
    assert difference(once, contents(rig.registry, writes)) == []
