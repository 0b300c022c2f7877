"""One machine over OPC UA, and the whole line behind it: scripted server -> adapter -> refinement -> journal.

What the machine really did is what the server wrote down; what was stored is read back from the journal by a follower.
`Stored.verdict` is the four standing checks of every row: nothing missing that no gap record explains, nothing invented,
nothing altered, books balanced.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from adapters.base import Bench, Delivery
from adapters.clock import Clock, SystemClock
from adapters.opcua.settings import OpcUaRead, OpcUaSignal, OpcUaSource
from adapters.opcua.source import OpcUaReader
from adapters.settings import Reading
from collector.health import Health
from collector.journal.base import Ledger
from collector.journal.sqlite import SqliteJournal, open_journal
from collector.line import intake
from collector.supervisor import Job, Supervisor
from pipelines.batch import Flag
from pipelines.refinery import refinery
from pipelines.registry import Registry
from pipelines.stage import Gap, Refined, Treatments
from tests.contracts.rig import PATIENCE, eventually, leap
from tests.contracts.source import Taker
from tests.fakes import FakeClock
from tests.opcua import encoder as enc
from tests.opcua.encoder import DataValue, Scalar
from tests.opcua.scripted import URI, Ignore, ScriptedServer, Variable
from tests.opcua.scripted.record import plain
from tests.opcua.settling import settled

Result = TypeVar("Result")
REQUEST_TIMEOUT = 60.0
"""s; what shall be over it leaps there (`leap`)."""
LONG = os.environ.get("SHOPFLOOR_LONG") == "1"
START = 1_700_000_000_000_000_000


def value(number: float, tick: int = 0, status: int | None = None) -> DataValue:
    """A Double whose time is START plus `tick` times 100 ns."""
    return DataValue(Scalar(11, float(number)), status, enc.ticks(START + 100 * tick))


class Hurried(SystemClock):
    """A clock for who only waits between two attempts: the same order, and a fraction of the time."""

    def __init__(self, times: float = 25.0) -> None:
        super().__init__()
        self._times = times

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / self._times)


class Counted(SystemClock):
    """The computer's clock; slept: s that somebody has waited by it, however slow the computer is beyond that."""

    def __init__(self) -> None:
        super().__init__()
        self.slept = 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds
        await super().sleep(seconds)


class Cell(NamedTuple):
    """One stored row."""

    signal: str
    at: int
    value: Any
    quality: int
    flags: int


@dataclass
class Verdict:
    """missing: emitted, not stored, and no gap record says so. explained: missing, but told."""

    missing: list[tuple[str, int, Any]] = field(default_factory=list)
    spurious: list[Cell] = field(default_factory=list)
    altered: list[tuple[Any, Cell]] = field(default_factory=list)
    explained: int = 0
    unaccounted: int = 0

    @property
    def clean(self) -> bool:
        return not (self.missing or self.spurious or self.altered or self.unaccounted)


class Told(Protocol):
    """What a line reads, and what was emitted there: (value, status) by signal and time."""

    def source(self, registry: Registry) -> OpcUaReader: ...

    def emitted(self) -> Mapping[tuple[str, int], tuple[Any, int]]: ...


