"""Nothing is kept of what is over: connections, writes, commits, sealed files, lives of a job, looks at the page.

Row L3, by counting: `tests/soak/kept.py`. What the long run measures in hours is seen here after a few repetitions.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.base import Delivery
from adapters.clock import SystemClock
from adapters.errors import AdapterError, NotConnected
from collector.facts import Edges, Facts
from collector.health import Health, State
from collector.journal import recent
from collector.journal.sqlite import open_journal
from collector.page.feed import Feed
from collector.page.live import Tile
from collector.seen import Watching
from collector.supervisor import Connected, Job, Supervisor
from pipelines.batch import Kind, Point, batch_of
from pipelines.refinery import refinery
from pipelines.stage import Gap, Refusal, Treatments
from tests.collector.instant import InstantClock
from tests.contracts.archive import entries_of
from tests.contracts.journal import refine
from tests.contracts.sink import batches_of
from tests.contracts.source import SourceRig
from tests.fakes import eventually
from tests.history.rigs import DAY, HistoryRig
from tests.influxdb.rigs import FakeV2Rig, bench
from tests.mqtt.peers import Mosquitto
from tests.mqtt.sparkplug.bed import Bed, Edge, number
from tests.mqtt.test_contract import MqttRig
from tests.opcua.test_contract import OpcUaRig
from tests.page.scene import Shop, source
from tests.soak.kept import kept

START = 1_700_000_000_000_000_000


class Leaky:
    """Pretends to be ours."""

    __slots__ = ("_said", "more")

    def __init__(self) -> None:
        self._said: list[int] = []
        self.more: dict[int, Leaky] = {}

    async def grow(self) -> None:
        self._said.append(len(self._said))

    async def breed(self) -> None:
        self.more[len(self.more)] = Leaky()

    async def tire(self) -> None:
        self._said = [*self._said, 1][-5:]


Leaky.__module__ = "collector.leaky"


async def test_what_is_kept_is_found() -> None:
    """L3: a number more in a list, an object more in a dictionary; not what has a bound and has reached it."""
    leaky = Leaky()
    assert await kept(leaky.grow) == {"collector.leaky.Leaky: _said": 20}
    assert await kept(leaky.breed) == {"collector.leaky.Leaky": 20, "collector.leaky.Leaky: more": 20}
    assert await kept(Leaky().tire) == {}


@pytest.fixture
async def opcua() -> AsyncIterator[SourceRig]:
    rig = OpcUaRig()
    await rig.server.start()
    yield rig
    await rig.stop()


@pytest.fixture
async def mqtt(tmp_path: Path) -> AsyncIterator[SourceRig]:
    broker = Mosquitto(tmp_path)
    await broker.start()
    rig = MqttRig(broker, "5")
    yield rig
    await rig.stop()


class Visits:
    """Sessions of one source, one after the other, each with some values that are acknowledged."""

    def __init__(self, rig: SourceRig) -> None:
        self.rig, self.source = rig, rig.source()
        self.checkpoint: bytes | None = None

    async def one(self) -> None:
        async with self.source.session(self.checkpoint) as session:
            wanted, taken = len(await self.rig.emit(6)), 0
            async for delivery in session:
                self.checkpoint = delivery.checkpoint or self.checkpoint
                taken += delivery.decoded
                await delivery.ack()
                if taken >= wanted:
                    return

    async def refused(self) -> None:
        with pytest.raises(AdapterError):
            async with self.rig.unreachable().session(self.checkpoint):
                pass


async def test_opcua_sessions_that_are_over(opcua: SourceRig) -> None:
    """L3: nothing of a connection, a subscription or an attempt is kept."""
    visits = Visits(opcua)
    assert await kept(visits.one) == {}
    assert await kept(visits.refused, 10, 3) == {}


@pytest.mark.server("mosquitto")
async def test_mqtt_sessions_that_are_over(mqtt: SourceRig) -> None:
    """L3: nothing of a connection or an attempt is kept; the ring of receipts has a bound."""
    visits = Visits(mqtt)
    assert await kept(visits.one, before=20) == {}
    assert await kept(visits.refused, 10, 3) == {}


async def test_lives_of_a_sparkplug_node() -> None:
    """L3: births with other aliases, values, a hole that nobody fills, deaths, questions, the checkpoint."""
    bed = Bed(rebirth=True)
    edge = Edge(bed)

    async def live() -> None:
        edge.bd_seq = (edge.bd_seq + 1) % 256
        load, force = edge.bd_seq % 7, 10 + edge.bd_seq % 5
        edge.nbirth(number("Load", 1.0, load))
        edge.dbirth(number("Force", 2.0, force), number("Stroke", 3.0, 20))
        for _ in range(20):
            edge.ndata(number(None, float(edge.ms), load))
            edge.ddata(number(None, float(edge.ms), force), number(None, float(edge.ms), 20))
        edge.make("NDATA", [number(None, 0.0, load)])  # lost
        edge.ddata(number(None, 1.0, force), number(None, 1.0, 99))
        bed.wait(31.0)
        edge.ndeath()
        assert bed.host.dump()
        bed.commands()
        bed.host.gaps.clear()  # the session hands them on

    assert await kept(live, 30) == {}


async def test_writes_and_sessions_of_influxdb() -> None:
    """L3: of a request nothing is kept, of a session neither."""
    rig = await FakeV2Rig().start()
    sink = rig.settings(canary=False).build(bench(rig.registry))
    said = batches_of(rig)

    async def visit() -> None:
        async with sink.session() as write:
            await write(said)

    try:
        assert await kept(visit) == {}
        async with sink.session() as write:
            assert await kept(lambda: write(said)) == {}
    finally:
        await rig.stop()


async def test_sealed_files(tmp_path: Path) -> None:
    """L3: files of the history that are sealed, merged at the end of a day, and deleted for their size."""
    rig = HistoryRig(tmp_path, max="60kB")
    archive, positions = rig.archive(), itertools.count(1, 10)

    async def seal() -> None:
        first = next(positions)
        rig.clock.wall += DAY // 4
        await archive.seal(first, first + 9, entries_of(rig.registry, [first, first + 9], rig.clock.wall))
        await archive.tidy()

    assert await kept(seal, 16, 8) == {}
    assert 0 < await rig.files() < 16


class Books:
    """A journal with two followers, and the collector's own statements about one source."""

    def __init__(self, journal: Any, clock: SystemClock) -> None:
        self.journal, self.clock, self.number = journal, clock, 0
        points = [Point("m", f"s{n}", Kind.NUMBER) for n in range(50)]
        self.ids = [journal.registry.intern(point) for point in points]
        self.facts = Facts(journal, clock, refinery(journal.registry, Treatments({})))
        self.slices = {name: journal.follow(name) for name in ("a", "b")}

    async def append(self) -> None:
        """Values, a gap, something refused; both followers take it; somebody looks at the books."""
        self.number += 1
        at = START + self.number * 1_000_000_000
        batch = batch_of(Kind.NUMBER, self.ids, at, np.arange(50.0) + self.number, received=at)
        delivery = Delivery(
            [batch],
            51,
            refused=[Refusal("w", "?", b"?", at)],
            gaps=[Gap(at, at, "x", "")],
            checkpoint=b"%d" % at,
        )
        await self.journal.append("src", delivery, refine([batch], self.journal.identity("src")))
        await self.take()

    async def take(self) -> None:
        for name, slices in self.slices.items():
            while (await anext(slices)).position < self.journal.tail.position:
                pass
            await self.journal.commit(name, self.journal.tail.position)
        await self.journal.ledger()

    async def life(self) -> None:
        """A source comes and goes."""
        edges = Edges("src", self.facts)
        refining = Watching(
            refinery(self.journal.registry, Treatments({})), edges.seen, lambda: self.journal.registry.version
        )
        await edges(True)
        at = self.clock.now()
        refining(
            [batch_of(Kind.NUMBER, self.ids, at, np.zeros(50), received=at)], self.journal.identity("src")
        )
        await edges(False)
        self.facts.stood(7.0)
        await self.facts._pay()
        await self.take()

    async def look(self) -> None:
        async with self.journal.watch() as slices:
            await self.append()
            await anext(slices)


