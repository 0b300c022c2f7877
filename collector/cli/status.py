"""`collector status`: what the running collector says of itself; of a stopped one, what its books say."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from collector.cli.common import add_state, buffer_file, say
from collector.cli.exits import Exit
from collector.control import NotRunning, ask
from collector.words import time_words, with_remedy


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "status",
        help="state of every source and database, and the books; exit code 1 if not ready or not healthy",
    )
    add_state(parser)
    parser.add_argument("--json", action="store_true", help="data for scripts")
    parser.add_argument(
        "--facts", action="store_true", help="also what every source and database says of its connection"
    )
    parser.set_defaults(main=main)


def main(arguments: argparse.Namespace) -> int:
    from collector.cli.run import in_words

    buffer = buffer_file(arguments)
    return Exit.CONFIG if buffer is None else in_words(lambda: _status(buffer, arguments))


def _status(buffer: Path, arguments: argparse.Namespace) -> int:
    books = asyncio.run(_books(buffer, signals=arguments.json))
    if books is None:
        say(f"No collector is running here and nothing was ever stored in {buffer.parent}.")
        return Exit.UNAVAILABLE
    if "error" in books:
        say(str(books["error"]))
        return Exit.FAILED
    _print(books, as_json=arguments.json)
    if arguments.facts and not arguments.json:
        _print_facts(books)
    if not books["running"]:
        return Exit.UNAVAILABLE
    return Exit.OK if books["ready"] and books["healthy"] else Exit.PROBLEMS


async def _books(buffer: Path, *, signals: bool) -> dict[str, Any] | None:
    try:
        async for row in ask(buffer.parent, "status", signals=signals):
            return row
    except NotRunning:
        pass
    return _books_at_rest(buffer)


def _books_at_rest(buffer: Path) -> dict[str, Any] | None:
    from collector.journal.reader import JournalReader, NoJournal
    from collector.summary import summary

    try:
        with JournalReader(buffer) as reader:
            return {"running": False, "ready": False, "healthy": False, **summary(reader.ledger())}
    except NoJournal:
        return None


def _print(books: dict[str, Any], *, as_json: bool) -> None:
    from collector.summary import table

    if as_json:
        print(json.dumps(books, ensure_ascii=False))
        return
    if not books["running"]:
        say("The collector is not running; these are its books from the last time.")
    for line in table(books):
        print(line)
    for row in [*books["sources"], *books["sinks"]]:
        if row.get("error"):
            say(f"{row['name']}: {row['state']}: {with_remedy(row['error'], row['remedy'])}")
    _print_state(books)


def _print_facts(books: dict[str, Any]) -> None:
    for row in [*books["sources"], *books["sinks"]]:
        if row.get("facts"):
            print(f"{row['name']}: {row['state']}")
        for name, words in row.get("facts", {}).items():
            print(f"  {name}: {words}")


def _print_state(books: dict[str, Any]) -> None:
    """Whether all is well, and why not; a configuration that is not the one in the file."""
    if books["running"]:
        said = "healthy" if books["healthy"] else "NOT healthy"
        say(f"{'ready' if books['ready'] else 'NOT ready'}, {said}")
    for reason in books.get("reasons", ()):
        say(f"  {reason}")
    clock = books.get("clock", {})
    if clock.get("jumps"):
        far, at = clock["last_jump_s"], time_words(clock["last_jump_at"])[:19]
        say(f"  the computer's clock was set {clock['jumps']} times, the last time by {far:+g} s at {at}Z")
    config = books.get("config", {})
    for problem in config.get("rejected", ()):
        say(
            f"The newest configuration is rejected, the old one goes on: {problem['where']}: {problem['message']}"
        )
    if config.get("needs_restart"):
        say(f"Waits for a restart: {', '.join(config['needs_restart'])}")
