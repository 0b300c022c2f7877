"""What a run has shown: `verify` per face and store, and every gap record beside the fault that made it.

A gap record excuses values. So that a collector cannot excuse what nobody broke, each record must lie at a fault of the
communication that struck its source: from shortly before it began until the longest time in which a dead line is noticed after it ended.
"""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Final, NamedTuple

from simulators.cli import main as verify
from simulators.faces.opcua_identity import CHANGES
from tests.acceptance.run import FILES, Ran

SECOND: Final = 10**9
BEFORE: Final = 15 * SECOND  # a value that changes seldom: the gap begins with the last one
AFTER: Final = 45 * SECOND
LOSING: Final = (
    *("refuse", "cut", "half_open", "restart", "reindex", "nodes_removed"),
    *CHANGES,
    *("missing_birth", "sequence_gap", "clock_jump"),
)
"""Faults that may cost values; what is late, double or in another order may cost none."""

STANDSTILL: Final = "standstill"
"""Of this whole computer, as somebody beside the collector saw it: it strikes every source."""

COUNTS: Final = ("expected", "found", "explained", "missing", "spurious", "altered", "late", "repeated")
BAD: Final = ("missing", "spurious", "altered", "late")


class Line(NamedTuple):
    """One face in one store."""

    face: str
    store: str
    counts: Mapping[str, int]
    words: str

    @property
    def ok(self) -> bool:
        return not any(self.counts[name] for name in BAD) and self.counts["found"] > 0


class Fault(NamedTuple):
    """begins, ends: ns. shift: ns by which the clock of the machine was wrong."""

    machine: str
    source: str
    name: str
    family: str
    begins: int
    ends: int
    shift: int


class Cause(NamedTuple):
    """A gap record, and the faults that lie at it."""

    source: str
    begins: int
    ends: int
    reason: str
    faults: Sequence[Fault]


def lines(ran: Ran, faces: Mapping[str, Sequence[str]]) -> Iterator[Line]:
    """All faces together first, then each. A file needs no collector: it is compared with the truth as it is."""
    stored = [name for face, machines in faces.items() if face not in FILES for name in machines]
    for store, place in ran.data.items():
        yield _verified(ran.truth, "all", store, place, stored)
        for face, machines in faces.items():
            if face not in FILES:
                yield _verified(ran.truth, face, store, place, machines)
    for face in FILES:
        for machine in faces.get(face, ()):
            yield _verified(ran.truth, face, "file", str(ran.folder / f"{machine}.{face}"), [machine])


def _verified(truth: Path, face: str, store: str, place: str, machines: Sequence[str]) -> Line:
    only = [part for machine in machines for part in ("--machine", machine)]
    numbers, words = io.StringIO(), io.StringIO()
    with redirect_stdout(numbers), redirect_stderr(words):
        verify(["verify", str(truth), "--against", place, "--json", *only])
    return Line(face, store, json.loads(numbers.getvalue()), words.getvalue())


def faults(truth: Path) -> Iterator[Fault]:
    """All that were injected, with their end."""
    sources: dict[str, str] = {}
    open_: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in _rows(truth):
        if row["kind"] == "start":
            sources = {each["machine"]: each["source"] for each in row["machines"]}
        elif row["kind"] == "fault":
            key = row["machine"], row["fault"], row.get("signal", "")
            if row["event"] == "start":
                open_[key] = row
            else:
                began = open_.pop(key)
                shift = round(began.get("amount", 3600) * SECOND) if row["fault"] == "clock_jump" else 0
                machine = row["machine"]
                yield Fault(
                    machine, sources[machine], row["fault"], row["family"], began["t"], row["t"], shift
                )


def standstills(ran: Ran) -> list[Fault]:
    return [Fault("computer", "", STANDSTILL, "computer", begins, ends, 0) for begins, ends in ran.stalls]


def causes(export: Path, injected: Sequence[Fault]) -> list[Cause]:
    """Every gap record of the collector, read from what it exported."""
    found: dict[tuple[str, int], dict[str, Any]] = defaultdict(dict)
    for row in _rows(export):
        head, _, name = str(row["signal"]).rpartition(".")
        if row["machine"] == "collector" and head.startswith("gap."):
            found[head.removeprefix("gap."), row["time"]][name] = row["value"]
    ways = [fault for fault in injected if fault.name in (*LOSING, STANDSTILL)]
    return [
        Cause(source, gap["from"], gap["to"], gap["reason"], _at(source, gap["from"], gap["to"], ways))
        for (source, _), gap in sorted(found.items(), key=lambda each: each[1].get("from", 0))
        if "from" in gap
    ]


def _at(source: str, begins: int, ends: int, ways: Sequence[Fault]) -> Sequence[Fault]:
    """Those that overlap it; where there is none, those that it follows or that it comes shortly before."""
    mine = [fault for fault in ways if fault.source == source or fault.name == STANDSTILL]
    return [fault for fault in mine if _touches(fault, begins, ends, 0, 0)] or [
        fault for fault in mine if _touches(fault, begins, ends, BEFORE, AFTER)
    ]


def _touches(fault: Fault, begins: int, ends: int, before: int, after: int) -> bool:
    """By our clock or by the machine's, while that was wrong."""
    return any(
        fault.begins + shift - before <= ends and begins <= fault.ends + shift + after
        for shift in {0, fault.shift}
    )


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
