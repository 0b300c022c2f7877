"""`collector run`: the main command."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collector.audit import note
from collector.cli.common import accepted, add_config, config_paths, load_config, log_to_stderr, say
from collector.cli.exits import Exit
from collector.cli.with_sim import add_with_sim, with_sim

if TYPE_CHECKING:
    from collector.run import Running
    from config.settings import Settings

ONCE_PATIENCE = 60.0


def add(commands: Any) -> None:
    parser = commands.add_parser("run", help="collect: read every source, store in history and databases")
    add_config(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="print what would be stored, store nothing")
    how.add_argument(
        "--once", action="store_true", help="stop when every source has delivered and everything is stored"
    )
    parser.add_argument(
        "--watch", action="store_true", help="apply changes of the configuration files while running"
    )
    parser.add_argument(
        "--no-probe", action="store_true", help="with --watch: do not ask new machines and databases first"
    )
    parser.add_argument(
        "--for", dest="seconds", type=duration, metavar="TIME", help="stop after this time, such as 60s"
    )
    add_with_sim(parser)
    parser.add_argument("--json", action="store_true", help="rows (dry run) and the books at the end as JSON")
    parser.set_defaults(main=main)


def duration(text: str) -> float:
    from adapters.settings import parse_duration

    try:
        return float(parse_duration(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def main(arguments: argparse.Namespace) -> int:
    from collector.system import few_heaps, hold_hangup, private_files

    few_heaps()
    private_files()
    log_to_stderr()
    if arguments.with_sim:
        return guarded(with_sim(arguments, _work))
    if not arguments.dry_run:
        hold_hangup()
    loaded = load_config(arguments.config)
    settings = accepted(loaded, warn=True)
    return Exit.CONFIG if settings is None else guarded(_work(settings, loaded.files, arguments))


async def _work(settings: Settings, files: Sequence[Path], arguments: argparse.Namespace) -> int:
    return await (_dry_run(settings, arguments) if arguments.dry_run else _serve(settings, files, arguments))


def guarded(work: Coroutine[Any, Any, int]) -> int:
    """Run to the end; what makes going on impossible becomes one sentence instead of a traceback."""
    from collector.system import run

    return _told(lambda: run(work))


def in_words(work: Callable[[], int]) -> int:
    """The same for a command without a loop; so is a file that cannot be read or written."""
    try:
        return _told(work)
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        say(f"collector: {where}{error.strerror or error}")
        return Exit.FAILED


def _told(work: Callable[[], int]) -> int:
    from adapters.errors import AdapterError
    from collector.journal.base import JournalFailed
    from collector.journal.lock import JournalInUse
    from collector.journal.place import NetworkDrive
    from collector.journal.schema import NotAJournal
    from collector.simulated import SimulatorsFailed
    from collector.supervisor import cause_of
    from collector.words import with_remedy

    foreseen = (AdapterError, JournalFailed, JournalInUse, NetworkDrive, NotAJournal, SimulatorsFailed)
    try:
        return work()
    except (*foreseen, BaseExceptionGroup) as error:
        cause = cause_of(error)
        if not isinstance(cause, foreseen):
            raise
        say(f"collector: {with_remedy(cause, getattr(cause, 'remedy', ''))}")
        return Exit.FAILED


async def _serve(settings: Settings, files: Sequence[Path], arguments: argparse.Namespace) -> int:
    from collector.service import Origin, serve
    from collector.summary import table

    stop = stop_after(arguments.seconds)
    paths = config_paths(arguments.config)
    origin = Origin(paths, files, watch=arguments.watch, probe=not arguments.no_probe, hangup=True)
    recorded = partial(_recorded, Path(settings.state), tuple(map(str, files)))
    once = Once()
    opened, companions = (once.opened, [once, recorded]) if arguments.once else (None, [recorded])
    books = await serve(settings, stop, *companions, origin=origin, opened=opened)
    if arguments.json:
        print(json.dumps(books, ensure_ascii=False))
    else:
        say("\n".join(table(books)))
    if silent := once.silent({row["name"]: row["decoded"] for row in books["sources"]}):
        say(f"nothing received from: {', '.join(silent)}")
        return Exit.PROBLEMS
    return Exit.OK


async def _recorded(state: Path, files: Sequence[str], _running: Running, stop: asyncio.Event) -> None:
    """Start and stop in the audit log; a start without a stop behind it was no stop in order."""
    await asyncio.to_thread(note, state, "started", files=", ".join(files))
    await stop.wait()
    await asyncio.to_thread(note, state, "stopped")


async def _dry_run(settings: Settings, arguments: argparse.Namespace) -> int:
    from collector.dry_run import rows
    from collector.live import line_of

    stop = stop_after(arguments.seconds)
    async for row in rows(settings, stop):
        print(json.dumps(row, ensure_ascii=False) if arguments.json else line_of(row))
        sys.stdout.flush()
    return Exit.OK


def stop_after(seconds: float | None) -> asyncio.Event:
    """An event that is set by Ctrl-C, by the system's wish, or when the time is over; the second wish stops at once."""
    from collector.stopping import Stop
    from collector.system import on_stop

    stop = Stop()
    on_stop(stop.ask)
    if seconds is not None:
        asyncio.get_running_loop().call_later(seconds, stop.set)
    return stop


class Once:
    """Stop when every source has delivered something, or cannot before somebody changes something. Since the start: the books
    go back to the first start of all.
    """

    def __init__(self) -> None:
        self._before: dict[str, int] = {}

    async def opened(self, running: Running) -> None:
        """Before any source has begun: what comes once, and at once, counts."""
        known = await self._decoded(running)
        self._before = {source.name: known.get(source.name, 0) for source in running.line.sources}

    async def __call__(self, running: Running, stop: asyncio.Event) -> None:
        from collector.health import State

        deadline = running.clock.monotonic() + ONCE_PATIENCE
        while running.clock.monotonic() < deadline and not stop.is_set():
            jobs = {job.name: job.state for job in running.health.all()}
            silent = self.silent(await self._decoded(running))
            if all(jobs.get(name) is State.NEEDS_ATTENTION for name in silent):
                break
            await running.clock.sleep(0.1)
        stop.set()

    async def _decoded(self, running: Running) -> dict[str, int]:
        accounts = (await running.journal.ledger()).sources
        return {name: account.decoded for name, account in accounts.items()}

    def silent(self, decoded: Mapping[str, int]) -> list[str]:
        """The sources that have delivered nothing. decoded: values by source, as the books have it now."""
        return [name for name, before in self._before.items() if decoded.get(name, 0) <= before]
