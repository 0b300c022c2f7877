"""`collector quarantine`: what could not be read or stored, why, and what becomes of it. Running or not.

What is shown here came from strangers: control characters, terminal sequences and letters that turn the direction of a
line are shown and not obeyed, and no answer is longer than asked for.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collector.audit import note
from collector.cli.common import accepted, add_config, buffer_bounds, buffer_file, load_config, say
from collector.cli.exits import Exit
from collector.control import NotRunning, ask
from collector.words import printable, size_words, time_words

if TYPE_CHECKING:
    from collector.journal.setaside import Wanted

SHOWN_BYTES = 4096
WIDTH = 200


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "quarantine", help="what could not be read or stored: list, show, replay, purge"
    )
    what = parser.add_subparsers(dest="do", required=True, metavar="list|show|replay|purge")
    listing = what.add_parser("list", help="one line for each, the oldest first")
    listing.add_argument(
        "--limit", type=int, default=50, metavar="N", help="at most so many, the newest (default: 50)"
    )
    show = what.add_parser("show", help="all that is known of one")
    replay = what.add_parser("replay", help="have them written or read once more, as it is configured now")
    purge = what.add_parser("purge", help="delete them for good")
    for one in (show, replay, purge):
        one.add_argument("numbers", nargs="*", default=[], metavar="N", help="numbers, as `list` shows them")
    for one in (replay, purge):
        one.add_argument("--all", action="store_true", help="all that match the filters")
    purge.add_argument("--older", type=_age, metavar="TIME", help="refused longer ago than this, such as 30d")
    purge.add_argument("-y", "--yes", action="store_true", help="do not ask")
    for one in (listing, replay, purge):
        one.add_argument(
            "--source", "--sink", dest="origin", metavar="NAME", default="", help="who refused it"
        )
        one.add_argument(
            "--reason", default="*", metavar="TEXT", help="only this reason; * stands for anything: '*type*'"
        )
        one.add_argument("--since", type=_age, metavar="TIME", help="refused at most so long ago, such as 2h")
    for one in (listing, show, replay, purge):
        add_config(one)
        one.add_argument("--state", metavar="FOLDER", help="the state folder, instead of a configuration")
        one.add_argument("--json", action="store_true", help="data for scripts")
        one.set_defaults(main=main)


def _age(text: str) -> int:
    """The time so long ago, in ns since 1970."""
    from adapters.settings import parse_duration

    if days := re.fullmatch(r"(\d+)d", text):
        return time.time_ns() - int(days[1]) * 86_400 * 10**9
    try:
        return time.time_ns() - int(float(parse_duration(text)) * 1e9)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def main(arguments: argparse.Namespace) -> int:
    if arguments.do != "list":
        _part(arguments)
    if problem := _usage(arguments):
        say(problem)
        return Exit.USAGE
    buffer = buffer_file(arguments)
    if buffer is None:
        return Exit.CONFIG
    from collector.cli.run import guarded
    from collector.journal.reader import NoJournal

    try:
        return guarded(_answer(buffer, arguments))
    except NoJournal as error:
        say(str(error))
        return Exit.UNAVAILABLE


def _part(arguments: argparse.Namespace) -> None:
    """Numbers are numbers, and the other words are configuration files, in whatever order they came."""
    words = [*map(str, arguments.numbers), *map(str, arguments.config)]
    arguments.numbers = [int(word) for word in words if word.isdecimal()]
    arguments.config = [Path(word) for word in words if not word.isdecimal()]


def _usage(arguments: argparse.Namespace) -> str:
    if arguments.do == "list":
        return ""
    if arguments.do == "show":
        return "" if len(arguments.numbers) == 1 else "show one: collector quarantine show N"
    chosen = bool(arguments.numbers) + arguments.all + (getattr(arguments, "older", None) is not None)
    return "" if chosen == 1 else f"{arguments.do} which? Numbers, --all, or (purge) --older 30d"


async def _answer(buffer: Path, arguments: argparse.Namespace) -> int:
    if arguments.do == "purge" and not await asyncio.to_thread(_sure, arguments):
        say("Nothing was deleted. Without a terminal, say --yes.")
        return Exit.USAGE
    rows = [row async for row in _rows(buffer, arguments)]
    if rows and "error" in rows[-1]:
        say(str(rows[-1]["error"]))
        return Exit.FAILED
    if arguments.do in ("replay", "purge"):
        outcome = json.dumps(rows[-1] if rows else {})
        await asyncio.to_thread(note, buffer.parent, f"quarantine {arguments.do}", outcome=outcome)
    if arguments.json:
        for row in rows:
            print(json.dumps(row))
    else:
        for line in _words(arguments.do, rows):
            print(line)
    if arguments.do == "list" and not rows and not arguments.json:
        say("Nothing is in the quarantine, or nothing that matches.")
    if arguments.do == "show" and not rows:
        say(f"There is no number {arguments.numbers[0]} in the quarantine.")
        return Exit.PROBLEMS
    return Exit.PROBLEMS if any(row.get("not_possible") for row in rows) else Exit.OK


def _sure(arguments: argparse.Namespace) -> bool:
    import sys

    if arguments.yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print(
        "Delete for good? What was refused cannot be read again after that. [y/N] ", end="", file=sys.stderr
    )
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


async def _rows(buffer: Path, arguments: argparse.Namespace) -> AsyncIterator[dict[str, Any]]:
    request = {
        "do": arguments.do,
        "numbers": getattr(arguments, "numbers", []),
        "origin": getattr(arguments, "origin", ""),
        "reason": getattr(arguments, "reason", "*"),
        "since": getattr(arguments, "since", None),
        "before": getattr(arguments, "older", None),
        "limit": getattr(arguments, "limit", None),
    }
    try:
        async for row in ask(buffer.parent, "quarantine", **request):
            yield row
    except NotRunning:
        from collector.quarantine import wanted_of

        for row in await _at_rest(buffer, arguments, wanted_of(request)):
            yield row


async def _at_rest(buffer: Path, arguments: argparse.Namespace, wanted: Wanted) -> list[dict[str, Any]]:
    """On the buffer of a stopped collector."""
    from collector.journal.reader import JournalReader
    from collector.quarantine import details_of, kept_of, row_of

    with JournalReader(buffer) as reader:
        followers = list(reader.ledger().sinks)
        if arguments.do in ("list", "show"):
            found = reader.refusals(wanted)
            if arguments.do == "list":
                return [row_of(one) for one in found]
            registry = reader.registry_of(batch for one in found for batch in kept_of(one))
            return [details_of(one, registry) for one in found]
    return [await _change(buffer, followers, arguments, wanted)]


async def _change(
    buffer: Path, followers: list[str], arguments: argparse.Namespace, wanted: Wanted
) -> dict[str, Any]:
    from adapters.clock import SystemClock
    from collector.assembly import assemble
    from collector.journal.sqlite import open_journal
    from collector.quarantine import Keeper
    from pipelines.refinery import refinery
    from pipelines.stage import Treatments

    settings = None if arguments.state is not None else accepted(load_config(arguments.config))
    clock = SystemClock()
    bounds = buffer_bounds(arguments)
    async with open_journal(buffer, followers=followers, clock=clock, window=0.0, **bounds) as journal:
        if settings is None or arguments.do == "purge":
            keeper = Keeper(journal, {}, refinery(journal.registry, Treatments()))
        else:
            line = assemble(settings, journal.registry, clock, buffer.parent, scratch=True)
            keeper = Keeper(journal, {source.name: source for source in line.sources}, line.refine())
        return await (keeper.purge(wanted) if arguments.do == "purge" else keeper.replay(wanted))


def _words(do: str, rows: list[dict[str, Any]]) -> Iterator[str]:
    if do == "list":
        yield from (_clip(_line(row)) for row in rows)
    elif do == "show":
        for row in rows:
            yield from _details(row)
    for row in rows if do == "purge" else ():
        yield f"{row['purged']} deleted, which stood for {row['values']} values"
    for row in rows if do == "replay" else ():
        yield from _outcome(row)


def _line(row: dict[str, Any]) -> str:
    head = f"{row['number']:>6}  {time_words(row['time'])[:19]}Z  {row['origin']}  {row['where']}"
    return printable(f"{head}  ({row['values']} values)  {row['reason']}")


def _clip(text: str) -> str:
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"


def _outcome(row: dict[str, Any]) -> Iterator[str]:
    if row["to_sinks"]:
        yield f"{row['to_sinks']} values are given to their sinks once more (when these are connected)"
    if row["read_again"]:
        yield f"{row['read_again']} messages read again: {row['stored']} values stored, {row['refused']} refused again"
    for one in row["not_possible"][:20]:
        yield printable(f"not possible for {one['number']}: {one['why']}")
    if len(row["not_possible"]) > 20:
        yield f"… and {len(row['not_possible']) - 20} more"
    if not (row["to_sinks"] or row["read_again"] or row["not_possible"]):
        yield "Nothing matches."


def _details(row: dict[str, Any]) -> Iterator[str]:
    yield printable(f"number   {row['number']}")
    yield printable(f"refused  {time_words(row['time'])} by {row['origin']}")
    yield printable(f"where    {row['where']}"[:2000])
    yield printable(f"reason   {row['reason']}"[:4000])
    yield f"values   {row['values']}{', kept for a replay' if row['values_kept'] else ''}"
    for value in row["kept"]:
        from collector.live import line_of

        yield f"         {line_of(value)}"[:1000]
    raw = base64.b64decode(row["raw"])
    yield f"raw      {size_words(len(raw))}{' (only the beginning was kept)' if row['cut'] else ''}"
    yield from (f"    {line}" for line in raw_lines(raw[:SHOWN_BYTES]))
    if len(raw) > SHOWN_BYTES:
        yield f"    … {size_words(len(raw) - SHOWN_BYTES)} more (--json has all of it, as base64)"


def raw_lines(raw: bytes) -> Iterator[str]:
    """As text where it is text, else as bytes: offset, hexadecimal, and what can be printed."""
    text = raw.decode("utf-8", "surrogateescape")
    strange = sum(not (char.isprintable() or char in "\r\n\t") for char in text)
    if strange * 10 <= len(text):
        yield from (printable(line) for line in re.split("\r\n|\n|\r", text))
        return
    for at in range(0, len(raw), 16):
        piece = raw[at : at + 16]
        plain = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
        yield f"{at:04x}  {piece.hex(' '):<47}  {plain}"
