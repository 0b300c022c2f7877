"""`make acceptance`: `python -m tests.acceptance --minutes 10`. A table per face and store; exit 1 where anything is wrong."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.acceptance.judge import COUNTS, Cause, Line, causes, faults, lines, standstills
from tests.acceptance.run import WORKSHOP, ran, stretched

Say = Callable[[str], None]


def main() -> int:
    options = _options()
    scenario = stretched(options.scenario, options.minutes)
    if options.dir is not None:
        options.dir.mkdir(parents=True)
        return int(not accepted(options.dir, scenario, _say, own_broker=options.own_broker))
    with tempfile.TemporaryDirectory(prefix="acceptance-") as made:
        return int(not accepted(Path(made), scenario, _say, own_broker=options.own_broker))


def accepted(folder: Path, scenario: Mapping[str, Any], say: Say, *, own_broker: bool = False) -> bool:
    """One run, told line by line: is every value stored, or explained, and every gap record at a fault?"""
    with ran(folder, scenario, say, own_broker=own_broker) as done:
        table = list(lines(done, faces(scenario)))
    injected = list(faults(done.truth))
    gaps = causes(folder / "export.jsonl", [*injected, *standstills(done)])
    say(f"{len(injected)} faults were injected: {', '.join(sorted({each.name for each in injected}))}.")
    _tell_gaps(gaps, say)
    _tell_table(table, say)
    unaccounted = done.books["unaccounted"]
    say(f"unaccounted: {unaccounted}; gap records without a fault: {sum(not gap.faults for gap in gaps)}")
    return all(line.ok for line in table) and all(gap.faults for gap in gaps) and not unaccounted


def faces(scenario: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    """Machines by face."""
    worn: dict[str, list[str]] = defaultdict(list)
    for machine in scenario["machines"]:
        worn[machine["face"]].append(machine["id"])
    return worn


def _tell_gaps(gaps: Sequence[Cause], say: Say) -> None:
    say(f"{len(gaps)} gap records:")
    for gap in gaps:
        why = ", ".join(sorted({f"{each.machine}:{each.name}" for each in gap.faults})) or "✖ NO FAULT"
        say(f"  {gap.source:<8}{(gap.ends - gap.begins) / 1e9:>9.2f} s  {gap.reason:<24} {why}")


def _tell_table(table: Sequence[Line], say: Say) -> None:
    say(f"{'face':<10}{'store':<10}" + "".join(f"{name:>10}" for name in COUNTS))
    for line in table:
        counts = "".join(f"{line.counts[name]:>10}" for name in COUNTS)
        say(f"{line.face:<10}{line.store:<10}{counts}   {'✔' if line.ok else '✖ FAILED'}")
    for line in table:
        if not line.ok:
            say(f"\n{line.face} in {line.store}:\n{line.words}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.acceptance", description="A workshop with all faults beside the collector."
    )
    parser.add_argument("--minutes", type=float, help="instead of as long as the scenario says")
    parser.add_argument("--scenario", type=Path, default=WORKSHOP)
    parser.add_argument("--own-broker", action="store_true", help="the simulators' instead of mosquitto")
    parser.add_argument("--dir", type=Path, help="keep everything in this new folder")
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
