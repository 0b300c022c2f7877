"""A database made anew gets back everything that history and buffer hold: judged by reading it over HTTP before and after."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.base import Bench, Delivery, Entry, Finding, Write
from adapters.errors import NotConnected
from adapters.history.replay import Span
from adapters.history.settings import HistorySettings
from collector.journal import housekeeping
from collector.journal.reader import JournalReader
from collector.journal.sqlite import open_journal
from collector.rewind import Held, Rewound
from collector.rewind import rewind as rewound
from pipelines.batch import Batch, Kind, Point, batch_of
from pipelines.refinery import refinery
from pipelines.stage import Treatments
from tests.collector.instant import InstantClock
from tests.fakes import FakeClock
from tests.fakes import eventually as eventually_true
from tests.influxdb.peers import Server
from tests.line.conftest import Extra, v1
from tests.line.databases import influx as ask_influx
from tests.line.harness import ENVIRONMENT, PATIENCE, Collector, collector, eventually, simulation
from tests.mqtt.peers import Mosquitto

MEASUREMENTS = ("quality", "collector_gap", "collector_canary")


def rows(url: str) -> set[tuple[Any, ...]]:
    """Every value in the database, with everything that is said of it; the collector's own counts go on changing and stay out."""
    found = ask_influx(url, "shop", "SELECT * FROM /.*/")
    return {
        tuple(sorted((key, value) for key, value in row.items() if value is not None))
        for row in found
        if row["measurement"] not in MEASUREMENTS and row.get("machine") != "collector"
    }


def rewind(running: Collector, *arguments: str, sink: str = "influx") -> tuple[int, dict[str, Any]]:
    command = [
        sys.executable,
        "-P",
        "-m",
        "collector",
        "rewind",
        sink,
        "--config",
        *map(str, running.config),
    ]
    done = subprocess.run(
        [*command, "--json", *arguments],
        stdin=subprocess.DEVNULL,  # nobody who could be asked, also where the tests are run from a terminal
        capture_output=True,
        env=ENVIRONMENT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else {"words": done.stderr}


@pytest.mark.parametrize("running_meanwhile", [True, False])
def test_a_database_made_anew_gets_everything_back(
    tmp_path: Path, mosquitto: Mosquitto, influx: Server, extra: Extra, running_meanwhile: bool
) -> None:
    """I12: dropped, made again and rewound: what was there is there, value by value. (That it comes from the history when the
    buffer has let go of it is shown below, where the buffer lets go at once.)
    """
    options = ["--speed", "20", "--broker", f"mqtt://127.0.0.1:{mosquitto.port}"]
    with simulation(tmp_path, "energy", "compressor", *options) as machines:
        more = extra(v1(influx.url), history={"seal_values": 300, "seal_every": "1h"})
        with collector(machines.config, more) as running:
            running.wait_connected("influx", "broker")
            machines.go()
            eventually(lambda: machines.emitted() > 1500, "there is something to lose")
            machines.stop_changes()
            running.wait_stored(machines.truth())
            books = running.wait_passed("influx")
            before = rows(influx.url)
            if not running_meanwhile:
                running.stop()
            ask_influx(influx.url, "shop", 'DROP DATABASE "shop"', method="POST")
            ask_influx(influx.url, "shop", 'CREATE DATABASE "shop"', method="POST")
            assert rows(influx.url) == set()
            code, told = rewind(running, "--yes")
            after = rows(influx.url)
            again, _ = rewind(running, "--yes")
            assert rows(influx.url) == after
    assert books["unaccounted"] == 0
    assert len(before) > 150
    assert before <= after, sorted(before - after)[:5]
    assert (code, again, told["refused"]) == (0, 0, 0), told


def test_asks_before_it_writes(tmp_path: Path, mosquitto: Mosquitto, influx: Server, extra: Extra) -> None:
    """I12: without a terminal nobody can agree; where nothing was ever stored it says so; other sinks are named."""
    with simulation(tmp_path, "compressor", "--broker", f"mqtt://127.0.0.1:{mosquitto.port}") as machines:
        running = Collector(machines.config, extra(v1(influx.url)))
        code, told = rewind(running, "--yes")
        assert code == 69, told
        with collector(*running.config) as running:
            running.wait_connected("influx")
            code, told = rewind(running)
        assert (code, "--yes" in told["words"]) == (1, True)
        code, told = rewind(running, sink="other")
        assert (code, "Its sinks: influx" in told["words"]) == (2, True)


class Store:
    """A sink that keeps keys and values; `loses`: writes at which the connection is lost after half of them."""

    name = "store"

    def __init__(self, loses: Sequence[int] = ()) -> None:
        self.held: dict[tuple[int, int], Any] = {}
        self.writes, self._loses, self.largest = 0, loses, 0

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Write]:
        yield self._write

    async def _write(self, batches: Sequence[Batch]) -> None:
        self.writes += 1
        self.largest = max(self.largest, sum(map(len, batches)))
        lost = self.writes in self._loses
        for batch in batches:
            rows = zip(batch.points.tolist(), batch.at.tolist(), batch.values.tolist(), strict=True)
            self.held |= {(point, at): value for point, at, value in list(rows)[:: 2 if lost else 1]}
        if lost:
            raise NotConnected("lost")

    async def probe(self) -> Sequence[Finding]:
        return ()


