"""What a process holds, looked at every second, and the slope of it: a leak is a floor that goes on rising.

Memory is used and given back with every batch, every sealing and every compaction. What was never given back is what is
left at the quietest moment, so the lowest sample of a span of time counts, and not its middle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
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
    heap: float = 0.0  # in use, by the allocator (inside.py); 0 where nobody tells
    pages: float = 0.0  # of these in SQLite


def sample(pid: int, state: Path, at: float, heap: Path | None = None) -> Sample:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    history = _sizes((state / "history").rglob("*.parquet"))
    return Sample(
        at,
        int(fields["VmRSS"].split()[0]) / 1024,
        sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
        int(fields["Threads"]),
        sum(_sizes(state.glob("buffer.sqlite*"))) / MIB,
        sum(history) / MIB,
        len(history),
        *(int(part) / MIB for part in _told(heap)),
    )


def _told(heap: Path | None) -> Sequence[str]:
    return heap.read_text("ascii").split() if heap is not None and heap.exists() else ("0", "0")


def _sizes(files: Iterable[Path]) -> Sequence[int]:
    """Bytes of those that are still there: files are merged, deleted and folded while they are looked at."""
    found = []
    with suppress(FileNotFoundError):  # a folder that goes while it is read ends the look
        for file in files:
            with suppress(FileNotFoundError):
                found.append(file.stat().st_size)
    return found


@dataclass(frozen=True, slots=True)
class Limits:
    """slope: MiB per hour by the clock that the floor of the memory in use may rise after the warm-up, uncertainty included.
    descriptors: more of them at the end than after the warm-up. journal, history: MiB.
    """

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


def judge(samples: Sequence[Sample], warm: float, limits: Limits) -> list[Line]:
    """The table's lines. warm: s at the beginning that do not count."""
    after = [one for one in samples if one.at >= warm]
    first, last = after[0], after[-1]
    slope, error = heap_slope(after)
    fewest = [min(one.descriptors for one in some) for some in (after[:5], after[-5:])]
    grown = (
        fewest[1] - fewest[0]
    )  # a file that is open for a moment, while it is sealed or merged, is none that is forgotten
    most = {name: max(getattr(one, name) for one in after) for name in Sample._fields}
    return [
        Line("memory, MiB", first.memory, last.memory, most["memory"], "", ok=True),
        Line("in use, MiB", first.heap, last.heap, most["heap"], "", ok=True),
        Line("of it SQLite, MiB", first.pages, last.pages, most["pages"], "", ok=True),
        Line(
            "in use, MiB/h",
            0.0,
            slope,
            slope + 2 * error,
            f"<= {limits.slope:g}",
            slope + 2 * error <= limits.slope,
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
    """Of the resident memory."""
    return _slope(samples, [one.memory for one in samples])


def heap_slope(samples: Sequence[Sample]) -> Slope:
    """Of the memory in use."""
    return _slope(samples, [one.heap for one in samples])


def _slope(samples: Sequence[Sample], memory: Sequence[float]) -> Slope:
    """A line through the lowest of each of 60 equal spans of time, by least squares.

    The error is that of the regression, widened by sqrt((1 + r) / (1 - r)) for residuals that follow one another with the
    correlation r, because memory moves in steps. It says what this run can tell, not more: one step near the end looks like
    a slope.
    """
    at, lowest = _floors([one.at / 3600 for one in samples], memory, 60)
    if len(at) < 4:
        return Slope(0.0, float("inf"))
    hours = at - at.mean()
    spread = float(hours @ hours)
    rise = float(hours @ lowest) / spread
    rest = lowest - lowest.mean() - rise * hours
    squares = float(rest @ rest)
    follow = min(0.95, max(0.0, float(rest[1:] @ rest[:-1]) / squares)) if squares else 0.0
    error = np.sqrt(squares / (len(at) - 2) / spread * (1 + follow) / (1 - follow))
    return Slope(rise, float(error))


def _floors(
    hours: Sequence[float], memory: Sequence[float], spans: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the lowest sample of every span is (h), and what it is (MiB)."""
    size = max(1, len(memory) // spans)
    parts = [range(n, n + size) for n in range(0, len(memory) - size + 1, size)]
    lowest = [min(part, key=memory.__getitem__) for part in parts]
    return np.array([hours[n] for n in lowest]), np.array([memory[n] for n in lowest])
