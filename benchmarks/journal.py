"""The journal alone, without network: appends of 1,000 values, beside one row per value in SQLite with the same promise.

A flush per append, without the window that would share one between several: the dear case. CPU time of all threads, and bytes: what a value costs on the disk and what is written for it. One process; the disk is the
one that the temporary folder lies on, which is said nowhere in the figures: compare rows of one run only.
"""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

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
