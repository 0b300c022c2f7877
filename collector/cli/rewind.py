"""`collector rewind SINK`: write to a database once more what history and buffer still hold, after it was made anew.

Works beside a running collector and without one. It moves no cursor: what the database has not got yet comes to it as
always, and what it has got already stays as it is.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collector.audit import note
from collector.cli.common import accepted, add_config, add_period, load_config, said_yes, say
from collector.cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from adapters.base import Sink
    from collector.journal.reader import JournalReader
    from collector.rewind import Held, Rewound
    from config.settings import Settings


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "rewind", help="write to a database again what history and buffer still hold"
    )
    parser.add_argument("sink", help="name of the sink, as `status` shows it")
    add_config(parser)
    add_period(parser)
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="data for scripts")
    parser.set_defaults(main=main)


def main(arguments: argparse.Namespace) -> int:
    from collector.cli.common import log_to_stderr
    from collector.cli.run import guarded

    log_to_stderr(quiet=arguments.json)
    settings = accepted(load_config(arguments.config))
    if settings is None:
        return Exit.CONFIG
    names = [sink.name for sink in settings.sinks]
    if arguments.sink not in names:
        say(f"{arguments.sink} is no sink of this configuration. Its sinks: {', '.join(names) or 'none'}")
        return Exit.USAGE
    return guarded(_rewind(settings, arguments))


async def _rewind(settings: Settings, arguments: argparse.Namespace) -> int:
    from adapters.clock import SystemClock
    from collector.journal.reader import JournalReader, NoJournal
    from collector.rewind import rewind

    try:
        with JournalReader(settings.buffer_file) as reader:
            held = _held(settings, reader, arguments)
            if not arguments.yes and not _agreed(arguments.sink, held.expected()):
                return Exit.PROBLEMS
            sink = _sink(settings, held, arguments.sink)
            done = await rewind(sink, held, SystemClock(), _progress(quiet=arguments.json))
    except NoJournal as error:
        say(str(error))
        return Exit.UNAVAILABLE
    note(Path(settings.state), "rewound", sink=arguments.sink, values=done.stored, refused=done.refused)
    _tell(arguments, done)
    return Exit.PROBLEMS if done.refused else Exit.OK


def _held(settings: Settings, reader: JournalReader, arguments: argparse.Namespace) -> Held:
    """Up to where the sink has come: what lies behind comes to it as always."""
    from adapters.history.replay import Span
    from collector.rewind import Held

    cursor = reader.cursor(arguments.sink)
    last = reader.ledger().tail if cursor is None else cursor
    history = None if settings.history is None else settings.state / settings.history.path
    return Held(reader, history, Span(1, last, arguments.begins, arguments.ends))


def _sink(settings: Settings, held: Held, name: str) -> Sink:
    from adapters.base import Bench
    from adapters.clock import SystemClock

    (wanted,) = (sink for sink in settings.sinks if sink.name == name)
    return wanted.build(Bench(held.registry, SystemClock(), str(settings.state)))


def _agreed(sink: str, expected: int) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        say("Nobody to ask here: say --yes to write everything that is held again.")
        return False
    say(
        f"Up to {expected} values are held in history and buffer. They are written to {sink} again, each under its own time; "
        "what is there already does not change."
    )
    return said_yes("Write them?")


def _progress(*, quiet: bool) -> Callable[[Rewound], None]:
    """A bar on a terminal, at most five times a second; nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        return lambda _done: None
    last = [0.0]

    def show(done: Rewound) -> None:
        if time.monotonic() - last[0] < 0.2:
            return
        last[0] = time.monotonic()
        part = min(1.0, (done.stored + done.refused) / max(1, done.expected))
        bar = "█" * round(30 * part)
        sys.stderr.write(f"\r{bar:░<30} {part:4.0%}  {done.stored} values")
        sys.stderr.flush()

    return show


def _tell(arguments: argparse.Namespace, done: Rewound) -> None:
    if arguments.json:
        row = {"sink": arguments.sink, "stored": done.stored, "refused": done.refused, "why": done.why}
        print(json.dumps(row, ensure_ascii=False))
        return
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
    print(f"{arguments.sink}: {done.stored} values were written again.")
    if done.refused:
        say(f"{done.refused} values were refused; the first because: {done.why}")
