"""The command line: `run` machines until told to stop, `list` the kinds there are, `replay` recordings,
`verify` what was stored, `proxy` between any two peers, a `sparkplug` edge that can break the rules.

Data goes to stdout as JSON lines, words go to stderr: a test or another program starts this, reads one line, and knows
where everything listens.
"""

import argparse
import asyncio
import logging
import re
import secrets
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simulators import arguments
from simulators.errors import SimulatorError
from simulators.faces.broker import parse
from simulators.machines import KINDS, kind
from simulators.proxy import cli as proxy
from simulators.replay import cli as replay
from simulators.sparkplug import cli as sparkplug
from simulators.verify import cli as verify
from simulators.workshop import Plan


def main(given: Sequence[str] | None = None) -> int:
    """Run the command; the exit code: 0 done or stopped, 1 could not run, 2 wrong usage."""
    options = _parser().parse_args(given)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")
    for library in ("asyncua", "amqtt", "transitions"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    try:
        return int(options.main(options))
    except SimulatorError as error:
        sys.stderr.write(f"simulators: {error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulators", description="Simulated machines with a ground truth."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    kinds = commands.add_parser("list", help="the kinds of machine and their signals")
    kinds.add_argument("--json", action="store_true", help="one JSON object on stdout")
    kinds.set_defaults(main=_list)
    _add_run(commands)
    for command in (replay, proxy, verify, sparkplug):
        command.add(commands)
    return parser


def _add_run(commands: Any) -> None:
    run = commands.add_parser("run", help="run machines until SIGTERM, Ctrl-C or --duration")
    run.add_argument(
        "machines", nargs="+", metavar="KIND[=ID]", type=_machine, help=f"of: {', '.join(KINDS)}"
    )
    run.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this computer only)")
    run.add_argument(
        "--port",
        type=arguments.port,
        default=0,
        help="first port to listen on, counted up; 0: free ones (default)",
    )
    run.add_argument(
        "--seed", type=int, help="same seed, same values (default: drawn, and told in the ready line)"
    )
    run.add_argument(
        "--speed", type=arguments.positive, default=1.0, help="simulated seconds per second (default 1)"
    )
    run.add_argument(
        "--start", type=arguments.moment, metavar="TIME", help="simulated start, ISO 8601 (default: now)"
    )
    run.add_argument(
        "--broker", metavar="mqtt://HOST:PORT", help="MQTT broker to use (default: a built-in one)"
    )
    run.add_argument("--dir", type=Path, help="folder for the files below (default: a fresh temporary one)")
    run.add_argument("--truth", type=Path, help="ground truth, JSON Lines (default: DIR/truth.jsonl)")
    run.add_argument(
        "--config", type=Path, help="matching collector configuration (default: DIR/collector.yaml)"
    )
    run.add_argument(
        "--duration", type=arguments.seconds, help="stop after so much simulated time: 30s, 5m, 1h"
    )
    run.add_argument(
        "--max-changes", type=arguments.count, help="stop changing after N changes per machine; keep serving"
    )
    run.add_argument(
        "--hold", action="store_true", help="start the clock at the line 'go' on stdin ('stop' stops)"
    )
    run.set_defaults(main=_run)


def _list(options: argparse.Namespace) -> int:
    from simulators.runner import say

    models = [kind(name) for name in KINDS]
    if options.json:
        say(
            {
                "machines": [
                    {"kind": m.kind, "title": m.title, "interface": m.interface, "signals": _signals(m)}
                    for m in models
                ]
            }
        )
        return 0
    for model in models:
        sys.stdout.write(
            f"{model.kind:12} {model.title}: {len(model.signals)} signals over {model.interface}\n"
        )
    return 0


def _signals(model: type) -> list[dict[str, object]]:
    return [
        {
            "name": s.name,
            "type": s.type.value,
            "unit": s.unit,
            "low": s.low,
            "high": s.high,
            "description": s.description,
        }
        for s in model.signals  # type: ignore[attr-defined]
    ]


def _run(options: argparse.Namespace) -> int:
    from simulators.runner import run

    plan = _plan(options)
    return asyncio.run(run(plan))


def _plan(options: argparse.Namespace) -> Plan:
    machines = _named(options.machines)
    broker = parse(options.broker) if options.broker else None
    folder: Path = options.dir or Path(
        tempfile.mkdtemp(prefix="shopfloor-sim-")
    )  # last: a refused run leaves nothing
    return Plan(
        machines=machines,
        seed=secrets.randbelow(2**31) if options.seed is None else options.seed,
        truth=(options.truth or folder / "truth.jsonl").absolute(),
        config=(options.config or folder / "collector.yaml").absolute(),
        speed=options.speed,
        host=options.host,
        port=options.port,
        broker=broker,
        duration_s=options.duration,
        max_changes=options.max_changes,
        start_ns=options.start,
        hold=options.hold,
    )


def _named(wanted: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Number the machines without an id: `cnc cnc` are cnc-1 and cnc-2."""
    numbers: Counter[str] = Counter()
    named = []
    for name, given in wanted:
        kind(name)
        if not given:
            numbers[name] += 1
        named.append((name, given or f"{name}-{numbers[name]}"))
    double = [machine for machine, times in Counter(machine for _, machine in named).items() if times > 1]
    if double:
        raise SimulatorError(
            f"two machines would be called '{double[0]}'. Name one of them: {named[0][0]}=another-id"
        )
    return tuple(named)


def _machine(text: str) -> tuple[str, str]:
    name, equals, given = text.partition("=")
    if equals and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", given):
        raise argparse.ArgumentTypeError(f"'{given}' is no machine id: letters, digits, - and _ only")
    if given in ("mqtt", "broker"):
        raise argparse.ArgumentTypeError(f"'{given}' is the broker's name; call the machine otherwise")
    return name, given
