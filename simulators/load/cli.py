"""The command line of the load: JSON lines on stdout (`ready`, `emitting`, `finished`), words on stderr."""

import argparse
import asyncio
import sys
from collections.abc import Coroutine, Sequence
from typing import Any

from simulators.errors import SimulatorError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code: 0 done or stopped, 1 could not run, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        made = _opcua(options) if options.command == "opcua" else _mqtt(options)
        return asyncio.run(made)
    except SimulatorError as error:
        sys.stderr.write(f"simulators.load: {error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulators.load", description="Values by the thousand.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command in (_add_opcua(commands), _add_mqtt(commands)):
        command.add_argument("--stay", action="store_true", help="after the report, go on until told to stop")
        command.add_argument("--seconds", type=float, default=15.0, help="of data (default 15)")
        command.add_argument("--settle", type=float, default=0.5, help="seconds before the first value")
        command.add_argument(
            "--drain", type=float, default=10.0, help="seconds for the last acknowledgements"
        )
        command.add_argument("--seed", type=int, default=42, help="of the shuffled order")
    return parser


def _add_opcua(commands: Any) -> argparse.ArgumentParser:
    opcua: argparse.ArgumentParser = commands.add_parser(
        "opcua", help="an OPC UA server whose variables all change at a fixed rate"
    )
    opcua.add_argument("--variables", type=int, default=1000, help="up to 100000 (default 1000)")
    opcua.add_argument("--hz", type=int, default=10, help="changes of each variable per second (default 10)")
    opcua.add_argument("--per-notification", type=int, default=1000, help="values per message (default 1000)")
    opcua.add_argument(
        "--order", choices=("repeating", "shuffled"), default="repeating", help="of the values"
    )
    opcua.add_argument("--queue", type=float, default=10.0, help="seconds of data kept for a slow client")
    opcua.add_argument("--types", choices=("double", "mixed"), default="double", help="of the variables")
    opcua.add_argument(
        "--status", action="store_true", help="a status code with every value, one in 100 uncertain"
    )
    opcua.add_argument("--picoseconds", action="store_true", help="behind every time stamp")
    opcua.add_argument("--no-server-time", dest="server_time", action="store_false", help="source time only")
    opcua.add_argument(
        "--subscribers", type=int, default=1, help="complete sets of items to wait for (default 1)"
    )
    opcua.add_argument("--port", type=int, default=0, help="0: a free one (default)")
    return opcua


def _add_mqtt(commands: Any) -> argparse.ArgumentParser:
    mqtt: argparse.ArgumentParser = commands.add_parser(
        "mqtt", help="a publisher of JSON or Sparkplug B at a fixed rate"
    )
    mqtt.add_argument("--broker", required=True, metavar="mqtt://HOST:PORT")
    mqtt.add_argument("--topics", type=int, default=1000, help="up to 100000 (default 1000)")
    mqtt.add_argument("--rate", type=int, default=10_000, help="messages per second (default 10000)")
    mqtt.add_argument(
        "--form", choices=("json", "sparkplug"), default="json", help="sparkplug: each topic is an edge node"
    )
    mqtt.add_argument("--values", type=int, help="in each message (default: 1 in JSON, 10 in Sparkplug)")
    mqtt.add_argument("--prefix", help="topics are PREFIX/v00000 (load/m1); in Sparkplug the group id (load)")
    mqtt.add_argument("--qos", type=int, choices=(0, 1), help="default: 1 for JSON, 0 for Sparkplug")
    mqtt.add_argument(
        "--window", type=int, default=5000, help="messages without PUBACK at most (default 5000)"
    )
    return mqtt


def _opcua(options: argparse.Namespace) -> Coroutine[Any, Any, int]:
    from simulators.load.opcua import Load
    from simulators.load.opcua_run import Run, run
    from simulators.load.sheet import Fields

    load = Load(
        variables=options.variables,
        hz=options.hz,
        per_notification=options.per_notification,
        order=options.order,
        queue=options.queue,
        seed=options.seed,
        types=options.types,
        fields=Fields(options.status, options.server_time, options.picoseconds),
        subscribers=options.subscribers,
    )
    how = Run(options.port, options.seconds, options.settle, options.drain, options.stay)
    return run(load, how)


def _mqtt(options: argparse.Namespace) -> Coroutine[Any, Any, int]:
    from simulators.load.mqtt import Publishing, Run, run

    json = options.form == "json"
    what = Publishing(
        topics=options.topics,
        rate=options.rate,
        prefix=options.prefix or ("load/m1" if json else "load"),
        qos=int(json) if options.qos is None else options.qos,
        window=options.window,
        form=options.form,
        values=(1 if json else 10) if options.values is None else max(1, options.values),
    )
    how = Run(options.seconds, options.settle, options.drain, options.stay)
    return run(options.broker, what, how)
