"""`collector tap`: the values as they flow through the running collector, one line each."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from collector.cli.common import add_choice, add_state, buffer_file, say
from collector.cli.exits import Exit
from collector.control import NotRunning, ask


def add(commands: Any) -> None:
    parser = commands.add_parser("tap", help="print live values of the running collector")
    add_state(parser)
    add_choice(parser)
    parser.add_argument(
        "--count", type=int, metavar="N", default=0, help="stop after this many values (default: never)"
    )
    parser.add_argument("--json", action="store_true", help="data for scripts")
    parser.set_defaults(main=main)


def main(arguments: argparse.Namespace) -> int:
    buffer = buffer_file(arguments)
    if buffer is None:
        return Exit.CONFIG
    try:
        asyncio.run(_tap(buffer.parent, arguments))
    except NotRunning as error:
        say(f"{error}: start it with `collector run`")
        return Exit.UNAVAILABLE
    return Exit.OK


async def _tap(folder: Path, arguments: argparse.Namespace) -> None:
    from collector.live import line_of

    seen = 0
    async for row in ask(folder, "tap", machine=arguments.machine, signal=arguments.signal):
        if "error" in row:
            say(str(row["error"]))
            return
        print(json.dumps(row, ensure_ascii=False) if arguments.json else line_of(row), flush=True)
        seen += 1
        if arguments.count and seen >= arguments.count:
            return
