"""`python -m benchmarks NAME…`: measures, prints a table for people or JSON for scripts."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from benchmarks.decode import decode
from benchmarks.encode import encode
from benchmarks.journal import journal
from benchmarks.load import load
from benchmarks.mqtt import mqtt, sparkplug
from benchmarks.opcua import opcua
from benchmarks.process import OTHERS, CannotMeasure, on_core
from benchmarks.returns import returns
from benchmarks.row import Row, Wish, table
from benchmarks.secure import secure

BENCHMARKS: Mapping[str, Callable[[Wish], Iterator[Row]]] = {
    "opcua": opcua,
    "load": load,
    "secure": secure,
    "returns": returns,
    "mqtt": mqtt,
    "sparkplug": sparkplug,
    "journal": journal,
    "encode": encode,
    "decode": decode,
}

FIELDS = ("status", "picoseconds", "no-server-time")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 measured, 1 could not measure, 2 wrong usage, 130 interrupted."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupted)  # the same way out as Ctrl-C: nothing is left running
    rows: list[Row] = []
    try:
        with on_core(OTHERS):
            for name in options.names:
                for row in BENCHMARKS[name](_wish(options)):
                    rows.append(row)
                    _say(f"{row.name}: done")
    except CannotMeasure as error:
        _say(f"benchmarks: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps({"rows": [asdict(row) for row in rows]}) if options.json else table(rows))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measured, beside a baseline.")
    parser.add_argument("names", nargs="+", metavar="NAME", choices=BENCHMARKS, help=", ".join(BENCHMARKS))
    parser.add_argument("--json", action="store_true", help="rows as JSON on stdout")
    parser.add_argument("--seconds", type=float, default=10.0, help="of data (default 10)")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--variables", type=int, default=1000, help="signals (default 1000)")
    parser.add_argument("--hz", type=int, default=10, help="values per signal and second (default 10)")
    parser.add_argument(
        "--values", type=int, default=0, help="MQTT: in each message (default 1, Sparkplug 10)"
    )
    parser.add_argument("--per-notification", type=int, default=1000, help="OPC UA: values per message")
    parser.add_argument("--order", choices=("repeating", "shuffled"), default="repeating", help="OPC UA")
    parser.add_argument("--types", choices=("double", "mixed"), default="double", help="OPC UA")
    parser.add_argument("--fields", nargs="*", default=[], choices=FIELDS, help="OPC UA: beside the values")
    parser.add_argument("--away", type=float, default=10.0, help="returns: s that the server is gone")
    parser.add_argument("--no-baseline", dest="baseline", action="store_false", help="the collector alone")
    parser.add_argument("--profile", default="", metavar="FILE", help="run the collector under cProfile")
    return parser


def _wish(options: argparse.Namespace) -> Wish:
    return Wish(
        seconds=options.seconds,
        seed=options.seed,
        variables=options.variables,
        hz=options.hz,
        values=options.values,
        per_notification=options.per_notification,
        order=options.order,
        types=options.types,
        fields=tuple(f"--{name}" for name in options.fields),
        away=options.away,
        baseline=options.baseline,
        profile=str(Path(options.profile).resolve()) if options.profile else "",
    )


def _interrupted(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
