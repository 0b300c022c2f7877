"""`make soak`: `python -m tests.soak --minutes 60`. Prints a table; exit 1 beyond the limits."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.soak.run import soak
from tests.soak.watch import Limits, Sample, Slope, heap_slope, judge, memory_slope


def main() -> int:
    options = _options()
    limits = Limits(slope=options.slope)
    with tempfile.TemporaryDirectory(prefix="soak-") as made, _kept(options.samples) as seen:
        seconds = options.minutes * 60
        done = soak(Path(made), seconds, speed=options.speed, broker=options.broker, told=_say, seen=seen)
    lines = judge(done.samples, _warm(seconds), limits)
    _say(f"{'':<22}{'after warm-up':>14}{'at the end':>12}{'most':>10}   limit")
    for line in lines:
        mark = "✔" if line.ok else "✖ FAILED"
        _say(
            f"{line.name:<22}{line.begin:>14.2f}{line.end:>12.2f}{line.most:>10.2f}   {line.limit:<10}{mark}"
        )
    after = [one for one in done.samples if one.at >= _warm(seconds)]
    _say_slope("in use", heap_slope(after), options.speed)
    _say_slope("resident", memory_slope(after), options.speed)
    _say(f"{done.stored} lines stored, unaccounted: {done.books['unaccounted']}")
    return 0 if all(line.ok for line in lines) and done.books["unaccounted"] == 0 else 1


@contextmanager
def _kept(path: str) -> Iterator[Callable[[Sample], None]]:
    """Every sample in the file as soon as it is there, so that a long run can be looked at while it goes on."""
    if not path:
        yield lambda _: None
        return
    with Path(path).open("w", encoding="utf-8", buffering=1) as file:
        file.write(",".join(Sample._fields) + "\n")

        def write(one: Sample) -> None:
            file.write(",".join(map(str, one)) + "\n")

        yield write


def _say_slope(what: str, slope: Slope, speed: float) -> None:
    rise, error = slope.rise, 2 * slope.error
    _say(
        f"memory {what}: {rise:.2f} ± {error:.2f} MiB per hour by the clock, {rise / speed:.3f} ± {error / speed:.3f} per hour"
        " of the workshop (two standard errors)"
    )


def _warm(seconds: float) -> float:
    """What does not count at the beginning: caches fill, the history reaches its size."""
    return min(seconds / 3, 3600.0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="The long run.")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument(
        "--speed", type=float, default=60.0, help="minutes of the workshop per minute (60: an hour a minute)"
    )
    parser.add_argument(
        "--slope", type=float, default=1.0, help="MiB in use per hour by the clock after the warm-up, at most"
    )
    parser.add_argument("--samples", default="", help="CSV file for what was seen every second")
    parser.add_argument("--broker", default="", help="mqtt://host:port; without it the simulators' own")
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
