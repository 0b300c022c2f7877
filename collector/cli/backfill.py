"""`collector backfill SOURCE --from … --to …`: have a machine tell once more what it remembers of a time, and store what is missing.

A running collector does it itself, beside its work; without one the buffer is opened for as long as it takes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collector.audit import note
from collector.cli.common import accepted, add_config, add_period, load_config, say
from collector.cli.exits import Exit
from collector.control import NotRunning, ask
from collector.words import time_words, with_remedy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from config.settings import Settings


def add(commands: Any) -> None:
    parser = commands.add_parser("backfill", help="store what a machine itself remembers of a time")
    parser.add_argument("source", help="name of the source")
    add_config(parser)
    add_period(parser, required=True, until="now")
    parser.add_argument("--dry-run", action="store_true", help="only count what the machine remembers")
    parser.add_argument("--json", action="store_true", help="data for scripts")
    parser.set_defaults(main=main)


def main(arguments: argparse.Namespace) -> int:
    from collector.cli.common import log_to_stderr
    from collector.cli.run import guarded

    log_to_stderr(quiet=True)
    settings = accepted(load_config(arguments.config))
    if settings is None:
        return Exit.CONFIG
    known = [name for name, source in settings.sources.items() if source.type == "opcua"]
    if arguments.source not in known:
        words = f"Sources that may: {', '.join(known) or 'none'}"
        say(f"{arguments.source} is no source of this configuration that keeps a history. {words}")
        return Exit.USAGE
    arguments.ends = arguments.ends if arguments.ends is not None else time.time_ns()
    if arguments.begins >= arguments.ends:
        say("--from lies behind --to: nothing is between them.")
        return Exit.USAGE
    return guarded(_backfill(settings, arguments))


async def _backfill(settings: Settings, arguments: argparse.Namespace) -> int:
    from adapters.errors import AdapterError

    last: Mapping[str, Any] = {}
    done: Mapping[str, Any] = {}
    try:
        # To its end: left in the middle it would not close the buffer.
        async for last in _rows(settings, arguments):
            if "error" not in last:
                done = last
                _show(last, quiet=arguments.json)
    except AdapterError as error:
        last = {"error": with_remedy(error, error.remedy)}
    finally:  # also of one that was broken off: what it has stored by then is stored
        if done and not arguments.dry_run:
            _note(settings, arguments, done)
    return _tell(arguments, last)


def _note(settings: Settings, arguments: argparse.Namespace, done: Mapping[str, Any]) -> None:
    counts = {key: done[key] for key in ("values", "stored", "refused", "repaired")}
    span = {"from": time_words(arguments.begins), "to": time_words(arguments.ends)}
    ended = "" if done["finished"] else "broken off"
    note(Path(settings.state), "backfilled", source=arguments.source, **span, **counts, ended=ended)


def _rows(settings: Settings, arguments: argparse.Namespace) -> AsyncIterator[Mapping[str, Any]]:
    if arguments.dry_run:
        return _counted(settings, arguments)
    return _filled(settings, arguments)


async def _filled(settings: Settings, arguments: argparse.Namespace) -> AsyncIterator[Mapping[str, Any]]:
    from collector.service import backfilled

    span: dict[str, Any] = {
        "source": arguments.source,
        "from": arguments.begins,
        "to": arguments.ends,
    }
    try:
        async for row in ask(Path(settings.state), "backfill", **span):
            yield row
    except NotRunning:
        from collector.backfill import unless_full
        from collector.run import open_running

        async with open_running(settings) as running:
            async for filled in unless_full(running.journal, backfilled(running, span)):
                yield filled


async def _counted(settings: Settings, arguments: argparse.Namespace) -> AsyncIterator[Mapping[str, Any]]:
    from adapters.base import Bench, Remembers
    from adapters.clock import SystemClock
    from collector.backfill import counted
    from pipelines.registry import Registry

    bench = Bench(Registry(), SystemClock(), str(settings.state), scratch=True)
    name = arguments.source
    source = settings.sources[name].build(name, settings.readings(name), bench)
    if not isinstance(source, Remembers):
        yield {"error": f"{name} keeps no history"}
        return
    async for done in counted(source, arguments.begins, arguments.ends):
        yield done.as_json()


def _show(row: Mapping[str, Any], *, quiet: bool) -> None:
    """A bar on a terminal; nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        return
    part = row["done"] / max(1, row["signals"])
    bar = "█" * round(30 * part)
    sys.stderr.write(f"\r{bar:░<30} {part:4.0%}  {row['values']} values")
    sys.stderr.flush()


def _tell(arguments: argparse.Namespace, last: Mapping[str, Any]) -> int:
    if sys.stderr.isatty() and not arguments.json:
        sys.stderr.write("\r\x1b[K")
    if arguments.json:
        print(json.dumps(dict(last), ensure_ascii=False))
    if "error" in last or not last.get("finished"):
        say(str(last.get("error", "the collector ended before the history was read; begin again")))
        return Exit.UNAVAILABLE
    if not arguments.json:
        _print(last, counted=arguments.dry_run)
    for name, why in last["troubles"].items():
        say(f"{name}: {why}")
    return Exit.PROBLEMS if last["troubles"] or last["refused"] else Exit.OK


def _print(last: Mapping[str, Any], *, counted: bool) -> None:
    source, values, signals = last["source"], last["values"], last["signals"]
    if counted:
        print(f"{source}: remembers {values} values of {signals} signals in this time.")
        return
    print(f"{source}: {values} values of {signals} signals, {last['stored']} of them stored.")
    if last["repaired"]:
        print(f"{last['repaired']} gap records are told as repaired.")
