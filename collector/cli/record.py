"""`collector record`: what the running collector stores from now on, or has stored, as a recording that `replay` plays."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Any

from collector.cli.common import accepted, add_choice, add_config, add_period, load_config, say
from collector.cli.exits import Exit
from collector.cli.run import duration, in_words, stop_after

SETTLE = 2.0
"""Seconds that the last values may take from their machine into the buffer."""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "record", help="a recording of machines, to be played back by the simulators"
    )
    add_config(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, help="file to write (.jsonl)")
    parser.add_argument(
        "--for", dest="seconds", type=duration, metavar="TIME", help="record from now on, such as 60s"
    )
    add_period(parser)
    add_choice(parser)
    parser.add_argument(
        "--anonymise",
        action="store_true",
        help="numbers in place of names, texts and the date; values stay as they are",
    )
    parser.set_defaults(main=main)


def main(arguments: argparse.Namespace) -> int:
    settings = accepted(load_config(arguments.config))
    if settings is None:
        return Exit.CONFIG
    if arguments.output.suffix != ".jsonl":
        say(f"{arguments.output}: a recording ends in .jsonl")
        return Exit.USAGE
    if arguments.seconds is not None and not asyncio.run(_wait(settings.state, arguments)):
        return Exit.UNAVAILABLE
    return in_words(lambda: _write(settings, arguments))


async def _wait(state: Path, arguments: argparse.Namespace) -> bool:
    """Let the collector work for the time; False, after saying so, when none is running. Ctrl-C ends it early."""
    from collector.control import NotRunning, ask

    try:
        async for _ in ask(state, "status"):
            break
    except NotRunning as error:
        say(f"{error}: start it with `collector run`")
        return False
    arguments.begins = time.time_ns()
    say(f"recording for {arguments.seconds:g} s; Ctrl-C ends it and keeps what there is")
    await stop_after(arguments.seconds).wait()
    arguments.ends = time.time_ns()
    await asyncio.sleep(SETTLE)
    return True


def _write(settings: Any, arguments: argparse.Namespace) -> int:
    from collector.export import rows
    from collector.journal.reader import NoJournal
    from collector.query import stored_values
    from collector.record import recorded

    history = None if settings.history is None else settings.state / settings.history.path
    wanted = {"machine": arguments.machine, "signal": arguments.signal}
    try:
        table = stored_values(
            settings.buffer_file, history, **wanted, begins=arguments.begins, ends=arguments.ends
        )
    except NoJournal as error:
        say(str(error))
        return Exit.UNAVAILABLE
    count = 0
    with arguments.output.open("w", encoding="utf-8", newline="") as file:
        for count, row in enumerate(recorded(rows(table), anonymous=arguments.anonymise), 1):  # noqa: B007
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    say(f"{count} values in {arguments.output}; play them: python -m simulators replay {arguments.output}")
    return Exit.OK if count else Exit.PROBLEMS
