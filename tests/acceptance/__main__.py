"""`make acceptance`: `python -m tests.acceptance --minutes 10`. A table per face and store; exit 1 where anything is wrong."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.acceptance.judge import COUNTS, Cause, Line, causes, faults, lines
from tests.acceptance.run import WORKSHOP, ran, stretched


def main() -> int:
    options = _options()
    if options.dir is not None:
        options.dir.mkdir(parents=True)
        return _run(options.dir, options)
    with tempfile.TemporaryDirectory(prefix="acceptance-") as made:
        return _run(Path(made), options)


def _run(folder: Path, options: argparse.Namespace) -> int:
    scenario = stretched(options.scenario, options.minutes)
    with ran(folder, scenario, _say) as done:
        table = list(lines(done, faces(scenario)))
    injected = list(faults(done.truth))
    gaps = causes(folder / "export.jsonl", injected)
    _say(f"{len(injected)} faults were injected: {', '.join(sorted({each.name for each in injected}))}.")
    _tell_gaps(gaps)
    _tell_table(table)
    unaccounted = done.books["unaccounted"]
    _say(f"unaccounted: {unaccounted}; gap records without a fault: {sum(not gap.faults for gap in gaps)}")
    return 0 if all(line.ok for line in table) and all(gap.faults for gap in gaps) and not unaccounted else 1


def faces(scenario: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    """Machines by face."""
    worn: dict[str, list[str]] = defaultdict(list)
    for machine in scenario["machines"]:
        worn[machine["face"]].append(machine["id"])
    return worn


def _tell_gaps(gaps: Sequence[Cause]) -> None:
    _say(f"{len(gaps)} gap records:")
    for gap in gaps:
        why = ", ".join(sorted({f"{each.machine}:{each.name}" for each in gap.faults})) or "✖ NO FAULT"
        _say(f"  {gap.source:<8}{(gap.ends - gap.begins) / 1e9:>9.2f} s  {gap.reason:<24} {why}")


def _tell_table(table: Sequence[Line]) -> None:
    _say(f"{'face':<10}{'store':<10}" + "".join(f"{name:>10}" for name in COUNTS))
    for line in table:
        counts = "".join(f"{line.counts[name]:>10}" for name in COUNTS)
        _say(f"{line.face:<10}{line.store:<10}{counts}   {'✔' if line.ok else '✖ FAILED'}")
    for line in table:
        if not line.ok:
            _say(f"\n{line.face} in {line.store}:\n{line.words}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.acceptance", description="A workshop with all faults beside the collector."
    )
    parser.add_argument("--minutes", type=float, help="instead of as long as the scenario says")
    parser.add_argument("--scenario", type=Path, default=WORKSHOP)
    parser.add_argument("--dir", type=Path, help="keep everything in this new folder")
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
