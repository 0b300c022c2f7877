"""The journal alone, without network: appends of 1,000 values, beside one row per value in SQLite with the same promise.

A flush per append, without the window that would share one between several: the dear case. CPU time of all threads, and bytes: what a value costs on the disk and what is written for it. One process; the disk is the
one that the temporary folder lies on, which is said nowhere in the figures: compare rows of one run only.

`python -m benchmarks.journal [gib]` measures the figures of the buffer instead, one line each: bytes kept and bytes written
per value and flushes per second at 1,000 values/s in the default window (written: what the kernel was told to write for
this process, /proc/self/io), catching up against the live rate, and how long after the start of a process, with all
libraries, the first slice of a backlog of so many GiB (1) is handed out.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import numpy as np

from adapters.base import Delivery
from adapters.clock import SystemClock
from benchmarks.row import Row, Wish
from collector.journal.sqlite import SqliteJournal, open_journal
from pipelines.batch import Batch, Kind, Point, batch_of
from pipelines.identity import Learned
from pipelines.stage import Refined

SIZE = 1000
START = 1_700_000_000_000_000_000


def journal(wish: Wish) -> Iterator[Row]:
    """`wish.seconds` of 100,000 values per second, as fast as they are taken."""
    batches = max(20, int(wish.seconds * 100))
    with tempfile.TemporaryDirectory(prefix="journal-bench-") as folder:
        yield asyncio.run(_ours(Path(folder), batches, wish.seed))
        if wish.baseline:
            yield _rows(Path(folder), min(batches, 300), wish.seed)


async def _ours(folder: Path, batches: int, seed: int) -> Row:
    async with open_journal(
        folder / "journal.db", followers=["sink"], clock=SystemClock(), window=0.0, min_free=0
    ) as opened:
        sent = list(_made(opened, batches, seed))
        begin, cpu = time.perf_counter(), time.process_time()
        for batch in sent:
            await opened.append("bench", Delivery([batch], SIZE), Refined([batch], (), {}, {}, Learned()))
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
        held = (await opened.ledger()).sources["bench"].journaled
    return _row("journal, 1,000 values each", batches * SIZE, held, seconds, cpu, baseline=False)


def _made(opened: SqliteJournal, batches: int, seed: int) -> Iterator[Batch]:
    """A hundred signals that walk, two decimals, every 10 ms: what machines send."""
    dice = np.random.default_rng(seed)
    ids = [opened.registry.intern(Point("m1", f"signal-{n}", Kind.NUMBER)) for n in range(100)]
    points = np.tile(np.asarray(ids, np.int32), SIZE // 100)
    for n in range(batches):
        steps = dice.normal(0, 0.3, (SIZE // 100, 100)).cumsum(axis=0)
        at = START + n * 100_000_000 + np.repeat(np.arange(SIZE // 100), 100) * 10_000_000
        yield batch_of(
            Kind.NUMBER, points, at, np.round(50 + steps.ravel(), 2), received=START + n * 100_000_000
        )


def _rows(folder: Path, batches: int, seed: int) -> Row:
    """The obvious way: a table with a row per value, one transaction per 1,000, `synchronous=FULL`."""
    dice = np.random.default_rng(seed)
    with closing(sqlite3.connect(folder / "rows.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE samples (point INTEGER, at INTEGER, value REAL, quality INTEGER)")
        made = [
            [
                (row % 100, START + n * SIZE + row, round(float(v), 2), 0)
                for row, v in enumerate(dice.normal(50, 1, SIZE))
            ]
            for n in range(batches)
        ]
        begin, cpu = time.perf_counter(), time.process_time()
        for rows in made:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO samples VALUES (?, ?, ?, ?)", rows)
            connection.execute("COMMIT")
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
        held = int(connection.execute("SELECT count(*) FROM samples").fetchone()[0])
    return _row("journal row inserts", batches * SIZE, held, seconds, cpu, baseline=True)


def _row(name: str, sent: int, held: int, seconds: float, cpu: float, *, baseline: bool) -> Row:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Row(
        name=name,
        values_per_s=round(sent / seconds, 1),
        cpu_us_per_value=round(cpu / sent * 1e6, 3),
        rss_mb=round(peak, 1),
        lost=sent - held,
        baseline=baseline,
        emitted=sent,
    )


LIVE: Final = 1_000.0
"""Values per second of a line as most are: ten appends of a hundred values."""

CHILD: Final = """
import asyncio, sys, time
import asyncua, influxdb_client, paho.mqtt.client, pyarrow.parquet
import collector.run
from adapters.clock import SystemClock
from collector.journal.sqlite import open_journal

async def main():
    async with open_journal(sys.argv[1], followers=["sink"], clock=SystemClock(), max_bytes=1 << 40) as journal:
        one = await anext(journal.follow("sink"))
        await journal.commit("sink", one.position)
        print(time.time(), one.position, sum(map(len, one.batches)), flush=True)

