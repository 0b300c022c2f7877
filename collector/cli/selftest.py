"""`collector selftest`: the proof on the user's own computer, in about a minute and on scratch copies only."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from collector.cli.common import say
from collector.cli.exits import Exit
from collector.cli.run import duration, guarded

if TYPE_CHECKING:
    from collector.selftest.plan import Told
    from collector.selftest.result import Result

SHORTEST = 10.0


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "selftest", help="kills itself, takes a database away, fills its buffer; reports what is missing (0)"
    )
    parser.add_argument(
        "--for",
        dest="seconds",
        type=duration,
        default=60.0,
        metavar="TIME",
        help="about so long (default: 60s)",
    )
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    parser.set_defaults(main=main)


def main(arguments: argparse.Namespace) -> int:
    with TemporaryDirectory(prefix="shopfloor-selftest-") as folder:
        try:
            return guarded(_selftest(arguments, Path(folder)))
        except asyncio.CancelledError:
            return Exit.INTERRUPTED


async def _selftest(arguments: argparse.Namespace, folder: Path) -> int:
    from collector.selftest.plan import run
    from collector.system import on_end

    if (task := asyncio.current_task()) is not None:
        on_end(task.cancel)
    say("A machine and a database of its own, in a temporary folder: yours are not touched.")
    with _progress(live=sys.stderr.isatty()) as told:
        result = await run(folder, max(arguments.seconds, SHORTEST), told=told)
    if arguments.json:
        print(json.dumps(result.as_json(), ensure_ascii=False))
    else:
        _report(result)
    if not result.ok:
        say(f"The collector's last words:\n{result.log[-3000:]}")
    return Exit.OK if result.ok else Exit.PROBLEMS


@contextmanager
def _progress(*, live: bool) -> Iterator[Told]:
    """A bar on a terminal, a line per phase elsewhere."""
    if not live:
        yield lambda what, part: say(f"{part:>5.0%}  {what}")
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda what, part: bar.update(task, description=what, completed=part)


def _report(result: Result) -> None:
    """Marks differ in shape, not only in colour; rich leaves the colour out where there is no terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    phases = Table(box=None, show_header=False, padding=(0, 1))
    for phase in result.phases:
        mark = Text("✔", "bold green") if phase.ok else Text("✖ FAILED", "bold red")
        phases.add_row(mark, Text(phase.name), Text(phase.words), Text(f"{phase.seconds:.1f} s", "dim"))
    console.print(phases)
    for line in _sums(result):
        console.print(line)


def _sums(result: Result) -> Iterator[Any]:
    from rich.text import Text

    words = {
        "sent": "values and messages that the machine sent",
        "stored": "found in the database, equal to the last bit",
        "refused": "unreadable, kept in quarantine with the reason",
        "missing": "sent and nowhere to be found",
        "duplicated": "stored twice, altered, or never sent",
    }
    for name, count in result.counts._asdict().items():
        wrong = name in ("missing", "duplicated") and count
        yield Text(f"  {name:<12}{count:>10,}   {words[name]}", "bold red" if wrong else "")
    if result.ok:
        yield Text("✔ Nothing is missing, nothing is there twice.", "bold green")
    else:
        yield Text("✖ FAILED: this must not happen. Please report it with the words below.", "bold red")
