"""The collector as people run it: the line with its page and its control channel around it, until somebody says stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from collector.control import serve_control
from collector.live import tap
from collector.run import Plant, Running, open_running
from collector.summary import summary

if TYPE_CHECKING:
    from collector.page.live import LiveView
    from config.settings import Settings

log = logging.getLogger("collector")

Companion = Callable[[Running, asyncio.Event], Coroutine[Any, Any, None]]
"""Something that looks on while the collector works (a live terminal, a printer) and ends when told to stop."""


async def serve(settings: Settings, stop: asyncio.Event, *companions: Companion) -> dict[str, Any]:
    """Run until `stop`; returns the books at the end. Raises JournalFailed, and what opening the buffer raises."""
    async with open_running(settings) as running:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(serve_control(running.state_dir, _commands(running, stop)))
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            await _page(settings, running, stack, tasks)
            for companion in companions:
                tasks.create_task(companion(running, stop))
            await Plant(running).work(stop)
        return summary(await running.journal.ledger(), running.health)


async def books(running: Running) -> dict[str, Any]:
    return {"running": True, **summary(await running.journal.ledger(), running.health)}


def _commands(running: Running, stop: asyncio.Event) -> Mapping[str, Any]:
    async def status(_request: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        yield await books(running)

    async def live(request: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        async for row in tap(
            running.journal, str(request.get("machine", "*")), str(request.get("signal", "*"))
        ):
            yield row

    async def end(_request: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        stop.set()
        yield {"stopping": True}

    return {"status": status, "tap": live, "stop": end}


async def _page(
    settings: Settings, running: Running, stack: AsyncExitStack, tasks: asyncio.TaskGroup
) -> None:
    if settings.page is None:
        return
    from collector.page.app import build_app
    from collector.page.server import serve_page

    view = live_view(settings, running)
    following = tasks.create_task(view.follow(running.journal))
    stack.callback(following.cancel)
    app = build_app(view, running.health, running.journal.ledger)
    url = await stack.enter_async_context(serve_page(app, settings.page.host, settings.page.port))
    logging.getLogger("collector.page").info("live page: %s", url)


def live_view(settings: Settings, running: Running) -> LiveView:
    """The newest value of every signal, with the machines of the configuration in their order."""
    from collector.page.live import LiveView, Tile

    tiles = [Tile(machine.id, machine.label) for machine in settings.machines]
    return LiveView(running.line.registry, tiles, running.clock, settings.stale_after())
