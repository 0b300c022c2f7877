"""What a process holds, read from /proc every second, and the slope of it: a leak is a line that goes on rising."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

MIB = 1024 * 1024


class Sample(NamedTuple):
    """at: s since the beginning. Sizes in MiB, the rest are counts."""

    at: float
    memory: float
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
    """slope: MiB per hour of memory after the warm-up. descriptors: more of them at the end than after it. journal: MiB."""

    slope: float = 1.0
    descriptors: int = 4
    journal: float = 64.0


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
    slope = memory_slope(after)
    grown = last.descriptors - first.descriptors
    most = {name: max(getattr(one, name) for one in after) for name in Sample._fields}
    return [
        Line("memory, MiB", first.memory, last.memory, most["memory"], "", ok=True),
        Line("memory slope, MiB/h", 0.0, slope, slope, f"<= {limits.slope:g}", slope <= limits.slope),
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
        Line("history, MiB", first.history, last.history, most["history"], "", ok=True),
        Line("history files", first.files, last.files, most["files"], "", ok=True),
    ]


def memory_slope(samples: Sequence[Sample]) -> float:
    """MiB per hour, between the medians of the first and the last third: one peak is no slope."""
    third = max(1, len(samples) // 3)
    begin, end = samples[:third], samples[-third:]
    rise = float(np.median([s.memory for s in end]) - np.median([s.memory for s in begin]))
    hours = float(np.mean([s.at for s in end]) - np.mean([s.at for s in begin])) / 3600
    return rise / hours if hours > 0 else 0.0
