"""The command line: `run` machines until told to stop, or a `scenario`; `list` the kinds there are, `replay` recordings,
`verify` what was stored, `proxy` between any two peers, a `sparkplug` edge that can break the rules.

Data goes to stdout as JSON lines, words go to stderr: a test or another program starts this, reads one line, and knows
where everything listens.
"""

import argparse
import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from simulators import arguments, health, options
from simulators.errors import SimulatorError
from simulators.faces.base import NAMES
from simulators.faults.catalogue import COMMUNICATION, SENSOR
from simulators.machines import KINDS, kind
from simulators.proxy import cli as proxy
from simulators.replay import cli as replay
from simulators.scenario import cli as scenario
from simulators.sparkplug import cli as sparkplug
from simulators.verify import cli as verify
from simulators.workshop import Plan


def main(given: Sequence[str] | None = None) -> int:
    """Run the command; the exit code: 0 done or stopped, 1 could not run, 2 wrong usage."""
    chosen = _parser().parse_args(given)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")
    for library in ("asyncua",):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    try:
        return int(chosen.main(chosen))
    except SimulatorError as error:
        sys.stderr.write(f"simulators: {error}\n")
        return 1
    except KeyboardInterrupt:  # before there was anything that could be stopped in order
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulators", description="Simulated machines with a ground truth."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    kinds = commands.add_parser("list", help="the kinds of machine and their signals")
    kinds.add_argument("--json", action="store_true", help="one JSON object on stdout")
    kinds.set_defaults(main=_list)
    _add_run(commands)
    for command in (scenario, replay, proxy, verify, sparkplug, health):
        command.add(commands)
    return parser


def _add_run(commands: Any) -> None:
    run = commands.add_parser("run", help="run machines until SIGTERM, Ctrl-C or --duration")
    run.add_argument(
        "machines", nargs="+", metavar="KIND[=ID]", type=_machine, help=f"of: {', '.join(KINDS)}"
    )
    options.add_common(run)
    run.set_defaults(main=_run)


def _list(chosen: argparse.Namespace) -> int:
    from simulators.runner import say

    models = [kind(name) for name in KINDS]
    if chosen.json:
        say(
            {
                "machines": [
                    {
                        "kind": m.kind,
                        "title": m.title,
                        "interface": m.interface,
                        "signals": _signals(m),
                        "faults": dict(m.process_faults),
                        "settings": _settings(m),
                        "alarms": [asdict(each) for each in m.alarms],
                        "history": m.remembered,
                    }
                    for m in models
                ],
                "faces": NAMES,
                "faults": {"sensor": dict(SENSOR), "communication": dict(COMMUNICATION)},
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


def _settings(model: type) -> list[dict[str, object]]:
    """What can be written, with the range that counts."""
    ranges = {s.name: (s.low, s.high) for s in model.signals}  # type: ignore[attr-defined]
    return [
        {
            **asdict(each),
            "low": ranges[each.signal][0] if each.low is None else each.low,
            "high": ranges[each.signal][1] if each.high is None else each.high,
        }
        for each in model.settings  # type: ignore[attr-defined]
    ]


def _run(given: argparse.Namespace) -> int:
    from simulators.runner import run

    return asyncio.run(run(_plan(given)))


def _plan(given: argparse.Namespace) -> Plan:
    machines = _named(given.machines)
    plan = Plan(machines=machines, seed=options.drawn(), truth=Path(), config=Path())
    return options.apply(given, plan)


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
    return name, arguments.machine_id(given) if equals else given
