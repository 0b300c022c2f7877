"""`collector check`: everything that can be known about a configuration, offline; with --online also what the peers say."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from collector.cli.common import add_config, load_config, say
from collector.cli.exits import Exit
from collector.words import printable

if TYPE_CHECKING:
    from adapters.base import Finding
    from config.load import Loaded


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "check", help="check the configuration; with --online also every source and database"
    )
    add_config(parser)
    parser.add_argument(
        "--online",
        action="store_true",
        help="connect, resolve every node, subscribe every topic, probe every sink",
    )
    parser.add_argument("--json", action="store_true", help="data for scripts")
    parser.set_defaults(main=main)


def main(arguments: argparse.Namespace) -> int:
    loaded = load_config(arguments.config)
    findings: Sequence[Finding] = ()
    if arguments.online and loaded.settings is not None:
        from collector.probe import probe_all

        findings = asyncio.run(probe_all(loaded.settings))
    (_print_json if arguments.json else _print)(loaded, findings)
    failed = loaded.settings is None or any(finding.level == "error" for finding in findings)
    return Exit.PROBLEMS if failed else Exit.OK


def _print(loaded: Loaded, findings: Sequence[Finding]) -> None:
    from config.explain import explain, render

    if loaded.settings is not None:
        for line in explain(loaded.settings):
            print(line)
    if loaded.problems:
        say(render(loaded.problems))
    for finding in findings:
        print(printable(f"{_MARK[finding.level]} {finding.where}: {finding.message}"))
        if finding.hint:
            print(printable(f"    {finding.hint}"))
    if loaded.settings is not None and not loaded.problems:
        say("The configuration is in order.")


_MARK = {"ok": "ok     ", "warning": "warning", "error": "ERROR  "}


def _print_json(loaded: Loaded, findings: Sequence[Finding]) -> None:
    problems = [{**dataclasses.asdict(problem), "file": str(problem.file)} for problem in loaded.problems]
    print(
        json.dumps(
            {
                "ok": loaded.settings is not None,
                "problems": problems,
                "findings": [dataclasses.asdict(finding) for finding in findings],
            },
            ensure_ascii=False,
        )
    )
