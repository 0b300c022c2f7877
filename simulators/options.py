"""What `run` and `scenario` both understand on the command line, and the plan that it makes."""

import argparse
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from simulators import arguments
from simulators.errors import SimulatorError
from simulators.faces.base import NAMES
from simulators.faces.broker import parse
from simulators.security_options import add_security
from simulators.security_options import security as secured
from simulators.workshop import Plan

HOST = "address to listen on (default: this computer only)"


def add_common(parser: argparse.ArgumentParser) -> None:
    """Where to listen and write, how fast and how long."""
    add = parser.add_argument
    add("--host", default="127.0.0.1", help=HOST)
    add(
        "--port",
        type=arguments.port,
        default=0,
        help="first port to listen on, counted up; 0: free ones (default)",
    )
    add(
        "--advertise-host",
        default="",
        metavar="NAME",
        help="host that clients are told, where it is not --host",
    )
    add("--seed", type=int, help="same seed, same values (default: drawn, and told in the ready line)")
    add(
        "--speed",
        type=arguments.speed,
        help="simulated seconds per second (default 1); 0: time passes by 'advance'",
    )
    add("--start", type=arguments.moment, metavar="TIME", help="simulated start, ISO 8601 (default: now)")
    add("--broker", metavar="mqtt://HOST:PORT", help="MQTT broker to use (default: a built-in one)")
    add("--dir", type=Path, help="folder for the files below (default: a fresh temporary one)")
    _add_rest(add)


def _add_rest(add: Any) -> None:
    add("--truth", type=Path, help="ground truth, JSON Lines (default: DIR/truth.jsonl)")
    add("--config", type=Path, help="matching collector configuration (default: DIR/collector.yaml)")
    add("--duration", type=arguments.seconds, help="stop after so much simulated time: 30s, 5m, 1h")
    add("--max-changes", type=arguments.count, help="stop changing after N changes per machine; keep serving")
    add("--grace", type=arguments.seconds, help="how long readers may take to fetch the last values (3s)")
    add("--hold", action="store_true", help="start the clock at the line 'go' on stdin ('stop' stops)")
    add("--leash", action="store_true", help="end when stdin is closed, with whoever has started this")
    add(
        "--face",
        action="append",
        default=[],
        metavar="[ID=]FACE",
        help=f"of: {', '.join(NAMES)} (default: the kind's own)",
    )
    add(
        "--fault",
        action="append",
        default=[],
        type=arguments.fault,
        metavar="FAULT",
        help="MACHINE[.SIGNAL]:FAULT[=AMOUNT][@START][+LENGTH], see README",
    )
    add(
        "--faults",
        action="store_true",
        help="put a proxy before every endpoint, for faults of the communication",
    )
    add(
        "--control",
        type=arguments.port,
        nargs="?",
        const=0,
        metavar="PORT",
        help="HTTP control API on 127.0.0.1",
    )
    add("--beside", action="store_true", help="write a configuration that is read together with another one")
    add_security(add)


def apply(options: argparse.Namespace, plan: Plan) -> Plan:
    """The plan with what the command line says; a refused one leaves no folder behind."""
    broker = parse(options.broker) if options.broker else None
    worn = {**plan.faces, **faces(options.face, [machine for _, machine in plan.machines])}
    faults = (*plan.faults, *options.fault)
    chosen: dict[str, Any] = {
        "speed": options.speed, "duration_s": options.duration, "max_changes": options.max_changes, "grace_s": options.grace,
        "start_ns": options.start, "seed": options.seed, "broker": broker, "control": options.control,
    }  # fmt: skip
    security = secured(options, plan.security)
    folder: Path = options.dir or Path(tempfile.mkdtemp(prefix="shopfloor-sim-"))
    return replace(
        plan,
        truth=(options.truth or folder / "truth.jsonl").absolute(),
        config=(options.config or folder / "collector.yaml").absolute(),
        host=options.host, port=options.port, hold=options.hold, leash=options.leash, advertise=options.advertise_host,
        faces=worn, faults=faults, faulty=options.faults or plan.faulty, beside=options.beside,
        security=security,
        **{name: value for name, value in chosen.items() if value is not None},
    )  # fmt: skip


def drawn() -> int:
    """A seed where none is given."""
    return secrets.randbelow(2**31)


def faces(wanted: Sequence[str], machines: Sequence[str]) -> Mapping[str, str]:
    """`mqtt` for all, `cnc-1=mqtt` for one; the later wins."""
    worn: dict[str, str] = {}
    for text in wanted:
        machine, equals, face = text.rpartition("=")
        if face not in NAMES:
            raise SimulatorError(f"--face {text}: there are {', '.join(NAMES)}.")
        if equals and machine not in machines:
            raise SimulatorError(
                f"--face {text}: there is no machine '{machine}', only {', '.join(machines)}."
            )
        worn.update({machine: face} if equals else dict.fromkeys(machines, face))
    return worn
