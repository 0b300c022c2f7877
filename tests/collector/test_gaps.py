"""Gaps as values: every gap record becomes points exactly once, also through kill -9, and can be read in a real InfluxDB.

A hole is a stored fact (invariant I13). The oracle is the gaps table, read with plain SQL, against rows read back over HTTP.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.base import Delivery, Position
from collector.alive import Mark
from collector.facts import OWN, Edges, Facts
from collector.gaps import AT_ONCE
from collector.journal.base import Journal
from collector.journal.memory import MemoryJournal
from collector.journal.sqlite import open_journal
from collector.live import rows_of
from collector.seen import Watching
from pipelines.batch import Flag, Kind, Point, batch_of
from pipelines.identity import Identity, Learned
from pipelines.refinery import refinery
from pipelines.stage import Gap, Refined, Treatments
from tests.fakes import FakeClock
from tests.influxdb.peers import Server, influxd
from tests.line.conftest import started, v1
from tests.line.databases import influx as ask_influx
from tests.line.harness import ENVIRONMENT, PATIENCE, collector, eventually
from tests.mqtt.peers import Mosquitto

BEGAN = 1_700_000_000_000_000_000
NOTHING = Refined((), (), {}, {}, Learned())


@asynccontextmanager
async def journal_of(kind: str, folder: Path, clock: FakeClock) -> AsyncIterator[Journal]:
    if kind == "memory":
        yield MemoryJournal(followers=["sink"], clock=clock)
    else:
        async with open_journal(folder / "j.db", followers=["sink"], clock=clock, window=0.0) as journal:
            yield journal


def facts_of(journal: Journal, clock: FakeClock) -> Facts:
    return Facts(journal, clock, refinery(journal.registry, Treatments()))


async def tell(journal: Journal, *gaps: Gap, source: str = "plc") -> None:
    await journal.append(source, Delivery((), 0, gaps=gaps), NOTHING)


async def told(journal: Journal) -> list[dict[str, Any]]:
    """Everything that was journaled under the collector's own machine, but for the ticks that every sign of life is."""
    rows: list[dict[str, Any]] = []
    tail = (await journal.ledger()).tail
    if not tail:
        return rows
    async for position, batches in journal.follow("sink"):
        found = [row for batch in batches for row in rows_of(journal.registry, batch)]
        rows += [row for row in found if row["signal"] != "tick"]
        if position >= tail:
            break
    return rows


