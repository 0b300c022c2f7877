"""The self-test's course: what is done to the collector, in which order, and what must be seen each time.

The machine talks all the while. Every phase ends when the collector works again, and says what was seen; the comparison of
all values comes last, when nothing is on its way any more.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeGuard

from collector.selftest.child import COMMAND, Child, child
from collector.selftest.database import Database, database
from collector.selftest.press import Press, press
from collector.selftest.result import Phase, Result
from collector.selftest.truth import BARE, MACHINE, TIMED, Truth
from collector.words import duration_words, size_words

PATIENCE: Final = 120.0
"""Seconds that a state which must come may take: a busy computer has stalls of many in it."""

PACE: Final = 0.01
"""Seconds between two turns of the machine, of ten messages each."""

NOTE: Final = 4_000
"""Bytes of text per message that fill the buffer."""

STANDSTILL: Final = 1.5
"""Seconds without an acknowledgement after which the collector is asked whether it is its full buffer that holds up."""

Told = Callable[[str, float], None]
"""What is being done, and how much of the whole is behind us (0 to 1)."""


class Failed(Exception):
    """A phase did not come to what it must come to; the message says what was waited for."""


@dataclass
class Bench:
    """Everything that a phase may touch."""

    machine: Press
    store: Database
    collector: Child
    seconds: float
    note: int = 0
    kills: int = 0
    chance: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311 (repeatable)

    async def until(self, holds: Callable[[], bool], what: str, patience: float = PATIENCE) -> float:
        """Seconds until it held. Raises Failed."""
        began = time.monotonic()
        while not holds():
            if time.monotonic() - began > patience:
                raise Failed(f"not within {patience:.0f} s: {what}")
            if not self.collector.alive:
                raise Failed(f"the collector ended by itself while this was waited for: {what}")
            await asyncio.sleep(0.02)
        return time.monotonic() - began

    async def until_it_reads(self) -> float:
        """Seconds until the machine is acknowledged again."""
        before = self.machine.acknowledged
        return await self.until(lambda: self.machine.acknowledged > before, "the collector reads the machine")

    async def until_it_stores(self) -> float:
        before = len(self.store.stored)
        return await self.until(lambda: len(self.store.stored) > before, "the collector stores values")


Step = tuple[str, Callable[[Bench], Awaitable[str]]]
"""A phase: its name, and what it does; it returns what was seen, or raises Failed."""


async def run(
    folder: Path,
    seconds: float = 60.0,
    *,
    told: Told = lambda _what, _part: None,
    command: Sequence[str] = COMMAND,
    phases: int | None = None,
) -> Result:
    """The self-test in `folder`, about so many seconds long (15 at least make sense).

    told: hears of the progress. command: what runs the collector. phases: only the first so many, and the comparison.
    """
    result = Result()
    async with AsyncExitStack() as stack:
        machine = await stack.enter_async_context(press(Truth()))
        store = await stack.enter_async_context(database())
        collector = await stack.enter_async_context(child(folder, machine.port, store.port, command))
        bench = Bench(machine, store, collector, seconds)
        talking = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            feeding = tasks.create_task(_talk(bench, talking))
            await _phases(bench, result, told, PHASES[:phases])
            talking.set()
            await feeding
            await _phase("everything stored, stopped", _finish, bench, result)
        result.counts = machine.truth.compare(store.of(MACHINE), collector.quarantine())
        result.log = collector.log
    told("done", 1.0)
    return result


async def _phases(bench: Bench, result: Result, told: Told, phases: Sequence[Step]) -> None:
    for number, (name, phase) in enumerate(phases):
        told(name, number / (len(phases) + 1))
        await _phase(name, phase, bench, result)
    told("everything stored, stopped", len(phases) / (len(phases) + 1))


async def _phase(name: str, phase: Callable[[Bench], Awaitable[str]], bench: Bench, result: Result) -> None:
    began = time.monotonic()
    try:
        words, ok = await phase(bench), True
    except Failed as failure:
        words, ok = str(failure), False
        await _put_right(bench)
    result.phases.append(Phase(name, ok, words, round(time.monotonic() - began, 3)))


async def _put_right(bench: Bench) -> None:
    """The next phase begins with everything running, whatever became of this one."""
    bench.note = 0
    await bench.store.stop()
    await bench.store.start()
    await bench.collector.kill()
    await bench.collector.start()


async def _talk(bench: Bench, enough: asyncio.Event) -> None:
    """The machine: documents with a time and numbers without one, as long as somebody takes them."""
    while not enough.is_set():
        if not bench.machine.backed_up:
            for _ in range(8):
                bench.machine.say(TIMED, bench.machine.truth.timed(bench.note))
            for _ in range(2):
                bench.machine.say(BARE, bench.machine.truth.bare())
        await asyncio.sleep(PACE)


async def _start(bench: Bench) -> str:
    began = time.monotonic()
    await bench.collector.start()
    await bench.until_it_reads()
    await bench.until_it_stores()
    return f"reads and stores after {duration_words(time.monotonic() - began)}"


async def _kill(bench: Bench) -> str:
    """Every other time wherever it happens to be in starting, otherwise at work."""
    slowest, ends = 0.0, time.monotonic() + bench.seconds * 0.4
    while bench.kills < 3 or time.monotonic() < ends:
        await bench.collector.kill()
        await bench.collector.start()
        bench.kills += 1
        if bench.kills % 2:
            slowest = max(slowest, await bench.until_it_reads())
        await asyncio.sleep(bench.chance.uniform(0.05, 0.8))
    slowest = max(slowest, await bench.until_it_reads())
    return f"{bench.kills} times; read again after {duration_words(slowest)} at most"


async def _database_away(bench: Bench) -> str:
    """It comes back twice: once it stores and does not answer, so that the same values come again."""
    before, away = bench.machine.acknowledged, max(1.0, bench.seconds * 0.1)
    await bench.store.stop()
    await bench.until_it_reads()
    await asyncio.sleep(away)
    waited = bench.machine.acknowledged - before
    if not waited:
        raise Failed("nothing was taken into the buffer while the database was away")
    bench.store.lose_answers = 2
    await bench.store.start()
    back = await bench.until_it_stores()
    await bench.until(lambda: bench.store.lose_answers == 0, "the collector repeats what was not answered")
    return f"{duration_words(away)}; {waited} messages waited in the buffer; stored again after {duration_words(back)}"


async def _fill(bench: Bench) -> str:
    """The buffer is small, the database away, the machine talks: it must be held up, and nothing dropped."""
    await bench.store.stop()
    bench.note = NOTE
    began = time.monotonic()
    while not _full(books := await _standing_still(bench)):
        if time.monotonic() - began > PATIENCE:
            raise Failed(
                "the collector does not answer with its buffer full"
                if books is None
                else "the buffer took more than it has room for"
            )
    bench.note = 0
    await bench.store.start()
    again = await bench.until_it_reads()
    size = size_words(books["buffer_bytes"])
    return f"at {size}; the machine was held up, and taken again {duration_words(again)} after the database came back"


async def _standing_still(bench: Bench) -> dict[str, Any] | None:
    """What the collector says when nothing was acknowledged for a while, at the latest when patience is over."""
    seen, since, began = -1, time.monotonic(), time.monotonic()
    while time.monotonic() - since < STANDSTILL and time.monotonic() - began < PATIENCE:
        if bench.machine.acknowledged != seen:
            seen, since = bench.machine.acknowledged, time.monotonic()
        await asyncio.sleep(0.02)
    return await bench.collector.books()


def _full(books: dict[str, Any] | None) -> TypeGuard[dict[str, Any]]:
    """A computer that stands still for a moment looks the same from outside."""
    return books is not None and bool(books["buffer"]["condition"])


async def _bad_input(bench: Bench) -> str:
    for number in range(60):
        topic = BARE if number % 3 == 0 else TIMED
        bench.machine.say(topic, bench.machine.truth.nonsense())
    await bench.until_it_reads()
    await bench.until_it_stores()
    return f"{len(bench.machine.truth.bad)} messages that nobody can read; the others went on"


async def _finish(bench: Bench) -> str:
    machine, collector = bench.machine, bench.collector
    await bench.until(lambda: not machine.unacknowledged, "every message is acknowledged", 2 * PATIENCE)
    began = time.monotonic()
    while (books := await collector.books()) is None or any(row["pending"] for row in books["sinks"]):
        if time.monotonic() - began > PATIENCE:
            raise Failed(f"not within {PATIENCE:.0f} s: everything in the buffer is stored")
        await asyncio.sleep(0.05)
    if not await collector.stop():
        raise Failed("the collector did not stop in an orderly way")
    if books["unaccounted"]:
        raise Failed(f"the collector's own books do not balance: {books['unaccounted']}")
    return "the collector's own books balance"


PHASES: Final[Sequence[Step]] = (
    ("started", _start),
    ("killed (kill -9)", _kill),
    ("database taken away", _database_away),
    ("buffer filled", _fill),
    ("bad input", _bad_input),
)
