"""`run --once` waits for what comes now, and not for what came in an earlier life."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from collector.cli.run import Once
from collector.health import Health
from collector.journal.memory import MemoryJournal
from tests.contracts.journal import append
from tests.fakes import FakeClock


async def test_what_an_earlier_life_received_is_nothing_received() -> None:
    clock = FakeClock()
    journal = MemoryJournal(followers=[], clock=clock)
    await append(journal, [1.0, 2.0], source="plc")
    sources = [SimpleNamespace(name="plc"), SimpleNamespace(name="lab")]
    line = SimpleNamespace(sources=sources)
    running = cast("Any", SimpleNamespace(clock=clock, journal=journal, line=line, health=Health()))
    once, stop = Once(), asyncio.Event()

    async def later() -> dict[str, int]:
        async with asyncio.timeout(60):
            while not clock.sleeping:
                await asyncio.sleep(0)
        assert not stop.is_set()
        clock.advance(0.1)
        return {name: known.decoded for name, known in (await journal.ledger()).sources.items()}

    await once.opened(running)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(once(running, stop))
        assert once.silent(await later()) == ["plc", "lab"]
        await append(journal, [3.0], source="lab")
        assert once.silent(await later()) == ["plc"]
        await append(journal, [4.0], source="plc")
        async with asyncio.timeout(60):
            while not stop.is_set():
                clock.advance(0.1)
                await asyncio.sleep(0)
    assert once.silent({"plc": 3, "lab": 1}) == []
