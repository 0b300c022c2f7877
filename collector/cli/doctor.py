"""`collector doctor SOURCE`: what is well with a connection, what is not, and what to do next; changes nothing anywhere."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, cast

from collector.cli.common import accepted, add_config, heed_source, load_config, say
from collector.cli.exits import Exit
from collector.words import printable

if TYPE_CHECKING:
    from adapters.base import Finding

_SIGNS: Final = {"ok": ("●", "green"), "warning": ("▲", "yellow"), "error": ("✕", "red")}


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "doctor", help="examine the connection to one source step by step, and say what to do"
    )
    parser.add_argument(
        "source", nargs="?", help="name of the source; may be left out where there is one only"
    )
    add_config(parser)
    parser.add_argument("--json", action="store_true", help="data for scripts")
    parser.set_defaults(main=main)


def main(arguments: argparse.Namespace) -> int:
    heed_source(arguments)
    settings = accepted(load_config(arguments.config))
    if settings is None:
        return Exit.CONFIG
    names = list(settings.sources)
    name = arguments.source or (names[0] if len(names) == 1 else "")
    if name not in names:
        asked = f"{printable(name)} is no source." if name else "Which source?"
        say(f"{asked} There are: {', '.join(names) or 'none'}")
        return Exit.USAGE
    found = asyncio.run(_examined(settings, name, quiet=arguments.json))
    wrong = sum(finding.level == "error" for finding in found)
    if arguments.json:
        rows = [dataclasses.asdict(finding) for finding in found]
        print(json.dumps({"source": name, "ok": not wrong, "findings": rows}, ensure_ascii=False))
    else:
        say(_verdict(name, found, wrong))
    return Exit.PROBLEMS if wrong else Exit.OK


async def _examined(settings: Any, name: str, *, quiet: bool) -> list[Finding]:
    """Every finding, shown as soon as it is there."""
    from rich.console import Console

    from collector.doctor import examine

    console, found = Console(highlight=False), []
    async with aclosing(cast("Any", examine(settings, name))) as findings:
        async for finding in findings:
            found.append(finding)
            if not quiet:
                _show(console, finding)
    return found


def _show(console: Any, finding: Finding) -> None:
    from rich.text import Text

    sign, colour = _SIGNS[finding.level]
    line = Text.assemble((sign, colour), f" {finding.where:<11} {printable(finding.message)}")
    console.print(line, soft_wrap=True)
    if finding.hint and finding.level != "ok":
        console.print(Text(f"  {'':<11} → {printable(finding.hint)}"), soft_wrap=True)


def _verdict(name: str, found: list[Finding], wrong: int) -> str:
    doubts = sum(finding.level == "warning" for finding in found)
    if wrong:
        return f"{name}: {wrong} {'problem' if wrong == 1 else 'problems'} (✕); begin with the first."
    return f"{name} is well" + (f", with {doubts} remarks (▲)." if doubts else ".")
