"""The command `replay`: what the command line offers; the rest is imported when it runs."""

import argparse
import asyncio
import re
import tempfile
from pathlib import Path
from typing import Any

from simulators import arguments


def add(commands: Any) -> None:
    """The command `replay`."""
    parser = commands.add_parser("replay", help="play a recording: SHDR (.txt), CSV, JSON Lines, Parquet")
    parser.add_argument(
        "file", type=Path, help="SHDR lines, or a table with time, machine, signal, value, quality"
    )
    parser.add_argument("--face", choices=("mqtt", "opcua"), default="mqtt", help="how it is spoken (mqtt)")
    parser.add_argument(
        "--form",
        choices=("auto", "json"),
        default="auto",
        help="json: SHDR over MQTT as JSON per value, not as lines",
    )
    parser.add_argument(
        "--machine",
        type=_machine,
        metavar="ID",
        help="whose values they are, if the file does not say (its name)",
    )
    _add_time(parser)
    _add_place(parser)
    parser.set_defaults(main=main)


def _add_time(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--speed",
        type=_speed,
        default=1.0,
        help="recorded seconds per second (1); 0: as fast as they are taken",
    )
    parser.add_argument(
        "--loop",
        action="store_true",
        help="again from the start, each round later by the length of the recording",
    )
    parser.add_argument(
        "--shift",
        type=_shift,
        metavar="now|TIME",
        help="the first value gets this time (default: times as recorded)",
    )
    parser.add_argument(
        "--max-values", type=arguments.count, help="stop after about so many values; keep serving"
    )


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--broker", metavar="mqtt://HOST:PORT", help="MQTT broker to use (default: a built-in one)"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this computer only)"
    )
    parser.add_argument(
        "--port", type=arguments.port, default=0, help="port to listen on; 0: a free one (default)"
    )
    parser.add_argument(
        "--dir", type=Path, help="folder for truth.jsonl and collector.yaml (default: a fresh temporary one)"
    )
    parser.add_argument("--hold", action="store_true", help="start at the line 'go' on stdin ('stop' stops)")
    parser.add_argument("--leave", action="store_true", help="end after the last value instead of serving on")


def main(options: argparse.Namespace) -> int:
    """Play."""
    from simulators.faces.broker import parse
    from simulators.replay.run import Plan, run

    broker = parse(options.broker) if options.broker else None
    folder = options.dir or Path(tempfile.mkdtemp(prefix="shopfloor-replay-"))
    plan = Plan(
        file=options.file,
        truth=(folder / "truth.jsonl").absolute(),
        config=(folder / "collector.yaml").absolute(),
        face=options.face,
        form=options.form,
        machine=options.machine or "",
        speed=options.speed,
        loop=options.loop,
        shift=options.shift,
        host=options.host,
        port=options.port,
        broker=broker,
        hold=options.hold,
        leave=options.leave,
        limit=options.max_values,
    )
    return asyncio.run(run(plan))


def _machine(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no machine id: letters, digits, - and _ only")
    return text


def _speed(text: str) -> float:
    return 0.0 if text == "0" else arguments.positive(text)


def _shift(text: str) -> str | int:
    return text if text == "now" else arguments.moment(text)
