"""`collector demo`: a simulated workshop, read, buffered and stored, with one command and nothing else installed."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from collector.cli.common import accepted, load_config, log_to_stderr, say
from collector.cli.exits import Exit
from collector.cli.run import duration, guarded, stop_after

if TYPE_CHECKING:
    from config.settings import Settings

MACHINES = ("cnc", "energy", "compressor")
WITHOUT_TERMINAL = 30.0
SEAL_EVERY = 5.0
"""Seconds: visitors of a demonstration want to see files; a workshop wants few of them."""


def add(commands: Any) -> None:
    parser = commands.add_parser("demo", help="a simulated workshop, read and stored, with one command")
    parser.add_argument(
        "--for", dest="seconds", type=duration, metavar="TIME", help="stop after this time (default: Ctrl-C)"
    )
    parser.add_argument("--json", action="store_true", help="the books at the end as JSON on standard output")
    parser.add_argument(
        "--seed", type=int, default=42, help="the same seed gives the same machines (default: 42)"
    )
    parser.add_argument("--dir", type=Path, help="keep everything in this folder (default: a temporary one)")
    parser.add_argument(
        "--influx", metavar="URL", help="store in this InfluxDB too, such as http://localhost:8086"
    )
    parser.add_argument("--influx-org", default="demo")
    parser.add_argument("--influx-bucket", default="demo")
    parser.add_argument(
        "--influx-token", default="${env:INFLUX_TOKEN}", help="default: the environment's INFLUX_TOKEN"
    )
    parser.add_argument("--influx-api", choices=("v1", "v2"), default="v2", help="v1 for InfluxDB before 1.8")
    parser.set_defaults(main=main)


def main(arguments: argparse.Namespace) -> int:
    from collector.system import few_heaps

    if arguments.seconds is None and not sys.stdout.isatty():
        say(
            f"No terminal: the demo ends after {WITHOUT_TERMINAL:.0f} s. Choose with --for, such as --for 5min."
        )
        arguments.seconds = WITHOUT_TERMINAL
    live = sys.stderr.isatty() and not arguments.json
    few_heaps()
    log_to_stderr(quiet=live)

    with ExitStack() as stack:
        folder = arguments.dir or Path(stack.enter_context(TemporaryDirectory(prefix="shopfloor-demo-")))
        folder.mkdir(parents=True, exist_ok=True)
        return guarded(_demo(arguments, folder, live=live))


async def _demo(arguments: argparse.Namespace, folder: Path, *, live: bool) -> int:
    from collector.service import serve
    from collector.simulated import simulated
    from collector.terminal import live_terminal, progress_words

    stop = stop_after(None)
    async with simulated(MACHINES, folder, seed=arguments.seed) as workshop:
        settings = _settings(workshop.config, folder, arguments)
        if settings is None:
            return Exit.CONFIG
        if arguments.seconds is not None:  # from here on: how long simulators take to start is no part of it
            asyncio.get_running_loop().call_later(arguments.seconds, stop.set)
        books = await serve(settings, stop, live_terminal(settings) if live else progress_words)
    _report(books, arguments, folder)
    return Exit.OK if books["unaccounted"] == 0 else Exit.PROBLEMS


def _settings(config: Path, folder: Path, arguments: argparse.Namespace) -> Settings | None:
    files = [config]
    if arguments.influx:
        files.append(folder / "demo-influxdb.yaml")
        files[-1].write_text(_influx(arguments), encoding="utf-8")
    settings = accepted(load_config(files), warn=True)
    if settings is None or settings.history is None:
        return settings
    history = settings.history.model_copy(update={"seal_every": SEAL_EVERY})
    return settings.model_copy(update={"history": history})


def _influx(arguments: argparse.Namespace) -> str:
    target = {"type": "influxdb", "url": arguments.influx, "api": arguments.influx_api, "create": True}
    v2 = {"org": arguments.influx_org, "bucket": arguments.influx_bucket, "token": arguments.influx_token}
    target |= v2 if arguments.influx_api == "v2" else {"database": arguments.influx_bucket}
    return json.dumps({"version": 1, "sinks": [target]})  # JSON is YAML


def _report(books: dict[str, Any], arguments: argparse.Namespace, folder: Path) -> None:
    from collector.summary import table

    if arguments.json:
        print(json.dumps(books, ensure_ascii=False))
    else:
        print("\n".join(table(books)))
    if arguments.dir:
        say(f"Everything is in {folder}: look with  collector export {folder}/collector.yaml --machine cnc-1")