@pytest.fixture(autouse=True)
def retired_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What everybody has leaves the buffer at once, not after hundreds of rows: the history must be asked."""
    monkeypatch.setattr(housekeeping, "RETIRE_ROWS", 1)


T0 = 1_700_000_000_000_000_000


@asynccontextmanager
async def sealing(folder: Path, appends: int, sealed: int) -> AsyncIterator[tuple[JournalReader, Any, Truth]]:
    """So many appends of 50 numbers and a text; the first `sealed` of them are in the history and no longer in the buffer."""
    journal_file, truth = folder / "buffer.sqlite", Truth()
    async with open_journal(journal_file, followers=["history"], clock=FakeClock(), window=0.0) as journal:
        archive = HistorySettings(seal_every="1s").build(Bench(journal.registry, FakeClock(), str(folder)))
        number = journal.registry.intern(Point("m", "x", Kind.NUMBER, "mm", {"area": "hall"}))
        text = journal.registry.intern(Point("m", "t", Kind.TEXT))

        async def seal(first: int, last: int) -> None:
            entries = [Entry(n, batch) for n in range(first, last + 1) for batch in truth.batches[n]]
            await archive.seal(first, last, entries)
            await journal.commit("history", last)

        for n in range(1, appends + 1):
            at = [T0 + n * 1000 + i for i in range(50)]
            batches = [batch_of(Kind.NUMBER, [number] * 50, at, [n + i / 64 for i in range(50)], received=at[0]),
                       batch_of(Kind.TEXT, [text], at[:1], [f"tëxt {n}"], received=at[0])]  # fmt: skip
            truth.add(n, batches)
            refined = refinery(journal.registry, Treatments())(batches, journal.identity("s"))
            await journal.append("s", Delivery(batches, 51), refined)
            if n <= sealed and n % 3 == 0:
                await seal(n - 2, n)
        with JournalReader(journal_file) as reader:
            await eventually_true(lambda: next(reader.entries()).position > sealed // 2)
            yield reader, seal, truth


class Truth:
    def __init__(self) -> None:
        self.batches: dict[int, Sequence[Batch]] = {}
        self.held: dict[tuple[int, int], Any] = {}

    def add(self, position: int, batches: Sequence[Batch]) -> None:
        self.batches[position] = batches
        for batch in batches:
            for point, at, value in zip(
                batch.points.tolist(), batch.at.tolist(), batch.values.tolist(), strict=True
            ):
                self.held[point, at] = value


@pytest.mark.parametrize("loses", [(), (1, 2, 5)])
async def test_exactly_what_is_held_under_its_own_keys(tmp_path: Path, loses: Sequence[int]) -> None:
    """I12: also when the database goes away in the middle, and when ranges are sealed while they are read."""
    async with sealing(tmp_path, 30, 15) as (reader, seal, truth):
        store = Store(loses)
        held = Held(reader, tmp_path / "history", Span(1, 30))
        told: list[int] = []

        def tell(done: Rewound) -> None:
            told.append(done.stored)

        done = await rewound(store, held, InstantClock(), tell)
        assert held.expected() == done.stored == len(truth.held)
        assert store.held == truth.held
        assert told == sorted(told)
        await seal(16, 18)
        later = Store()
        await rewound(later, Held(reader, tmp_path / "history", Span(1, 30)), InstantClock(), lambda _: None)
        assert later.held == truth.held


async def test_what_is_sealed_while_the_buffer_is_read_is_found_in_the_history(tmp_path: Path) -> None:
    """I12: entries that leave the buffer between two reads."""
    async with sealing(tmp_path, 30, 15) as (reader, seal, truth):
        writes = Held(reader, tmp_path / "history", Span(1, 30)).writes()
        found = list(next(writes))
        await seal(16, 27)  # the whole rest but one range
        for batches in writes:
            found += batches
        keys = {
            (p, at) for batch in found for p, at in zip(batch.points.tolist(), batch.at.tolist(), strict=True)
        }
    assert keys == set(truth.held)


async def test_a_span_of_time_and_a_damaged_file(tmp_path: Path) -> None:
    """I12: --from inclusive, --to exclusive, in both places; what cannot be read is left out and the rest comes."""
    async with sealing(tmp_path, 30, 15) as (reader, _, truth):
        store, begins, ends = Store(), T0 + 5_010, T0 + 20_010
        held = Held(reader, tmp_path / "history", Span(1, 30, begins, ends))
        await rewound(store, held, InstantClock(), lambda _: None)
        assert store.held == {key: value for key, value in truth.held.items() if begins <= key[1] < ends}
        (damaged, *_) = sorted((tmp_path / "history").rglob("*.parquet"))
        damaged.write_bytes(b"PAR1 and nothing else")
        rest = Store()
        await rewound(rest, Held(reader, tmp_path / "history", Span(1, 30)), InstantClock(), lambda _: None)
        assert rest.held == {key: value for key, value in truth.held.items() if key[1] >= T0 + 4_000}
