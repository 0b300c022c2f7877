"""Tests on a computer that stands still now and then: `python -m tests.stalls python -m pytest -n 2 tests/line`.

While the command runs, processes of its tree (workers, collectors, servers of other people) are stopped for a moment, one at
a time and now and then all at once, as a busy or virtual computer does it. A test that fails here asserts how fast something
is, or waits for one thing and looks at another. Tests that stop processes themselves fail by the tool: it wakes what they stopped.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

EVERYTHING = 0.1
"""How many of the stops stop all processes together."""


def main() -> int:
    options = _options()
    dice = random.Random(options.seed)
    stops = 0
    with subprocess.Popen(options.command) as process:
        while process.poll() is None:
            time.sleep(dice.expovariate(options.rate))
            still(_chosen(process.pid, dice), min(options.longest, dice.expovariate(2.0)))
            stops += 1
    sys.stderr.write(f"{stops} stops; exit {process.returncode}\n")
    return process.returncode


def still(processes: Sequence[int], seconds: float) -> None:
    """These stand still for so long; who has ended meanwhile is passed over."""
    try:
        _tell(processes, signal.SIGSTOP)
        time.sleep(seconds)
    finally:
        _tell(processes, signal.SIGCONT)


def _tell(processes: Sequence[int], number: signal.Signals) -> None:
    for one in processes:
        with suppress(ProcessLookupError):
            os.kill(one, number)


def _chosen(root: int, dice: random.Random) -> Sequence[int]:
    tree = list(tree_of(root))
    return tree if dice.random() < EVERYTHING else [dice.choice(tree)]


def tree_of(root: int) -> Iterator[int]:
    """The process and all that it has started, and these in turn (proc(5), field ppid of stat)."""
    children: dict[int, list[int]] = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            _, parent, *_ = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            children[int(parent)].append(int(stat.parent.name))
    waiting = [root]
    while waiting:
        yield (one := waiting.pop())
        waiting += children[one]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.stalls", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--longest", type=float, default=3.0, metavar="SECONDS", help="of a stop (3)")
    parser.add_argument("--rate", type=float, default=2.0, help="stops per second, about (2)")
    parser.add_argument("--seed", type=int, help="the same moments again, as far as a computer lets that be")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what is run")
    options = parser.parse_args()
    if not options.command:
        parser.error("what shall run? For example: python -m pytest -n 2 tests/line")
    return options


if __name__ == "__main__":
    sys.exit(main())
