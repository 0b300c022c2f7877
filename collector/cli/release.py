"""`collector release SINK`: let go of a sink that will not come back, so that the buffer stops waiting for it.

What the sink had not stored is lost to it and to no other: a gap record says how much and of what time, and the books show
it as dropped. Not undone by anything, so it asks before.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collector.audit import note
from collector.cli.common import add_config, buffer_bounds, buffer_file, said_yes, say
from collector.cli.exits import Exit
from collector.control import NotRunning, ask


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "release", help="let go of a sink that will not come back: its backlog is dropped"
    )
    parser.add_argument("sink", help="name of the sink, as `status` shows it")
    add_config(parser)
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument("--state", metavar="FOLDER", help="the state folder, instead of a configuration")
    parser.add_argument("--json", action="store_true", help="data for scripts")
    parser.set_defaults(main=main)


def main(arguments: argparse.Namespace) -> int:
    from collector.cli.run import in_words

    buffer = buffer_file(arguments)
    return Exit.CONFIG if buffer is None else in_words(lambda: _asked(buffer, arguments))


def _asked(buffer: Path, arguments: argparse.Namespace) -> int:
    from collector.cli.run import guarded

    pending = _pending(buffer)
    if arguments.sink not in pending:
        say(f"{arguments.sink} is no sink of this buffer. Its sinks: {', '.join(sorted(pending)) or 'none'}")
        return Exit.USAGE
    if not arguments.yes and not _agreed(arguments.sink, pending[arguments.sink]):
        return Exit.PROBLEMS
    return guarded(_release(buffer, arguments))


def _pending(buffer: Path) -> dict[str, int]:
    """Values that wait, by sink; also while the collector runs."""
    from collector.journal.reader import JournalReader, NoJournal

    try:
        with JournalReader(buffer) as reader:
            return {name: account.pending for name, account in reader.ledger().sinks.items()}
    except NoJournal:
        return {}


def _agreed(sink: str, pending: int) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        say("Nobody to ask here: say --yes to drop what this sink has not stored.")
        return False
    say(
        f"{sink} has not stored {pending} values. They will never be stored there; other sinks and the history keep them."
    )
    return said_yes("Release it?")


async def _release(buffer: Path, arguments: argparse.Namespace) -> int:
    sink = arguments.sink
    told = await _told(buffer, sink, buffer_bounds(arguments))
    if "error" in told:
        say(str(told["error"]))
        return Exit.PROBLEMS
    note(buffer.parent, "released", sink=sink, values=told["released"])
    print(
        json.dumps(told)
        if arguments.json
        else f"{sink} is released: {told['released']} values were let go, and a gap record says so."
    )
    return Exit.OK


async def _told(buffer: Path, sink: str, bounds: Mapping[str, Any]) -> dict[str, Any]:
    try:
        async for row in ask(buffer.parent, "release", sink=sink):
            return row
    except NotRunning:
        return await _at_rest(buffer, sink, bounds)
    return {"error": "the collector ended before it answered"}


async def _at_rest(buffer: Path, sink: str, bounds: Mapping[str, Any]) -> dict[str, Any]:
    """On the buffer of a stopped collector, whose other followers stay as they are."""
    from adapters.clock import SystemClock
    from collector.journal.reader import JournalReader
    from collector.journal.sqlite import open_journal

    with JournalReader(buffer) as reader:
        followers = sorted(reader.ledger().sinks)
    opening = open_journal(buffer, followers=followers, clock=SystemClock(), window=0.0, **bounds)
    async with opening as journal:
        return {"sink": sink, "released": await journal.release(sink)}