async def live(facts: Facts, clock: FakeClock, seconds: float) -> None:
    """Let the collector's own accounts run for so long."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(facts.alive())
        for _ in range(int(seconds)):
            async with asyncio.timeout(60):
                while not clock.sleeping:
                    await asyncio.sleep(0.001)
            clock.advance(1.0)
        async with asyncio.timeout(60):
            while not clock.sleeping:
                await asyncio.sleep(0.001)
        task.cancel()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_repair_is_told_in_the_row_of_the_gap_that_it_repaired(kind: str, tmp_path: Path) -> None:
    """Of two gaps with one beginning the right one; a repair whose gap nobody knows has a row of its own."""
    clock = FakeClock()
    async with journal_of(kind, tmp_path, clock) as journal:
        first = Gap(BEGAN, BEGAN + 5, "server_queue_overflow", "", ("m1",))
        second = Gap(BEGAN, BEGAN + 7, "server_queue_overflow", "", ("m2",))
        await tell(journal, first, second)
        facts = facts_of(journal, clock)
        await live(facts, clock, 1)
        await tell(journal, Gap(BEGAN, BEGAN + 7, "repaired", "all of it", ("m2",), 12))
        await tell(journal, Gap(BEGAN + 90, BEGAN + 99, "repaired_in_part", "of nothing known", (), 3))
        await live(facts, clock, 2)
        rows = {(row["signal"], row["time"]): row["value"] for row in await told(journal)}
    assert rows["gap.plc.to", BEGAN] == BEGAN + 5
    assert ("gap.plc.repaired", BEGAN) not in rows
    assert rows["gap.plc.to", BEGAN + 1] == BEGAN + 7
    assert rows["gap.plc.reason", BEGAN + 1] == "server_queue_overflow"
    assert rows["gap.plc.repaired", BEGAN + 1] == 12
    assert rows["gap.plc.repair", BEGAN + 1] == "repaired: all of it"
    assert rows["gap.plc.reason", BEGAN + 90] == "repaired_in_part"
    assert rows["gap.plc.count", BEGAN + 90] == 3


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_repair_finds_its_gap_behind_a_thousand_others(kind: str, tmp_path: Path) -> None:
    clock = FakeClock()
    async with journal_of(kind, tmp_path, clock) as journal:
        await tell(journal, Gap(BEGAN, BEGAN + 7, "connection_lost"))
        await tell(journal, *(Gap(BEGAN + n, BEGAN + n + 1, "connection_lost") for n in range(100, 1300)))
        facts = facts_of(journal, clock)
        await live(facts, clock, 1)
        await tell(journal, Gap(BEGAN, BEGAN + 7, "repaired", "all of it", (), 12))
        await live(facts, clock, 1)
        rows = {(row["signal"], row["time"]): row["value"] for row in await told(journal)}
    assert rows["gap.plc.reason", BEGAN] == "connection_lost"
    assert rows["gap.plc.repaired", BEGAN] == 12
    assert ("gap.plc.reason", BEGAN + 1) not in rows, "a row of its own, as of a gap that nobody knows"


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_every_field_of_a_gap_at_the_time_of_its_beginning(kind: str, tmp_path: Path) -> None:
    clock = FakeClock()
    async with journal_of(kind, tmp_path, clock) as journal:
        await tell(
            journal, Gap(BEGAN, BEGAN + 5, "server_queue_overflow", "the queue ran over", ("m1", "m2"), 3)
        )
        await tell(journal, Gap(BEGAN + 9, BEGAN + 9, "connection_lost"))
        await live(facts_of(journal, clock), clock, 1)
        rows = {(row["signal"], row["time"]): row["value"] for row in await told(journal)}
    assert rows == {
        ("gap.plc.reason", BEGAN): "server_queue_overflow",
        ("gap.plc.from", BEGAN): BEGAN,
        ("gap.plc.to", BEGAN): BEGAN + 5,
        ("gap.plc.count", BEGAN): 3,
        ("gap.plc.detail", BEGAN): "the queue ran over",
        ("gap.plc.machines", BEGAN): "m1, m2",
        ("gap.plc.reason", BEGAN + 9): "connection_lost",
        ("gap.plc.from", BEGAN + 9): BEGAN + 9,
        ("gap.plc.to", BEGAN + 9): BEGAN + 9,
    }


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_gaps_that_begin_together_stay_apart_and_more_than_one_append_holds(
    kind: str, tmp_path: Path
) -> None:
    clock = FakeClock()
    async with journal_of(kind, tmp_path, clock) as journal:
        await tell(journal, *(Gap(BEGAN, BEGAN + 10 + n, "dropped", count=n) for n in range(AT_ONCE + 20)))
        await tell(journal, Gap(BEGAN, BEGAN + 3, "dropped"), source="other")
        await live(facts_of(journal, clock), clock, 4)
        rows = await told(journal)
        ledger = await journal.ledger()
    counts = {row["value"]: row["time"] for row in rows if row["signal"] == "gap.plc.count"}
    assert counts == {n: BEGAN + n for n in range(AT_ONCE + 20)}
    ends = {row["time"]: row["value"] for row in rows if row["signal"] == "gap.plc.to"}
    assert ends == {BEGAN + n: BEGAN + 10 + n for n in range(AT_ONCE + 20)}
    assert [row["time"] for row in rows if row["signal"] == "gap.other.to"] == [BEGAN]
    assert ledger.unaccounted == 0
    assert ledger.sources[OWN].filtered == {}


async def test_copied_once_over_many_lives(tmp_path: Path) -> None:
    clock = FakeClock()
    for life in range(4):
        async with journal_of("sqlite", tmp_path, clock) as journal:
            facts = facts_of(journal, clock)
            await facts.started()
            await tell(journal, Gap(BEGAN + life, BEGAN + life, f"reason {life}"))
            await live(facts, clock, 2)
            if life == 3:
                rows = await told(journal)
                assert (await journal.ledger()).sources[OWN].filtered == {}  # not even offered twice
        clock.advance(100.0)
    reasons = Counter(row["value"] for row in rows if row["signal"] == "gap.plc.reason")
    assert reasons == {f"reason {life}": 1 for life in range(4)}
    downtimes = [row for row in rows if row["signal"] == f"gap.{OWN}.reason"]
    assert [row["value"] for row in downtimes] == ["collector_down"] * 3
    times = {row["time"] for row in downtimes}
    lengths = [
        row["value"] - row["time"]
        for row in rows
        if row["signal"] == f"gap.{OWN}.to" and row["time"] in times
    ]
    assert all(100.0 <= length / 1e9 < 115.0 for length in lengths)


async def test_a_checkpoint_of_the_first_version_is_read(tmp_path: Path) -> None:
    clock = FakeClock()
    async with journal_of("sqlite", tmp_path, clock) as journal:
        before = clock.now()
        await journal.append(OWN, Delivery((), 0, checkpoint=str(before).encode()), NOTHING)
        await facts_of(journal, clock).started()
        (gap,) = await journal.gaps()
    assert (gap.gap.begins, gap.gap.reason) == (before, "collector_down")


async def test_condition_and_skew_once_a_minute(tmp_path: Path) -> None:
    clock = FakeClock()
    async with journal_of("sqlite", tmp_path, clock) as journal:
        facts = facts_of(journal, clock)
        edges = Edges("plc", facts)
        facts.watch("plc", edges.seen.skew)
        watching = Watching(
            lambda batches, _identity: NOTHING._replace(batches=batches),
            edges.seen,
            lambda: journal.registry.version,
        )
        point = journal.registry.intern(Point("m1", "load", Kind.NUMBER))
        received = clock.now()
        behind = [received - 2_000_000_000] * 5 + [received - 9_000_000_000]
        fresh = batch_of(Kind.NUMBER, [point] * 6, behind, [1.0] * 6, received=received)
        old = batch_of(
            Kind.NUMBER, [point] * 90, BEGAN - 10**15, [1.0] * 90, received=received, flags=Flag.HISTORICAL
        )
        guessed = batch_of(
            Kind.NUMBER, [point] * 90, received, [1.0] * 90, received=received, flags=Flag.TIME_SUBSTITUTED
        )
        watching([fresh, *[old, guessed] * 10], Identity())
        await live(facts, clock, 59)
        assert not await told(journal)
        await live(facts, clock, 200)
        rows = await told(journal)
    by_signal = Counter(row["signal"] for row in rows)
    assert by_signal == {"buffer_bytes": 3, "pending.sink": 3, "skew.plc": 1}
    assert [row["value"] for row in rows if row["signal"] == "skew.plc"] == [2.0]
    assert next(row["unit"] for row in rows if row["signal"] == "skew.plc") == "s"
    assert all(row["value"] > 0 for row in rows if row["signal"] == "buffer_bytes")


@pytest.mark.parametrize(
    ("old", "new", "line"), [("id: cnc-1", "id: collector", 6), ("broker", "collector", 4)]
)
def test_the_name_of_the_collectors_own_machine_and_account_is_refused(
    tmp_path: Path, old: str, new: str, line: int
) -> None:
    from config.load import load
    from tests.config.samples import GOOD

    file = tmp_path / "collector.yaml"
    file.write_text(GOOD.replace(old, new), encoding="utf-8")
    result = load([file], env={"TOKEN": "t"})
    assert result.settings is None
    assert [(p.line, p.hint) for p in result.errors if "belongs to" in p.message] == [
        (line, f"give the {'machine' if 'id' in old else 'source'} another {'id' if 'id' in old else 'name'}")
    ]


@pytest.fixture
def influx(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "influx").mkdir()
    yield from started(influxd(tmp_path / "influx"))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    (tmp_path / "broker").mkdir()
    mosquitto = Mosquitto(tmp_path / "broker")
    asyncio.run(mosquitto.start())
    yield mosquitto
    asyncio.run(mosquitto.stop())


def gaps_in(path: Path) -> list[tuple[Any, ...]]:
    """As recorded, read with plain SQL: source, reason, begins, ends, count."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as books:
        return books.execute(
            "SELECT source, reason, begins, ends, count FROM gaps ORDER BY number"
        ).fetchall()


