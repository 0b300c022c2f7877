"""Gap records: where the collector itself says that it knows of a loss. Only what is said excuses a missing value.

A record counts for the machines that it names, else for those of its source. Which machines a source has is in the first
line of the truth, or said by --source; a source that nobody knows excuses nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from simulators.errors import SimulatorError
from simulators.recording.times import time_ns


class Gap(NamedTuple):
    """From when to when (ns UTC, both included) values of these machines, or of this source, may be missing."""

    source: str
    begins: int
    ends: int
    machines: tuple[str, ...] = ()


class Gaps:
    """All gap records of a run."""

    def __init__(self) -> None:
        self.records: list[Gap] = []

    def extend(self, gaps: Iterable[Gap]) -> None:
        self.records.extend(gaps)

    def by_machine(self, sources: Mapping[str, set[str]]) -> tuple[dict[str, "Spans"], set[str]]:
        """What is excused per machine, and the sources that nobody knows."""
        spans: dict[str, list[tuple[int, int]]] = defaultdict(list)
        unknown = set()
        for gap in self.records:
            machines = gap.machines or sources.get(gap.source, ())
            if not machines:
                unknown.add(gap.source)
            for machine in machines:
                spans[machine].append((gap.begins, gap.ends))
        return {machine: Spans(each) for machine, each in spans.items()}, unknown


class Spans:
    """Spans of one machine, ready to be asked."""

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        ordered = sorted(spans)
        self._begins = np.array([begin for begin, _ in ordered], np.int64)
        self._ends = np.maximum.accumulate(np.array([end for _, end in ordered], np.int64))

    def cover(self, first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Does any span touch the time from `first` to `last`?"""
        place = np.searchsorted(self._begins, last, "right") - 1
        covered: NDArray[np.bool_] = (place >= 0) & (self._ends[np.maximum(place, 0)] >= first)
        return covered


def read_gaps(path: Path) -> Iterator[Gap]:
    """JSON Lines with `source` or `machine` (`machines`), `from` and `to`: ns since 1970 or RFC 3339."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise SimulatorError(f"{path}: cannot be read ({error.strerror or error})") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield _gap(msgspec.json.decode(line, type=dict[str, Any]))
            except (ValueError, KeyError, TypeError, SimulatorError) as error:
                raise SimulatorError(
                    f"{path}:{number}: a gap needs source or machine, from, to ({error})"
                ) from None


def _gap(row: Mapping[str, Any]) -> Gap:
    begins = time_ns(row["from"] if "from" in row else row["begins"])
    ends = time_ns(row["to"] if "to" in row else row["ends"])
    machines = row.get("machines") or row.get("machine") or ()
    listed = machines.replace(",", " ").split() if isinstance(machines, str) else machines
    return Gap(str(row["source"] if not listed else row.get("source", "")), begins, ends, tuple(listed))


class GapRows:
    """Puts gap records together that were stored as values: `gap.<source>.<field>`, the fields of one gap at one time."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int], dict[str, Any]] = defaultdict(dict)

    def note(self, signal: str, t: int, value: Any) -> None:
        """A value of the collector's own machine; what is no part of a gap is not noted."""
        head, _, field = signal.rpartition(".")
        if head.startswith("gap.") and field in ("from", "to", "machines"):
            self.field(head.removeprefix("gap."), t, field, value)

    def field(self, source: str, t: int, field: str, value: Any) -> None:
        self._found[source, t][field] = value

    def gaps(self) -> Iterator[Gap]:
        for (source, _), row in self._found.items():
            if "from" in row and "to" in row:
                yield _gap({"source": source, **row})
