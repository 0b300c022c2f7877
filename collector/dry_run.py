"""`run --dry-run`: the same line into memory, shown instead of stored.

Its sources are built as a scratch look (`Bench.scratch`): acknowledging the messages of the real collector's persistent
session here would take them away from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from adapters.clock import SystemClock
from collector.assembly import assemble, followers
from collector.health import Health
from collector.journal.memory import MemoryJournal
from collector.live import tap
from collector.probe import state_folder
from collector.run import Plant, Running
from config.settings import Settings


async def rows(settings: Settings, stop: asyncio.Event) -> AsyncIterator[dict[str, Any]]:
    """What would be stored, as rows of collector.live, until `stop`."""
    queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(maxsize=10_000)
    with TemporaryDirectory() as scratch:
        async with asyncio.TaskGroup() as tasks:
            running = _in_memory(settings, Path(scratch))
            following = tasks.create_task(_follow(running, queue))
            working = tasks.create_task(_work(running, stop, queue))
            while (row := await queue.get()) is not None:
                yield row
            following.cancel()
            await working


def _in_memory(settings: Settings, scratch: Path) -> Running:
    lookers = settings.model_copy(update={"sinks": (), "history": None})
    clock, journal = SystemClock(), MemoryJournal(followers=followers(lookers), clock=SystemClock())
    state = state_folder(settings, str(scratch))  # who is trusted, and our own certificate, are there
    line = assemble(lookers, journal.registry, clock, state, scratch=True)
    return Running(line, journal, Health(), clock, scratch)


async def _follow(running: Running, queue: asyncio.Queue[dict[str, Any] | None]) -> None:
    async for row in tap(running.journal):
        await queue.put(row)


async def _work(running: Running, stop: asyncio.Event, queue: asyncio.Queue[dict[str, Any] | None]) -> None:
    await Plant(running).work(stop)
    await queue.put(None)
