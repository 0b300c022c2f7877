"""`collector reload`: the running collector reads its configuration again and applies what changed, or says why not."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from collector.audit import note
from collector.cli.common import add_state, buffer_file, config_paths, say
from collector.cli.exits import Exit
from collector.control import NotRunning, ask


def add(commands: Any) -> None:
    parser = commands.add_parser("reload", help="apply a changed configuration to the running collector")
    add_state(parser)
    parser.add_argument(
        "--no-probe", action="store_true", help="do not ask new or changed machines and databases first"
    )
    parser.add_argument("--json", action="store_true", help="data for scripts")
    parser.set_defaults(main=main)


def main(arguments: argparse.Namespace) -> int:
    folder = _state_folder(arguments)
    if folder is None:
        return Exit.CONFIG
    try:
        outcome = asyncio.run(_ask(folder, probe=not arguments.no_probe))
    except NotRunning as error:
        say(f"{error}: start it with `collector run`")
        return Exit.UNAVAILABLE
    note(folder, "reloaded", outcome=outcome.get("outcome"))
    if arguments.json:
        print(json.dumps(outcome, ensure_ascii=False))
    else:
        say("\n".join(words_of(outcome)))
    return Exit.OK if outcome.get("outcome") in ("applied", "unchanged") else Exit.CONFIG


def _state_folder(arguments: argparse.Namespace) -> Path | None:
    """A configuration that is broken now must still reach the collector that runs: it names the folder as far as it can."""
    if arguments.state is not None:
        return Path(arguments.state)
    from config.load import state_folder

    known = state_folder(config_paths(arguments.config))
    if known is not None:
        return known
    buffer = buffer_file(arguments)
    return None if buffer is None else buffer.parent


async def _ask(folder: Path, *, probe: bool) -> dict[str, Any]:
    async for row in ask(folder, "reload", probe=probe):
        return row
    raise NotRunning("the collector ended before it answered")


def words_of(outcome: dict[str, Any]) -> list[str]:
    """The outcome for a person: what happened, to whom, and what to do about each problem."""
    if "error" in outcome:
        return [str(outcome["error"])]
    lines = []
    for problem in outcome["problems"]:
        lines.append(f"{problem['where']}: {problem['level']}: {problem['message']}")
        lines += [f"    {problem['hint']}"] if problem["hint"] else []
    if outcome["outcome"] == "rejected":
        asked = " (apply it without asking them: --no-probe)" if outcome["by_peer"] else ""
        return [*lines, f"Rejected: the old configuration goes on{asked}."]
    for word in ("started", "restarted", "stopped"):
        lines += [f"{word}: {', '.join(outcome[word])}"] if outcome[word] else []
    if outcome["needs_restart"]:
        lines.append(f"waits for a restart of the collector: {', '.join(outcome['needs_restart'])}")
    nothing = outcome["outcome"] == "unchanged"
    return [*lines, "Nothing to apply." if nothing else "The new configuration is at work."]
