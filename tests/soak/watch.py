"""What a process holds, read from /proc every second, and the slope of it: a leak is a line that goes on rising."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MIB = 1024 * 1024


class Sample(NamedTuple):
    """at: s since the beginning. Sizes in MiB, the rest are counts."""

    at: float
    memory: float  # resident: VmRSS
    descriptors: int
    threads: int
    journal: float
    history: float
    files: int


def sample(pid: int, state: Path, at: float) -> Sample:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    history = [path.stat().st_size for path in _files(state / "history")]
    return Sample(
        at,
        int(fields["VmRSS"].split()[0]) / 1024,
        sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
        int(fields["Threads"]),
        sum(path.stat().st_size for path in state.glob("buffer.sqlite*")) / MIB,
        sum(history) / MIB,
        len(history),
    )


def _files(folder: Path) -> Sequence[Path]:
    return [path for path in folder.rglob("*.parquet") if path.exists()] if folder.exists() else []


@dataclass(frozen=True, slots=True)
class Limits:
    """slope: MiB per hour of memory after the warm-up. descriptors: more of them at the end than after it. journal, history: MiB."""

    slope: float = 1.0
    descriptors: int = 4
    journal: float = 64.0
    history: float = 25.0


class Line(NamedTuple):
    name: str
    begin: float
    end: float
    most: float
    limit: str
    ok: bool


def judge(samples: Sequence[Sample], warm: float, limits: Limits, speed: float = 1.0) -> list[Line]:
    """The table's lines. warm: s at the beginning that do not count. speed: hours of the workshop in an hour of the run."""
    after = [one for one in samples if one.at >= warm]
    first, last = after[0], after[-1]
    slope, error = (part / speed for part in memory_slope(after))
    grown = last.descriptors - first.descriptors
    most = {name: max(getattr(one, name) for one in after) for name in Sample._fields}
    return [
        Line("memory, MiB", first.memory, last.memory, most["memory"], "", ok=True),
        Line(
            "memory slope, MiB/h",
            0.0,
            slope,
            slope + 2 * error,
            f"<= {limits.slope:g}",
            slope <= limits.slope,
        ),
        Line(
            "file descriptors",
            first.descriptors,
            last.descriptors,
            most["descriptors"],
            f"<= +{limits.descriptors}",
            grown <= limits.descriptors,
        ),
        Line("threads", first.threads, last.threads, most["threads"], "", ok=True),
        Line(
            "buffer, MiB",
            first.journal,
            last.journal,
            most["journal"],
            f"<= {limits.journal:g}",
            most["journal"] <= limits.journal,
        ),
        Line(
            "history, MiB",
            first.history,
            last.history,
            most["history"],
            f"<= {limits.history:g}",
            most["history"] <= limits.history,
        ),
        Line("history files", first.files, last.files, most["files"], "", ok=True),
    ]


class Slope(NamedTuple):
    """MiB per hour, and its standard error."""

    rise: float
    error: float


def memory_slope(samples: Sequence[Sample]) -> Slope:
    """A line through the medians of 60 equal spans of time, by least squares: one peak is no slope.

    The error is that of the regression, widened by sqrt((1 + r) / (1 - r)) for residuals that follow one another with the
    correlation r, because memory moves in steps. It says what this run can tell, not more: one step near the end looks like
    a slope.
    """
    at, memory = _medians(samples, 60)
    if len(at) < 4:
        return Slope(0.0, float("inf"))
    hours = at - at.mean()
    spread = float(hours @ hours)
    rise = float(hours @ memory) / spread
    rest = memory - memory.mean() - rise * hours
    squares = float(rest @ rest)
    follow = min(0.95, max(0.0, float(rest[1:] @ rest[:-1]) / squares)) if squares else 0.0
    error = np.sqrt(squares / (len(at) - 2) / spread * (1 + follow) / (1 - follow))
    return Slope(rise, float(error))


def _medians(samples: Sequence[Sample], spans: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middle (h) and median (MiB) of every span."""
    size = max(1, len(samples) // spans)
    parts = [samples[n : n + size] for n in range(0, len(samples) - size + 1, size)]
    at = np.array([np.mean([one.at for one in part]) / 3600 for part in parts])
    return at, np.array([np.median([one.memory for one in part]) for part in parts])
