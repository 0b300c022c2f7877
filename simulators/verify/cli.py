"""The command `verify`: exit code 0 when all is well, 1 when something is missing, spurious, altered or late, 2 when it cannot tell."""

import argparse
import sys
from pathlib import Path
from typing import Any

from simulators.arguments import seconds
from simulators.errors import SimulatorError


def add(commands: Any) -> None:
    """The command `verify`."""
    parser = commands.add_parser("verify", help="compare a ground truth with what was stored")
    parser.add_argument("truth", type=Path, help="truth.jsonl of a run")
    parser.add_argument(
        "--against",
        required=True,
        metavar="DATA",
        help=".csv, .jsonl or .parquet as `collector export` writes them, or http://host:8086?db=name",
    )
    parser.add_argument("--json", action="store_true", help="numbers as one JSON object on stdout")
    parser.add_argument("--gaps", type=Path, help="gap records, JSON Lines (those in DATA are used anyway)")
    parser.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="NAME=MACHINE,…",
        help="machines behind a source of gap records",
    )
    parser.add_argument(
        "--machine",
        action="append",
        default=[],
        metavar="ID",
        help="only of this machine (may be given again)",
    )
    parser.add_argument(
        "--window", type=seconds, default=60.0, help="how far away a value is late, not lost (60s)"
    )
    parser.add_argument(
        "--allow-repeats", action="store_true", help="values without a time may be stored twice"
    )
    parser.add_argument(
        "--allow-late", action="store_true", help="a wrong time is reported and is no failure"
    )
    parser.add_argument(
        "--show", type=int, default=10, metavar="N", help="differences listed of each sort (10)"
    )
    parser.set_defaults(main=main)


def main(options: argparse.Namespace) -> int:
    """Compare and report."""
    from simulators.runner import say
    from simulators.verify.verdict import report

    try:
        verdict = _verdict(options)
    except SimulatorError as error:
        sys.stderr.write(f"simulators: {error}\n")
        return 2
    if options.json:
        say(verdict.numbers())
    (sys.stderr if options.json else sys.stdout).write("".join(f"{line}\n" for line in report(verdict)))
    return 0 if verdict.clean(allow_late=options.allow_late) else 1


def _verdict(options: argparse.Namespace) -> Any:
    from simulators.verify.columns import Coder
    from simulators.verify.compare import How, compare
    from simulators.verify.gaps import Gaps, read_gaps
    from simulators.verify.sources import EVERYBODY, excuses, read_data, read_truth

    coder, gaps = Coder(), Gaps()
    only = frozenset(options.machine) or EVERYBODY
    truth = read_truth(options.truth, coder, only)
    data = read_data(options.against, coder, gaps, only, truth.restated)
    if options.gaps is not None:
        gaps.extend(read_gaps(options.gaps))
    spans, unknown = excuses(gaps, truth, coder, options.source)
    if unknown:
        sys.stderr.write(
            f"simulators: gap records of {', '.join(sorted(unknown))} excuse nothing: whose they are is not known "
            "(--source NAME=MACHINE,…)\n"
        )
    how = How(round(options.window * 10**9), options.show, options.allow_repeats)
    arrays, again = truth.timed.arrays(), truth.restated.times
    return compare(coder, arrays, truth.bare, data.arrays(), excused=spans, how=how, again=again)