asyncio.run(main())
"""


def figures(gib: float) -> Iterator[str]:
    yield f"load average {os.getloadavg()[0]:.1f}"
    with tempfile.TemporaryDirectory(prefix="journal-bench-") as folder:
        yield asyncio.run(_live(Path(folder) / "live.db", 30.0))
        yield from _ready(Path(folder) / "backlog.db", int(gib * 2**30))


async def _live(path: Path, seconds: float) -> str:
    """A line at work, with a sink that stores at once."""
    async with open_journal(path, followers=["sink"], clock=SystemClock(), min_free=0) as opened:
        made = [batch.take(np.arange(100)) for batch in _made(opened, int(seconds * 10), 1)]
        seen, flushes = list[int](), _counted_flushes(opened)
        async with asyncio.TaskGroup() as tasks:
            sink = tasks.create_task(_sink(opened, seen))
            before, begin = _written(), time.monotonic()
            async with asyncio.TaskGroup() as sources:
                for n, batch in enumerate(made, 1):
                    sources.create_task(_append(opened, f"bench-{n % 10}", batch))
                    await asyncio.sleep(max(0.0, begin + n * 100 / LIVE - time.monotonic()))
            values, took = len(made) * 100, time.monotonic() - begin
            written, commits = _written() - before, len(flushes)
            sink.cancel()
    kept = _size(path)
    return (
        f"live: {values / took:,.0f} values/s, {written / values:.1f} bytes written and {kept / values:.1f} kept per value"
        f" (nothing deleted yet: {values:,} values), {commits / took:.1f} transactions/s, {len(seen) / took:.1f} slices/s"
    )


async def _append(opened: SqliteJournal, source: str, batch: Batch) -> None:
    await opened.append(source, Delivery([batch], len(batch)), Refined([batch], (), {}, {}, Learned()))


def _counted_flushes(opened: SqliteJournal) -> list[str]:
    """One entry per transaction from now on, which is one flush each."""
    told: list[str] = []
    opened._store.connection.set_trace_callback(lambda said: told.append(said) if said == "COMMIT" else None)
    return told


async def _sink(opened: SqliteJournal, seen: list[int]) -> None:
    async for one in opened.follow("sink"):
        seen.append(one.position)
        await opened.commit("sink", one.position)


def _size(path: Path) -> int:
    return path.stat().st_size


def _written() -> int:
    lines = Path("/proc/self/io").read_text("ascii").splitlines()
    return int(next(line for line in lines if line.startswith("write_bytes")).split()[1])


def _ready(path: Path, size: int) -> Iterator[str]:
    fill, held = asyncio.run(_filled(path, size))
    yield f"backlog: {path.stat().st_size / 2**30:.2f} GiB, {held:,} values, {path.stat().st_size / held:.1f} bytes per value (noise), taken in at {fill:,.0f} values/s"
    begin = time.time()
    said = subprocess.run(
        [sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True, check=True
    )
    at, position, values = said.stdout.split()
    yield f"ready: {float(at) - begin:.2f} s from process start to {values} values stored (position {position})"
    yield asyncio.run(_caught_up(path))


async def _filled(path: Path, size: int) -> tuple[float, int]:
    """Walks, as `_made` says, in appends of 100,000, with noise enough that the codec cannot make them small."""
    dice, held, begin = np.random.default_rng(1), 0, time.perf_counter()
    async with open_journal(
        path, followers=["sink"], clock=SystemClock(), max_bytes=1 << 40, min_free=0
    ) as opened:
        ids = [opened.registry.intern(Point("m1", f"signal-{n}", Kind.NUMBER)) for n in range(100)]
        points = np.tile(np.asarray(ids, np.int32), 1000)
        while (await opened.ledger()).size < size:
            at = START + held * 1_000_000 + np.repeat(np.arange(1000), 100) * 100_000_000
            batch = batch_of(Kind.NUMBER, points, at, dice.random(100_000), received=START + held * 1_000_000)
            await opened.append("bench", Delivery([batch], 100_000), Refined([batch], (), {}, {}, Learned()))
            held += 100_000
    return held / (time.perf_counter() - begin), held


async def _caught_up(path: Path) -> str:
    """The backlog read in order for ten seconds, every slice committed."""
    async with open_journal(
        path, followers=["sink"], clock=SystemClock(), max_bytes=1 << 40, min_free=0
    ) as opened:
        values, at, begin = 0, 0, time.monotonic()
        async for one in opened.follow("sink"):
            assert one.position > at
            values, at = values + sum(map(len, one.batches)), one.position
            await opened.commit("sink", at)
            if time.monotonic() - begin > 10.0 or at == opened.tail.position:
                break
        took = time.monotonic() - begin
    return (
        f"catch-up: {values / took:,.0f} values/s in order, {values / took / LIVE:,.0f} times the live rate"
    )


if __name__ == "__main__":
    for line in figures(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0):
        print(line, flush=True)