async def test_appends_commits_and_edges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """L3: what was committed, gaps, refusals, a source that comes and goes, somebody who looks on."""
    monkeypatch.setattr(recent, "BYTES", 5 * recent.OVERHEAD)  # what is bounded is full before it is counted
    clock = SystemClock()
    async with open_journal(tmp_path / "j", followers=["a", "b"], clock=clock, window=0.0) as journal:
        books = Books(journal, clock)
        assert await kept(books.append, 30) == {}
        assert await kept(books.life) == {}
        assert await kept(books.look) == {}


async def test_lives_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """L3: a job that is lost again and again, each time with other words."""
    monkeypatch.setattr(logging.getLogger("collector"), "disabled", True)
    lives = 0

    async def live(connected: Connected) -> None:
        nonlocal lives
        lives += 1
        connected(None)
        await asyncio.sleep(0)
        raise NotConnected(f"lost for the {lives}th time")

    supervisor = Supervisor(Health(), InstantClock(), random.Random(1))

    async def once() -> None:
        wanted = lives + 3
        await eventually(lambda: lives >= wanted)

    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(supervisor.keep(Job("plc", "source", live)))
        found = await kept(once, 30)
        keeping.cancel()
    assert found == {}


async def test_readers_of_the_page() -> None:
    """L3: who has looked and is gone."""
    shop = Shop((Tile("m"),))
    shop.health.put(source("plc", State.CONNECTED, "m"))
    feed = Feed(shop.view, shop.health, shop.ledger)

    async def look() -> None:
        feed.leave(await feed.join())

    assert await kept(look) == {}