class Line:
    """The running line of one source. `rows` and `gaps` are what a follower of the journal has read so far."""

    def __init__(self, bed: Told, journal: SqliteJournal, clock: Clock) -> None:
        self.bed, self.journal, self.health = bed, journal, Health()
        self.rows: list[Cell] = []
        self.gaps: list[Gap] = []
        self.at_the_disk = 0  # how many wait for the journal
        self.gate = asyncio.Event()  # cleared: nothing is journaled (a full disk)
        self.gate.set()
        self._source = bed.source(journal.registry)
        self._supervisor = Supervisor(self.health, clock, random.Random(7))
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        job = Job(self._source.name, "source", self._live, self._source.machines)
        self._task = asyncio.get_running_loop().create_task(self._supervisor.keep(job))

    async def _live(self, connected: Any) -> None:
        refine = refinery(self.journal.registry, Treatments())
        journal: Any = _Gated(self)
        await intake(self._source, refine, journal, connected)

    async def stop(self) -> None:
        """Leave the server as a process that ends would, then read what is stored."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self.read()

    async def read(self) -> None:
        """Everything that is durable now, into `rows` and `gaps`."""
        with self.waiting_for_the_disk():
            await self._read()

    @contextmanager
    def waiting_for_the_disk(self) -> Iterator[None]:
        self.at_the_disk += 1
        try:
            yield
        finally:
            self.at_the_disk -= 1

    async def _read(self) -> None:
        tail = (await self.journal.ledger()).tail
        at = (await self.journal.ledger()).sinks["oracle"].cursor
        if at < tail:
            async with aclosing(self.journal.follow("oracle")) as slices:  # type: ignore[type-var]
                async for position, batches in slices:
                    self._note(batches)
                    await self.journal.commit("oracle", position)
                    if position >= tail:
                        break
        self.gaps = [stored.gap for stored in await self.journal.gaps()]

    def _note(self, batches: Sequence[Any]) -> None:
        registry = self.journal.registry
        for batch in batches:
            columns = (batch.points, batch.at, batch.values, batch.quality, batch.flags)
            for point, *cells in zip(*(column.tolist() for column in columns), strict=True):
                self.rows.append(Cell(registry[point].name, *cells))

    def values(self, signal: str) -> list[Any]:
        """In the order of the journal, rows without value left out."""
        return [row.value for row in self.rows if row.signal == signal and not row.flags & Flag.NO_VALUE]

    async def until(self, holds: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
        """Read on until it holds."""
        deadline = time.monotonic() + patience
        await self.read()
        while not holds():
            assert time.monotonic() < deadline, f"did not happen within {patience} s: {what}"
            await asyncio.sleep(0.01)
            await self.read()

    @property
    def state(self) -> str:
        return self.health["plc"].state.value

    @property
    def facts(self) -> dict[str, str]:
        return dict(self.health["plc"].facts)

    async def ledger(self) -> Ledger:
        return await self.journal.ledger()

    async def verdict(self) -> Verdict:
        """The four standing checks, over everything that the server emitted and what is stored now."""
        await self.read()
        made = Verdict(unaccounted=(await self.ledger()).unaccounted)
        emitted = self.bed.emitted()
        aside = Flag.NO_VALUE | Flag.HEARTBEAT  # what is read again is nothing that the machine did
        stored = {(row.signal, row.at): row for row in self.rows if not row.flags & aside}
        made.spurious = [row for key, row in stored.items() if key not in emitted]
        for key, expected in emitted.items():
            row = stored.get(key)
            if row is None:
                covered = any(gap.begins <= key[1] <= gap.ends for gap in self.gaps)
                made.explained += covered
                made.missing += [] if covered else [(*key, expected)]
            elif (row.value, row.quality & ~0x480) != expected:
                made.altered.append((expected, row))
        return made


class _Gated:
    """The journal, behind a gate that a test can shut."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._line.journal, name)

    async def append(self, source: str, delivery: Delivery, refined: Refined) -> int:
        await self._line.gate.wait()
        with self._line.waiting_for_the_disk():
            return await self._line.journal.append(source, delivery, refined)


