"""The command `sparkplug`: what the command line offers; the rest is imported when it runs."""

import argparse
import asyncio
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from simulators import arguments

TYPES = ("plain", "all")


def add(commands: Any) -> None:
    """The command `sparkplug`."""
    parser = commands.add_parser("sparkplug", help="a Sparkplug B edge node that can break every rule")
    parser.add_argument(
        "--broker", metavar="mqtt://HOST:PORT", help="MQTT broker to use (needed, except with --list)"
    )
    parser.add_argument("--group", type=_word, default="plant", help="group id (default: plant)")
    parser.add_argument("--node", type=_word, default="cell", help="edge node id (default: cell)")
    parser.add_argument("--primary-host", type=_word, metavar="ID", help="wait for this host's STATE")
    parser.add_argument("--devices", type=_number, default=2, help="devices of the node (default 2)")
    parser.add_argument("--metrics", type=_number, default=10, help="metrics of each device (default 10)")
    parser.add_argument("--types", choices=TYPES, default="plain", help="plain: what a column can hold")
    _add_manner(parser)
    _add_time(parser)
    parser.set_defaults(main=main)


def _add_manner(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dialect", default="spec", help="how a known product speaks (--list)")
    parser.add_argument(
        "--habit", action="append", default=[], type=_habit, metavar="NAME=VALUE", help="one habit changed"
    )
    parser.add_argument(
        "--break",
        action="append",
        default=[],
        type=_break,
        dest="breaks",
        metavar="RULE[@STEP]",
        help="break this rule once, after so many steps (1)",
    )
    parser.add_argument("--list", action="store_true", help="rules, dialects and habits there are")


def _add_time(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--period", type=arguments.seconds, default=0.5, help="between two steps (default 500ms)"
    )
    parser.add_argument("--duration", type=arguments.seconds, help="stop after so long: 30s, 5m, 1h")
    parser.add_argument("--steps", type=arguments.count, help="stop changing after N steps; stay connected")
    parser.add_argument("--seed", type=int, help="same seed, same values (default: drawn, and told)")
    parser.add_argument("--truth", type=Path, help="ground truth, JSON Lines (default: a temporary file)")
    parser.add_argument("--hold", action="store_true", help="births only, until the line 'go' on stdin")


def main(options: argparse.Namespace) -> int:
    """Run the edge, or list what there is."""
    from simulators.errors import SimulatorError
    from simulators.faces.broker import parse
    from simulators.sparkplug.breaks import BREAKS
    from simulators.sparkplug.cell import PLAIN, STRUCTURED
    from simulators.sparkplug.edge import Place
    from simulators.sparkplug.habits import habits
    from simulators.sparkplug.run import Plan, run

    if options.list:
        return _list()
    if not options.broker:
        raise SimulatorError("sparkplug needs a broker: --broker mqtt://HOST:PORT")
    unknown = [rule for _, rule in options.breaks if rule not in BREAKS]
    if unknown:
        raise SimulatorError(f"--break {unknown[0]}: there are {', '.join(BREAKS)}.")
    place = Place(parse(options.broker), options.group, options.node, options.primary_host or "")
    manner = habits(options.dialect, dict(options.habit))
    plan = Plan(
        place=place,
        truth=(options.truth or _file()).absolute(),
        habits=manner,
        types=PLAIN if options.types == "plain" else (*PLAIN, *STRUCTURED),
        devices=options.devices,
        metrics=options.metrics,
        period=options.period,
        steps=options.steps,
        seconds=options.duration,
        seed=options.seed,
        breaks=tuple(options.breaks),
        hold=options.hold,
    )
    return asyncio.run(run(plan))


def _file() -> Path:
    return Path(tempfile.mkdtemp(prefix="shopfloor-sparkplug-")) / "truth.jsonl"


def _list() -> int:
    from dataclasses import fields

    from simulators.sparkplug.breaks import BREAKS
    from simulators.sparkplug.habits import DIALECTS, Habits

    lines = ["rules to break:"]
    lines += [f"  {name:26} {act.__doc__}" for name, act in BREAKS.items()]
    lines += ["dialects:", f"  {', '.join(DIALECTS)}", "habits (default):"]
    lines += [f"  {field.name}={getattr(Habits(), field.name)}" for field in fields(Habits)]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _word(text: str) -> str:
    if not text or re.search(r"[+/#\0]", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no Sparkplug id: any text without + / #")
    return text


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) > 10_000:
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 0 to 10000")
    return int(text)


def _habit(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"'{text}': write NAME=VALUE, such as sign=field")
    return name, value


def _break(text: str) -> tuple[int, str]:
    rule, _, step = text.partition("@")
    if step and not (step.isdecimal() and int(step)):
        raise argparse.ArgumentTypeError(f"'{text}': write RULE@STEP, such as seq-gap@20")
    return int(step or 1), rule
