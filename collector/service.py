"""The collector as people run it: the line with its page and its control channel around it, until somebody says stop."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.errors import AdapterError
from collector.balance import Balance
from collector.control import serve_control
from collector.facts import note
from collector.health import verdict
from collector.jumps import doubt
from collector.live import tap
from collector.pulse import Pulse
from collector.reload import Reload
from collector.run import Plant, Running, open_running
from collector.signals import signals_told
from collector.summary import summary
from collector.system import on_hangup, tell_service_manager
from collector.watching import watch
from collector.words import with_remedy

if TYPE_CHECKING:
    from collector.page.live import LiveView, Tile
    from config.settings import Settings

log = logging.getLogger("collector")

Companion = Callable[[Running, asyncio.Event], Coroutine[Any, Any, None]]
"""Something that looks on while the collector works (a live terminal, a printer) and ends when told to stop."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the configuration comes from, for reload. watch: look at the files. probe: ask new peers before applying.

    hangup: SIGHUP is a wish to reload too (only where this is the whole process).
    """

    paths: Sequence[Path]
    files: Sequence[Path] = ()
    watch: bool = False
    probe: bool = True
    hangup: bool = False


async def serve(
    settings: Settings,
    stop: asyncio.Event,
    *companions: Companion,
    origin: Origin | None = None,
    opened: Callable[[Running], Awaitable[None]] | None = None,
) -> dict[str, Any]:
    """Run until `stop`; returns the books at the end. Raises JournalFailed, and what opening the buffer raises.

    origin: without it there is nothing to reload. opened: looks at the buffer before anything comes into it.
    """
    async with open_running(settings) as running:
        if opened is not None:
            await opened(running)
        plant = Plant(running)
        reload = _reload(running, plant, origin)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(
                serve_control(running.state_dir, _commands(running, stop, reload))
            )
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            await _page(settings, running, reload, stack, tasks)
            for companion in companions:
                tasks.create_task(companion(running, stop))
            for beside in _beside(running, plant, reload, origin):
                stack.callback(tasks.create_task(beside).cancel)
            tasks.create_task(_tell_stopping(stop))
            if reload is not None and origin is not None and origin.hangup:
                stack.callback(on_hangup(partial(_wish, tasks, reload, probe=origin.probe)))
            await plant.work(stop)
        return summary(await running.journal.ledger(), running.health)


def _reload(running: Running, plant: Plant, origin: Origin | None) -> Reload | None:
    from config.load import load

    if origin is None:
        return None
    reload = Reload(running, plant, partial(load, origin.paths, env=os.environ))
    reload.read_files = origin.files
    return reload


def _beside(
    running: Running, plant: Plant, reload: Reload | None, origin: Origin | None
) -> list[Coroutine[Any, Any, None]]:
    """What runs beside the line and ends with it."""
    balance = Balance(running.journal, running.health, running.clock)
    doubtful = doubt(running.clock, running.line.limits.believed, running.health)
    beside: list[Coroutine[Any, Any, None]] = [_pulse(running, plant), balance.watch(), doubtful]
    if reload is not None and origin is not None and origin.watch:
        beside.append(watch(reload, origin.paths, running.clock, probe=origin.probe))
    return beside


async def _pulse(running: Running, plant: Plant) -> None:
    await plant.working.wait()
    await Pulse(running.health, running.clock, plant.stood).beat()


def _wish(tasks: asyncio.TaskGroup, reload: Reload, *, probe: bool) -> None:
    log.info("told to read the configuration again (SIGHUP)")
    tasks.create_task(reload(probe=probe))


async def _tell_stopping(stop: asyncio.Event) -> None:
    await stop.wait()
    tell_service_manager(STOPPING="1", STATUS="storing what is in the buffer")


async def books(running: Running) -> dict[str, Any]:
    """The books, and whether all is well: `ready`, `healthy`, `reasons`, `loop_lag_s`, `clock`, `config`."""
    ledger, health = await running.journal.ledger(), running.health
    found = summary(ledger, health)
    judged = verdict(health, ledger)
    config = {} if running.config is None else {"config": running.config.as_json()}
    believed = running.clock.wall_now() >= running.line.limits.believed
    clock = {"believed": believed, **({} if running.jumps is None else running.jumps.as_json())}
    return {
        "running": True,
        "ready": judged.ready,
        "healthy": judged.healthy,
        "reasons": list(judged.reasons),
        "loop_lag_s": round(health.loop_lag_s, 3),
        "clock": clock,
        **config,
        **found,
    }


def _commands(running: Running, stop: asyncio.Event, reload: Reload | None) -> Mapping[str, Any]:
    async def renew(request: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        if reload is None:
            yield {"error": "this collector was not started from a configuration file"}
        else:
            yield await reload(probe=bool(request.get("probe", True)))

    async def status(request: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        listed = signals_told(running) if request.get("signals") else {}
        yield {**await books(running), **listed}

    async def live(request: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        async for row in tap(
            running.journal, str(request.get("machine", "*")), str(request.get("signal", "*"))
        ):
            yield row

    async def end(_request: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        stop.set()
        yield {"stopping": True}

    quarantine, release = partial(_quarantine, running), partial(_release, running)
    return {
        "status": status,
        "tap": live,
        "stop": end,
        "reload": renew,
        "quarantine": quarantine,
        "release": release,
        "backfill": partial(backfilled, running),
    }


async def _release(running: Running, request: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
    sink = str(request.get("sink"))
    try:
        yield {"sink": sink, "released": await running.journal.release(sink)}
    except ValueError as error:
        yield {"error": str(error)}


async def backfilled(running: Running, request: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
    """What a machine remembers of a time, stored; how far that is, now and then. Ends with whoever asked."""
    from adapters.base import Remembers
    from collector.backfill import backfill

    line, clock = running.line, running.clock
    source: object = next((one for one in line.sources if one.name == request.get("source")), None)
    if not isinstance(source, Remembers):
        yield {"error": f"{request.get('source')} is no source that keeps a history"}
        return
    said, span = clock.monotonic(), (int(request["from"]), int(request["to"]))
    try:
        async with aclosing(backfill(source, line.refine(), running.journal, *span)) as going:
            async for done in going:
                if done.finished or clock.monotonic() - said >= 0.2:
                    said = clock.monotonic()
                    yield done.as_json()
    except AdapterError as error:
        yield {"error": with_remedy(error, error.remedy)}


async def _quarantine(running: Running, request: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
    from collector.quarantine import Keeper, details_of, row_of, wanted_of

    wanted, journal, line = wanted_of(request), running.journal, running.line
    keeper = Keeper(journal, {source.name: source for source in line.sources}, line.refine())
    if request.get("do") == "replay":
        yield await keeper.replay(wanted)
        # A sink looks for what waits when it has stored something: without a new value it would wait for one.
        await note(journal, running.clock, line.refine(), "quarantine_replay")
    elif request.get("do") == "purge":
        yield await keeper.purge(wanted)
    else:
        shown = request.get("do") == "show"
        for one in await journal.quarantine.select(wanted):
            yield details_of(one, journal.registry) if shown else row_of(one)


async def _page(
    settings: Settings,
    running: Running,
    reload: Reload | None,
    stack: AsyncExitStack,
    tasks: asyncio.TaskGroup,
) -> None:
    if settings.page is None:
        return
    from collector.page.app import build_app
    from collector.page.seed import seed
    from collector.page.server import serve_page

    view = live_view(settings, running)
    if reload is not None:
        reload.listeners.append(lambda new: view.configure(_tiles(new), new.stale_after()))
    following = tasks.create_task(view.follow(running.journal))
    stack.callback(following.cancel)
    history = None if settings.history is None else settings.state / settings.history.path
    stack.callback(tasks.create_task(seed(view, settings.buffer_file, history)).cancel)
    app = build_app(view, running.health, running.journal.ledger)
    url = await stack.enter_async_context(serve_page(app, settings.page.host, settings.page.port))
    logging.getLogger("collector.page").info("live page: %s", url)


def live_view(settings: Settings, running: Running) -> LiveView:
    """The newest value of every signal, with the machines of the configuration in their order."""
    from collector.page.live import LiveView

    line = running.line
    return LiveView(
        line.registry, _tiles(settings), running.clock, settings.stale_after(), labels=line.labels
    )


def _tiles(settings: Settings) -> list[Tile]:
    from collector.page.live import Tile

    return [
        Tile(machine.id, machine.label, bool(machine.tags.get("simulated"))) for machine in settings.machines
    ]
