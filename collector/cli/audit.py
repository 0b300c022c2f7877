"""`collector audit`: what was trusted, reloaded, released, purged, replayed, rewound, backfilled, started and stopped, by whom and when; and whether that is untouched."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from collector.cli.common import add_state, buffer_file, say
from collector.cli.exits import Exit
from collector.words import printable

_OWN = ("at", "who", "what", "before")


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "audit", help="who decided what and when, and whether the record is untouched"
    )
    add_state(parser)
    parser.add_argument("--json", action="store_true", help="data for scripts")
    parser.set_defaults(main=main)


def main(arguments: argparse.Namespace) -> int:
    from collector.cli.run import in_words

    buffer = buffer_file(arguments)
    return Exit.CONFIG if buffer is None else in_words(lambda: _shown(buffer.parent, arguments))


def _shown(state: Path, arguments: argparse.Namespace) -> int:
    from collector.audit import trail

    found = trail(state)
    if arguments.json:
        rows = [{key: value for key, value in row.items() if key != "before"} for row in found.rows]
        print(json.dumps({"ok": not found.broken, "broken": found.broken, "last": found.last, "rows": rows}))
    else:
        for row in found.rows:
            print(printable(_line(row)))
    if found.broken:
        places = ", ".join(f"{name} line {number}" for name, number in found.broken[:5])
        say(
            f"The record was changed, or damaged: {places}. What stands behind it may be true; what is missing is not known."
        )
        return Exit.PROBLEMS
    if not found.rows:
        say(f"Nothing is recorded in {state} yet.")
    elif not arguments.json:
        say(f"{len(found.rows)} entries, unbroken; the last hash is {found.last[:16]}…")
    return Exit.OK


def _line(row: dict[str, Any]) -> str:
    about = " ".join(f"{key}={value}" for key, value in row.items() if key not in _OWN)
    return f"{row.get('at', '?')}  {row.get('who', '?'):<10} {row.get('what', '?'):<18} {about}"