@pytest.mark.timeout(600)
def test_in_a_real_influxdb_exactly_once_through_kills(
    tmp_path: Path, broker: Mosquitto, influx: Server
) -> None:
    config = tmp_path / "collector.yaml"
    reading = {"source": "lab", "topic": "{machine}/{signal}", "payload": "number", "adopt": True}
    settings = {
        "version": 1,
        "page": "off",
        "sources": {"lab": {"type": "mqtt", "url": f"mqtt://127.0.0.1:{broker.port}"}},
        "machines": [{"id": "m1", "read": [reading]}],
        "sinks": [dict(v1(influx.url))],
    }
    config.write_text(json.dumps(settings))
    ask_influx(influx.url, "shop", "CREATE DATABASE shop", method="POST")
    lives = 5
    with collector(config) as running:
        running.wait_connected("lab", "influx")
        for _ in range(lives - 1):
            running.kill()
            running.start()
            running.wait_connected("lab", "influx")

        def copied() -> list[dict[str, Any]] | None:
            rows = ask_influx(influx.url, "shop", "SELECT * FROM collector_gap")
            known = len(gaps_in(running.state / "buffer.sqlite"))
            return rows if len(rows) >= max(known, lives - 1) else None

        rows = eventually(copied, f"{lives - 1} gaps in the database; {running.log()[-2000:]}")
        running.stop()
        recorded = gaps_in(running.state / "buffer.sqlite")
    rows = ask_influx(influx.url, "shop", "SELECT * FROM collector_gap")
    assert len(recorded) >= lives - 1
    stored = [(row["source"], row["reason"], row["from"], row["to"], row.get("count")) for row in rows]
    assert sorted(stored) == sorted(recorded)
    assert all(row["time"] == row["from"] for row in rows)
    assert {row["machine"] for row in rows} == {OWN}
    assert_exported(config, recorded)