class Bed:
    """A scripted server and how it is read: one machine `m` with signals named like the nodes.

    clock: of the adapter; `served`: of the server. Both are real unless a test hands in its own.
    """

    def __init__(self, folder: Path, clock: Clock | None = None, served: Clock | None = None) -> None:
        self.folder, self.clock = folder, clock or SystemClock()
        self.server = ScriptedServer(served)
        self.settings: dict[str, Any] = {
            "publishing_interval": "20ms",
            "request_timeout": f"{REQUEST_TIMEOUT:g}s",
        }
        self.signals: list[dict[str, Any]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._initial: list[tuple[str, DataValue]] = []
        self._count = 0

    async def ended(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def variable(self, name: str, variable: Variable | None = None, **signal: Any) -> None:
        if variable is not None:
            self.server.variables[name] = variable
            self._initial.append((name, variable.value))
        self.signals.append({"name": name, "node": f"nsu={URI};s={name}", "every": "10ms"} | signal)

    def variables(self, count: int) -> list[str]:
        """So many Doubles, v0 …"""
        names = [f"v{number}" for number in range(count)]
        for name in names:
            self.variable(name, Variable(value=value(0)))
        return names

    def emit(self, name: str = "a", count: int = 1) -> None:
        """The next `count` values of a node, each unique and 100 ns after the one before."""
        for _ in range(count):
            self._count += 1
            self.server.emit(name, value(self._count, self._count))

    def emitted(self) -> dict[tuple[str, int], tuple[Any, int]]:
        """(value, status) by node and time, initial values included."""
        every = [*self._initial, *self.server.record.emitted]
        return {
            (name, ns(told.source)): (plain(told), (told.status or 0) & ~0x480)
            for name, told in every
            if told.source is not None and plain(told) is not None
        }

    def source(self, registry: Registry, *, name: str = "plc", machine: str = "m") -> OpcUaReader:
        signals = [OpcUaSignal.model_validate(signal) for signal in self.signals]
        reading = Reading(machine=machine, tags={}, read=OpcUaRead(source="plc", signals=signals))
        wishes = {"type": "opcua", "url": self.server.url, "security": "none", **self.settings}
        bench = Bench(registry, self.clock, str(self.folder))
        return OpcUaReader(name, OpcUaSource.model_validate(wishes), (reading,), bench)

    def asked_again(self) -> list[int]:
        """The numbers of real messages that were asked for by Republish (a client may try the service with a made-up one)."""
        real = {told.sequence for told in self.server.record.told}
        return [number for _, number, _ in self.server.record.republished if number in real]

    async def begin(self, registry: Registry, resume: bytes | None = None, *, acking: bool = True) -> Taken:
        """The adapter alone, in a task of its own, connected."""
        taken = Taken(registry, acking=acking)
        taken.task = asyncio.get_running_loop().create_task(taken.run(self.source(registry), resume))
        self.tasks.append(taken.task)
        await eventually(lambda: taken.session is not None or taken.task.done(), "the session opens")
        assert taken.session is not None, taken.error
        return taken

    @asynccontextmanager
    async def line(self, clock: Clock | None = None) -> AsyncIterator[Line]:
        """The whole line at work; `clock` is that of the supervisor."""
        path = self.folder / "journal.sqlite"
        async with open_journal(path, followers=["oracle"], clock=SystemClock(), window=0.0) as journal:
            line = Line(self, journal, clock or Hurried())
            line.start()
            try:
                yield line
            finally:
                await line.stop()


def ns(ticks: int) -> int:
    """ns since 1970 of 100-ns ticks since 1601."""
    return (ticks - enc.EPOCH_SECONDS * 10_000_000) * 100


class Taken(Taker):
    """A taker in a task of its own."""

    task: asyncio.Task[None]

    def values(self, signal: str = "a") -> list[Any]:
        return [row.value for row in self.rows if row.signal == signal and not row.flags & Flag.NO_VALUE]


async def passing(clock: FakeClock, holds: Callable[[], bool], limit: float, step: float = 0.1) -> float:
    """Let fake time pass in steps until it holds; how much did. Fails beyond `limit`."""
    passed = 0.0
    await settled()
    while not holds():
        assert passed <= limit + 1e-6, f"not within {limit} s"
        clock.advance(step)
        passed += step
        await settled()
    return passed


async def unanswered(job: Coroutine[Any, Any, Result], silence: Ignore) -> Result:
    """What comes of it when each question that is left without an answer is over its limit at once."""
    task, leapt = asyncio.get_running_loop().create_task(job), 0
    while not task.done():
        await eventually(lambda known=leapt: task.done() or silence.seen > known, "a question or the end")  # type: ignore[misc]
        if silence.seen > leapt:
            leapt = silence.seen
            leap(REQUEST_TIMEOUT)
    return await task


@asynccontextmanager
async def within(seconds: float, line: Line | None = None) -> AsyncIterator[None]:
    """No longer than this as the loop counts it, in hundredths that it woke up for: waiting counts, a busy machine does not.

    line: whose waits for the disk count neither.
    """
    hundredths = 0

    async def count() -> None:
        nonlocal hundredths
        while True:
            await asyncio.sleep(0.01)
            hundredths += line is None or not line.at_the_disk

    task = asyncio.get_running_loop().create_task(count())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert hundredths / 100 <= seconds, f"{hundredths / 100} s and not {seconds} s"


async def let(clock: FakeClock, seconds: float, step: float = 0.1) -> None:
    """Let exactly so much time pass."""
    until = clock.monotonic() + seconds - 1e-6
    await passing(clock, lambda: clock.monotonic() >= until, seconds + step, step)
