"""The SQLite journal against a list, through any history of appends, reads, commits, deletions, crashes, power cuts, errors
of the disk, jumps of the clock and reopenings.

It runs over the virtual file system of tests/journal/vfs.py. A crash is a copy of the files as they are at that moment (at
rest with appends waiting, or in the middle of a commit, before or after SQLite made it durable), opened in a new place; what
the old process would have done next is not known to it. A power cut leaves what tests/journal/platter.py makes of it: of what
was not flushed any part, in any order, torn. The model knows what was acknowledged; what was under way may be there or not,
but whole, and with its group.

Nothing here depends on how fast the threads are: time is the fake clock's, it moves only while the writer is idle, and by a
fixed amount. (It once moved in a loop until something was done; then the next append was inside or outside of the window by
luck, and what a rule may do depended on it.)
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import apsw
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from adapters.base import Delivery
from adapters.pressing import Pressing
from collector.journal import ballast, housekeeping, sqlite, writer
from collector.journal.base import JournalFailed, Ledger
from pipelines.batch import Batch
from pipelines.identity import Identity
from pipelines.stage import Reason, Refined
from tests.contracts.journal import START, following, next_range, numbers, refine, refusal
from tests.fakes import FakeClock
from tests.journal.platter import Image, Platter
from tests.journal.starting import memory
from tests.journal.test_power import laid_out
from tests.journal.test_power_faults import NoSpace, Once, io_error
from tests.journal.vfs import Disk, living, no_fault

# What SQLite swallows, apsw reports as an exception that nobody can catch; real disks swallow it, too.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
SOURCES = ("s0", "s1", "s2")
FOLLOWERS = ("sink", "archive")
FILES = ("", "-wal", ".mark")
ERRORS = {"flush": apsw.SQLITE_IOERR_FSYNC, "write": apsw.SQLITE_IOERR_WRITE}
CYCLES = 30
"""Turns of the event loop in which everything happens that needs no thread."""

EXAMPLES = int(os.environ.get("JOURNAL_EXAMPLES", "40"))

T = TypeVar("T")
Row = tuple[int, int, float]

samples = st.lists(st.tuples(st.integers(0, 5), st.sampled_from([1.0, 2.0, 3.5])), max_size=6)


def rows_of(batches: Any) -> list[Row]:
    return [
        (int(p), int(t), float(v))
        for batch in batches
        for p, t, v in zip(batch.points, batch.at, batch.values, strict=True)
    ]


@dataclass
class Pending:
    """An append under way, and what it will have added to the model if it becomes durable."""

    source: str
    delivery: Delivery
    refined: Refined
    task: asyncio.Task[int]


class Spy:
    """A connection that takes a copy of the files right before or right after the next commit."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.before: Callable[[], None] | None = None
        self.after: Callable[[], None] | None = None

    def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
        if statement != "COMMIT":
            return self._connection.execute(statement, *arguments)
        if self.before is not None:
            self.before()
        cursor = self._connection.execute(statement)
        if self.after is not None:
            self.after()
        self.before = self.after = None
        return cursor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class JournalMachine(RuleBasedStateMachine):
    """entries: per position (source, rows), as acknowledged. cursors: as committed. ground: what the last power cut left."""

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="journal-machine-", dir=memory()))
        self.images = 0
        self.path = self.folder / "0" / "journal.db"
        self.path.parent.mkdir()
        self.disk = Disk()
        self.ground: tuple[Image, dict[str, int]] = ({}, {})
        self.entries: list[tuple[str, list[Row]]] = []
        self.folds: dict[str, Identity] = defaultdict(Identity)
        self.books: dict[str, Counter[str]] = defaultdict(Counter)
        self.cursors = dict.fromkeys(FOLLOWERS, 0)
        self.stored, self.quarantined = Counter[str](), Counter[str]()
        self.planned: tuple[int, int] | None = None
        self.pending: list[Pending] = []
        self.idle = False
        self.small = [
            patch.object(ballast, "SIZE", 8192),
            patch.object(ballast, "DELETE", 4096),
            patch.object(housekeeping, "RETIRE_ROWS", 2),
            patch.object(housekeeping, "CHUNK", 4),
            patch.object(housekeeping, "SNAPSHOT_APPENDS", 3),
            patch.object(housekeeping, "CHECKPOINT", 60_000),
            patch.object(writer, "LARGE", 50),
            patch.object(writer.Writer, "_reason", self.reason(writer.Writer._reason)),
        ]
        for one in self.small:
            one.start()
        self.open()

    def reason(self, original: Callable[[Any], Coroutine[Any, Any, None]]) -> Any:
        async def reason(journal_writer: Any) -> None:
            self.idle = True
            await original(journal_writer)
            self.idle = False

        return reason

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.close()
            self.runner.close()
            for one in self.small:
                one.stop()
            shutil.rmtree(self.folder)

    def run(self, job: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(job)

    def open(self) -> None:
        self.clock = FakeClock()
        self.stop, opened = asyncio.Event(), asyncio.Event()

        async def live() -> None:
            with living(self.disk) as self.alive:
                async with sqlite.open_journal(
                    self.path, followers=FOLLOWERS, clock=self.clock
                ) as self.journal:
                    opened.set()
                    await self.stop.wait()

        self.life = self.runner.get_loop().create_task(live())
        self.run(self.either(opened.wait()))
        self.settle()
        self.spy = Spy(self.journal._store.connection)
        self.journal._store.connection = self.spy  # type: ignore[assignment]  # a stand-in

    async def either(self, wanted: Coroutine[Any, Any, Any]) -> None:
        waiting = self.runner.get_loop().create_task(wanted)
        await asyncio.wait([waiting, self.life], return_when=asyncio.FIRST_COMPLETED)
        if self.life.done():
            waiting.cancel()
            self.life.result()

    def close(self) -> None:
        """An orderly end: what waits is committed."""

        async def leave() -> None:
            self.stop.set()
            await self.life

        self.run(leave())
        self.book()

    def settle(self) -> None:
        self.run(self.quiet())
        self.book()

    async def quiet(self) -> None:
        """Until the writer has nothing more to do, or has failed, before time goes on: rules must not race with the threads."""
        async with asyncio.timeout(120):
            while True:
                for _ in range(CYCLES):
                    await asyncio.sleep(0)
                work = self.journal._writer
                if work._failure is not None or (self.idle and not work._now()):
                    return
                await asyncio.sleep(0.0002)

    def book(self) -> None:
        done = [one for one in self.pending if one.task.done()]
        self.pending = [one for one in self.pending if not one.task.done()]
        for one in sorted(done, key=lambda one: one.task.result()):
            self.acknowledge(one)
            assert one.task.result() == len(self.entries)

    def acknowledge(self, one: Pending) -> None:
        if one.refined.batches:
            self.entries.append((one.source, rows_of(one.refined.batches)))
            self.folds[one.source].replay(one.refined.batches)
        books = self.books[one.source]
        books["decoded"] += one.delivery.decoded
        books["refused"] += sum(r.values for r in one.delivery.refused)
        books["filtered"] += one.refined.counts.get(Reason.DUPLICATE, 0)
        books["journaled"] += sum(len(batch) for batch in one.refined.batches)
        books["checkpoint"] = books["checkpoint"] + 1

    def start(self, source: str, cells: list[tuple[int, float]], refused: int, *, press: bool) -> Pending:
        batch: list[Batch] = []
        if cells:
            one = numbers(self.journal, [value for _, value in cells], machine=source)
            one.at[:] = [START + time for time, _ in cells]
            batch = [one]
        pressing = Pressing()
        if press:
            pressing.set()
        mark = b"%d" % (self.books[source]["checkpoint"] + 1)
        told = [refusal(refused)] if refused else []
        delivery = Delivery(batch, len(cells) + refused, told, checkpoint=mark, pressing=pressing)
        refined = refine(batch, self.journal.identity(source))

        async def go() -> int:
            return await self.journal.append(source, delivery, refined)

        pending = Pending(source, delivery, refined, self.runner.get_loop().create_task(go()))
        self.pending.append(pending)
        return pending

    def free(self, source: str) -> bool:
        return all(one.source != source for one in self.pending)

    @rule(source=st.sampled_from(SOURCES), cells=samples, refused=st.integers(0, 2))
    def append_now(self, source: str, cells: list[tuple[int, float]], refused: int) -> None:
        if self.free(source):
            pending = self.start(source, cells, refused, press=True)
            self.settle()
            assert pending.task.done()

    @rule(source=st.sampled_from(SOURCES), cells=samples)
    def append_within_the_window(self, source: str, cells: list[tuple[int, float]]) -> None:
        if self.free(source):
            self.start(source, cells, 0, press=False)
            self.settle()

    @rule()
    def the_window_passes(self) -> None:
        self.settle()
        self.clock.advance(0.3)
        self.settle()
        assert not self.pending

    @rule(seconds=st.sampled_from([3600.0, -3600.0, 3.2e8, -3.2e8]))
    def the_clock_jumps(self, seconds: float) -> None:
        self.clock.advance(0.0, wall=seconds)

    @precondition(lambda self: self.cursors["sink"] < len(self.entries))
    @rule(values=st.integers(1, 12), refused=st.integers(0, 3), commits=st.booleans())
    def follow(self, values: int, refused: int, *, commits: bool) -> None:
        slices = following(self.journal, "sink", values=values)

        async def one() -> Any:
            try:
                return await asyncio.wait_for(anext(slices), 120)
            finally:
                await slices.aclose()

        got = self.run(one())
        before = self.cursors["sink"]
        expected = [row for _, rows in self.entries[before : got.position] for row in rows]
        assert rows_of(got.batches) == expected
        if commits:
            refused = min(refused, len(expected))
            self.commit("sink", got.position, len(expected), refused)
        self.settle()

    def commit(self, follower: str, position: int, values: int, refused: int) -> None:
        told = [refusal(refused)] if refused else []
        task = self.runner.get_loop().create_task(self.journal.commit(follower, position, told))
        self.settle()
        if not task.done():
            self.clock.advance(0.3)
            self.settle()
        task.result()
        self.cursors[follower] = position
        self.stored[follower] += values - refused
        self.quarantined[follower] += refused

    @precondition(lambda self: self.cursors["archive"] < len(self.entries))
    @rule(values=st.integers(1, 12), commits=st.booleans())
    def seal(self, values: int, *, commits: bool) -> None:
        span = self.run(
            asyncio.wait_for(next_range(self.journal, "archive", values=values, seconds=0.0), 120)
        )
        before = self.cursors["archive"]
        assert span.first == before + 1
        if self.planned is not None:
            assert (span.first, span.last) == self.planned
        self.planned = (span.first, span.last)
        expected = [row for _, rows in self.entries[before : span.last] for row in rows]
        assert rows_of(entry.batch for entry in span.entries) == expected
        self.settle()
        if commits:
            self.commit("archive", span.last, len(expected), 0)
            self.planned = None

    @rule()
    def close_and_reopen(self) -> None:
        self.close()
        self.open()

    @rule()
    def crash(self) -> None:
        """At rest, with whatever waits for its window."""
        self.settle()
        under_way = list(self.pending)
        taken: list[Path] = []

        async def on_the_writers_thread() -> None:
            loop = asyncio.get_running_loop()
            taken.append(await loop.run_in_executor(self.journal._writer._thread, self.image))

        self.run(on_the_writers_thread())
        self.reborn(taken[0], under_way)

    @rule(
        source=st.sampled_from(SOURCES),
        cells=samples.filter(bool),
        moment=st.sampled_from(["before", "after"]),
    )
    def crash_in_a_commit(self, source: str, cells: list[tuple[int, float]], moment: str) -> None:
        if not self.free(source):
            return
        taken: list[Path] = []
        self.settle()
        setattr(self.spy, moment, lambda: taken.append(self.image()))
        self.start(source, cells, 1, press=True)
        under_way = list(self.pending)
        self.run(self.quiet())
        self.reborn(taken[0], under_way, whole=moment == "after")

    @rule(seed=st.integers(0, 10_000))
    def power_cut(self, seed: int) -> None:
        """At rest, with whatever waits for its window."""
        self.settle()
        self.cut(len(self.disk.ops), seed, list(self.pending), whole=False)

    @rule(
        source=st.sampled_from(SOURCES),
        cells=samples.filter(bool),
        part=st.integers(0, 100),
        seed=st.integers(0, 10_000),
    )
    def power_cut_in_a_commit(
        self, source: str, cells: list[tuple[int, float]], part: int, seed: int
    ) -> None:
        """Anywhere in a commit and in the tidying behind it."""
        if not self.free(source):
            return
        self.settle()
        before = len(self.disk.ops)
        self.start(source, cells, 1, press=True)
        under_way = list(self.pending)
        self.run(self.quiet())
        after = len(self.disk.ops)
        at = before + (after - before) * part // 100
        self.cut(at, seed, under_way, whole=True if at == after else None)

    def cut(self, at: int, seed: int, under_way: list[Pending], whole: bool | None) -> None:
        self.alive.kill()
        platter, dice = Platter.of(*self.ground), random.Random(seed)
        for op in self.disk.ops[:at]:
            platter.take(op)
        image = dice.choice(list(platter.images(dice, 3)))
        names = {name: number for number, name in enumerate(image, start=1_000_000)}
        self.ground, self.disk = (image, names), Disk(names=dict(names))
        self.images += 1
        self.reborn(laid_out(self.folder / str(self.images), image), under_way, whole=whole)

    @rule(
        source=st.sampled_from(SOURCES),
        cells=samples.filter(bool),
        nth=st.integers(1, 6),
        lasts=st.integers(1, 9),
    )
    def no_space(self, source: str, cells: list[tuple[int, float]], nth: int, lasts: int) -> None:
        """ENOSPC for some writes in a row: nobody fails, and it goes on by itself."""
        if not self.free(source):
            return
        self.settle()
        self.disk.fault = NoSpace(nth, lasts)
        self.start(source, cells, 0, press=True)
        self.settle()
        for _ in range(12):
            if self.pending:
                self.clock.advance(1.0)
                self.settle()
        self.disk.fault = no_fault
        assert not self.pending

    @rule(
        source=st.sampled_from(SOURCES),
        cells=samples.filter(bool),
        kind=st.sampled_from(sorted(ERRORS)),
        nth=st.integers(1, 6),
    )
    def io_error(self, source: str, cells: list[tuple[int, float]], kind: str, nth: int) -> None:
        """EIO once, in a commit or in the tidying behind it: fatal, and the next start decides what was durable."""
        if not self.free(source):
            return
        self.settle()
        self.disk.fault = Once(kind, nth, io_error(ERRORS[kind]))
        self.start(source, cells, 0, press=True)
        under_way = list(self.pending)
        self.run(self.quiet())
        self.disk.fault = no_fault
        if self.journal._writer._failure is None:
            self.book()
            return
        for one in [one for one in under_way if one.task.exception() is None]:
            self.pending.remove(one)
            under_way.remove(one)
            self.acknowledge(one)
        assert all(isinstance(one.task.exception(), JournalFailed) for one in under_way)
        self.reborn(self.image(), under_way)

    def image(self) -> Path:
        """What a kill leaves at this moment: all that was written, flushed or not."""
        self.alive.kill()
        self.images += 1
        place = self.folder / str(self.images)
        place.mkdir()
        for end in FILES:
            if Path(f"{self.path}{end}").exists():
                shutil.copy(f"{self.path}{end}", place / f"journal.db{end}")
        return place / "journal.db"

    def reborn(self, image: Path, under_way: list[Pending], *, whole: bool | None = None) -> None:
        """The old life ends without a word to the model; the new one decides what was durable."""
        self.pending = []
        self.close()
        shutil.rmtree(self.path.parent)
        self.path = image
        self.open()
        self.adopt(under_way, whole)

    def adopt(self, under_way: list[Pending], whole: bool | None) -> None:
        """What was under way is there or not, by the checkpoint that came with it; a group is there as a whole."""
        there = [one for one in under_way if self.journal.checkpoint(one.source) == one.delivery.checkpoint]
        ledger = self.run(self.journal.ledger())
        assert ledger.tail == len(self.entries) + sum(bool(one.refined.batches) for one in there)
        assert whole in (None, bool(there)) or not under_way
        assert there in ([], under_way), "a group came apart"
        for one in sorted(there, key=under_way.index):
            self.acknowledge(one)

    @invariant()
    def the_books_are_those_of_the_model(self) -> None:
        if not hasattr(self, "journal") or self.pending:
            return
        ledger: Ledger = self.run(self.journal.ledger())
        assert ledger.tail == len(self.entries)
        assert ledger.unaccounted == 0
        total = sum(len(rows) for _, rows in self.entries)
        for name, account in ledger.sinks.items():
            pending = sum(len(rows) for _, rows in self.entries[self.cursors[name] :])
            assert account.cursor == self.cursors[name]
            assert (account.journaled, account.pending) == (total, pending)
            assert (account.stored, account.quarantined) == (self.stored[name], self.quarantined[name])
        for name, books in self.books.items():
            if name in ledger.sources:
                told = ledger.sources[name]
                assert (told.decoded, told.journaled) == (books["decoded"], books["journaled"])
                assert (told.refused, sum(told.filtered.values())) == (books["refused"], books["filtered"])
            assert self.journal.identity(name) == self.folds[name]

    @invariant()
    def only_what_everybody_has_is_deleted(self) -> None:
        if hasattr(self, "journal") and not self.pending:
            held = self.run(self.journal._ask(_oldest))
            assert self.run(self.journal.gaps()) == []
            assert held is None or held <= min(self.cursors.values()) + 1
            points = [(p.machine, p.name) for p in self.journal.registry.since(0)]
            assert len(set(points)) == len(points)


def _oldest(connection: sqlite3.Connection) -> int | None:
    held: int | None = connection.execute("SELECT min(position) FROM entries").fetchone()[0]
    return held


TestJournalMachine = JournalMachine.TestCase
TestJournalMachine.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