def assert_exported(config: Path, recorded: list[tuple[Any, ...]]) -> None:
    """The history says the same: `collector export --machine collector`."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "collector",
        "export",
        str(config),
        "--machine",
        OWN,
        "--signal",
        "gap.*",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, env=ENVIRONMENT, timeout=PATIENCE, check=True
    )
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    begun = Counter(int(row["value"]) for row in rows if row["signal"].endswith(".from"))
    assert begun == Counter(begins for _, _, begins, _, _ in recorded)
    reasons = Counter(row["value"] for row in rows if row["signal"].endswith(".reason"))
    assert reasons == Counter(reason for _, reason, _, _, _ in recorded)


async def test_what_a_source_lost_by_its_return_is_said_in_numbers(tmp_path: Path) -> None:
    """Of this source only, and only what was recorded about its return."""
    clock = FakeClock()
    async with journal_of("sqlite", tmp_path, clock) as journal:
        facts = facts_of(journal, clock)
        await facts.started()
        await tell(journal, Gap(BEGAN, BEGAN + 1, "connection_lost", count=40))
        await live(facts, clock, 1)

        async def asked(*gaps: Gap) -> str:
            async with asyncio.TaskGroup() as tasks:
                asking = tasks.create_task(facts.missing("plc"))
                while not clock.sleeping:
                    await asyncio.sleep(0.001)
                await tell(journal, *gaps)
                await tell(journal, Gap(BEGAN, BEGAN + 9, "connection_lost", count=70), source="other")
                clock.advance(2.0)
            await live(facts, clock, 1)
            return asking.result()

        assert await asked() == ""
        assert await asked(Gap(BEGAN, BEGAN + 2, "connection_lost", count=3)) == "3 values missing"
        unknown = Gap(BEGAN, BEGAN + 3, "connection_lost")
        assert await asked(Gap(BEGAN, BEGAN + 4, "overflow", count=3), unknown) == "3 values missing or more"
        assert "gap record" in await asked(unknown)


async def test_what_a_database_lost_is_a_gap_record_once(tmp_path: Path) -> None:
    """I13: found by a sink, stored within a second, as a record and as points; told once."""
    clock = FakeClock()
    found = [Gap(BEGAN, BEGAN + 7, "sink_lost", "influxdb: 2 writes are not in it")]
    async with journal_of("sqlite", tmp_path, clock) as journal:
        refine = refinery(journal.registry, Treatments())
        facts = Facts(journal, clock, refine, losses=lambda: [found.pop()] if found else [])
        await facts.started()
        await live(facts, clock, 4)
        gaps = [one for one in await journal.gaps() if one.gap.reason == "sink_lost"]
        rows = {row["signal"]: row["value"] for row in await told(journal) if row["time"] == BEGAN}
    assert [(one.source, one.gap.begins, one.gap.ends) for one in gaps] == [(OWN, BEGAN, BEGAN + 7)]
    assert rows["gap.collector.reason"] == "sink_lost"
    assert rows["gap.collector.detail"].startswith("influxdb: 2 writes")


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_what_was_lost_in_the_last_second_is_told_before_the_end(kind: str, tmp_path: Path) -> None:
    """However many gaps there are; and once, also if the next life looks again."""
    clock = FakeClock()
    async with journal_of(kind, tmp_path, clock) as journal:
        facts = facts_of(journal, clock)
        await facts.ended()
        assert await told(journal) == [], "it has not begun, and says nothing"
        await facts.started()
        gaps = [Gap(BEGAN + 10 * n, BEGAN + 10 * n + 5, "connection_lost") for n in range(AT_ONCE + 1)]
        await tell(journal, *gaps)
        await facts.ended()
        begins = [row["value"] for row in await told(journal) if row["signal"] == "gap.plc.from"]
        assert begins == [gap.begins for gap in gaps]
        again = facts_of(journal, clock)
        await again.started()
        await live(again, clock, 2)
        assert [row["value"] for row in await told(journal) if row["signal"] == "gap.plc.from"] == begins


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_what_can_be_seen_only_once_is_told_although_the_end_comes_in_the_middle(
    kind: str, tmp_path: Path
) -> None:
    """A clock that was set, and what a database has lost: the collector is stopped while it waits for its turn to store them."""
    clock = FakeClock()
    found = [Gap(BEGAN, BEGAN + 7, "sink_lost", "influxdb: 2 writes are not in it")]
    async with journal_of(kind, tmp_path, clock) as journal:
        refine = refinery(journal.registry, Treatments())
        facts = Facts(journal, clock, refine, losses=lambda: [found.pop()] if found else [])
        await facts.started()
        clock.advance(0, wall=3600.0)
        async with asyncio.TaskGroup() as tasks, journal.turn(OWN):
            alive = tasks.create_task(facts.alive())
            while found:
                await asyncio.sleep(0)
            alive.cancel()
        await facts.ended()
        assert [one.gap.reason for one in await journal.gaps()] == ["clock_jump", "sink_lost"]
        reasons = [row["value"] for row in await told(journal) if row["signal"] == "gap.collector.reason"]
    assert sorted(reasons) == ["clock_jump", "sink_lost"]


async def test_what_was_stored_in_the_moment_of_the_end_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end comes when it is on the disk and who told it has not heard of that yet."""
    clock = FakeClock()
    async with journal_of("sqlite", tmp_path, clock) as journal:
        facts = facts_of(journal, clock)
        await facts.started()
        clock.advance(0, wall=3600.0)
        append, stored = journal.append, asyncio.Event()

        async def unheard(*arguments: Any, **options: Any) -> Position:
            position = await append(*arguments, **options)
            stored.set()
            await asyncio.Event().wait()
            return position

        with monkeypatch.context() as patched:
            patched.setattr(journal, "append", unheard)
            async with asyncio.TaskGroup() as tasks:
                alive = tasks.create_task(facts.alive())
                await stored.wait()
                alive.cancel()
        await facts.ended()
        assert [one.gap.reason for one in await journal.gaps()] == ["clock_jump"]


async def test_a_source_that_is_lost_as_the_collector_ends_leaves_no_value_standing(tmp_path: Path) -> None:
    """Its supervisor is ended while it tells the loss, and then the loss is told by whoever ends it."""
    clock = FakeClock()
    async with journal_of("sqlite", tmp_path, clock) as journal:
        facts = facts_of(journal, clock)
        await facts.started()
        edges = Edges("plc", facts)
        point = journal.registry.intern(Point("m1", "load", Kind.NUMBER))
        edges.seen.note(np.array([point], np.int32), journal.registry.version)
        async with asyncio.TaskGroup() as tasks, journal.turn(OWN):
            telling = tasks.create_task(facts.lost("plc", edges.seen))
            await asyncio.sleep(0)
            telling.cancel()
        await edges(False)
        assert [row["value"] for row in await told(journal) if row["machine"] == "m1"] == [None]
        again = facts_of(journal, clock)
        await again.started()
        assert again.silenced("plc")


async def test_who_tells_beside_the_account_of_the_gaps_moves_it_not_back(tmp_path: Path) -> None:
    """A source is lost while gaps become points: how far that came stays known, also in the next life."""
    clock = FakeClock()
    async with journal_of("sqlite", tmp_path, clock) as journal:
        facts = facts_of(journal, clock)
        await facts.started()
        await tell(journal, Gap(BEGAN, BEGAN + 5, "connection_lost"))
        edges = Edges("plc", facts)
        edges.seen.note(np.array([0], np.int32), journal.registry.version)
        async with asyncio.TaskGroup() as tasks, journal.turn(OWN):
            tasks.create_task(facts.ended())
            async with asyncio.timeout(60):
                while not journal.turn(OWN)._waiters:  # so that they come in this order
                    await asyncio.sleep(0)
            tasks.create_task(facts.lost("plc", edges.seen))
            await asyncio.sleep(0)
        mark = Mark.of(journal.checkpoint(OWN))
    assert (mark.gap, mark.silenced) == (1, frozenset({"plc"}))
