"""The oracle stands outside the collector: it compares what the simulators did with what a database or an export holds.

It shares no code with the product. Keys are (machine, signal, time in ns); values must be equal to the last bit.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

Signal = tuple[str, str]
Series = dict[Signal, dict[int, Any]]

ALARM = ("active", "acked", "severity", "message", "event_id")


class Truth(NamedTuple):
    """timed: what went out with a time of its own. bare: values whose payload carried no time, in order.

    alarms: what a condition was from a time on, said with an event. Asked for again it is said again, at a later time.
    """

    timed: Series
    bare: dict[Signal, list[Any]]
    alarms: Series

    @property
    def size(self) -> int:
        return sum(map(len, self.timed.values())) + sum(map(len, self.bare.values()))


class Hole(NamedTuple):
    """A gap record, as far as it can explain a missing value."""

    source: str
    begins: int
    ends: int


@dataclass
class Verdict:
    missing: list[tuple[str, str, int | None, Any]] = field(default_factory=list)
    spurious: list[tuple[str, str, int, Any]] = field(default_factory=list)
    altered: list[tuple[str, str, int, Any, Any]] = field(default_factory=list)
    explained: int = 0

    @property
    def clean(self) -> bool:
        return not (self.missing or self.spurious or self.altered)


def read_truth(path: Path) -> Truth:
    timed: Series = defaultdict(dict)
    bare: dict[Signal, list[Any]] = defaultdict(list)
    alarms: Series = defaultdict(dict)
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["kind"] == "alarm":
            for word in ALARM:
                alarms[row["machine"], f"alarm.{row['source']}.{row['condition']}.{word}"][row["t"]] = row[
                    word
                ]
        if row["kind"] != "value":
            continue
        key = (row["machine"], row["signal"])
        if row["t"] is None:
            bare[key].append(row["value"])
        else:
            assert row["t"] not in timed[key], f"the truth says two things at once: {row}"
            timed[key][row["t"]] = row["value"]
    return Truth(dict(timed), dict(bare), dict(alarms))


def same(expected: Any, found: Any) -> bool:
    """Equal to the last bit, a flag being no number and a text being no value of another kind."""
    if isinstance(expected, bool) or isinstance(found, bool):
        return expected is found
    if isinstance(expected, str) or isinstance(found, str):
        return bool(expected == found and type(expected) is type(found))
    return bool(expected == found)


def compare(truth: Truth, stored: Series, holes: Mapping[str, Sequence[Hole]] | None = None) -> Verdict:
    """holes: by machine, the gap records that may explain what is missing there."""
    verdict = Verdict()
    said = (rows for key, rows in stored.items() if key[0] == "collector" and key[1].startswith("restated."))
    again = {at for rows in said for at in rows}
    own = {key: rows for key, rows in stored.items() if key[0] != "collector"}
    for key, expected in truth.timed.items():
        found = _once(expected, own.get(key, {}), again)
        _timed(key, expected, found, (holes or {}).get(key[0], ()), verdict)
    for key, values in truth.bare.items():
        _bare(key, values, own.get(key, {}), verdict)
    for key, states in truth.alarms.items():
        _alarms(key, states, own.get(key, {}), (holes or {}).get(key[0], ()), verdict)
    for key in own.keys() - truth.timed.keys() - truth.bare.keys() - truth.alarms.keys():
        verdict.spurious += [(*key, at, value) for at, value in own[key].items()]
    return verdict


def _once(expected: dict[int, Any], found: dict[int, Any], again: Collection[int]) -> dict[int, Any]:
    """Without what is said once more of a time before, at a time when the collector says that it does so."""
    return {
        at: value
        for at, value in found.items()
        if at in expected
        or at not in again
        or not any(same(said, value) for was, said in expected.items() if was < at)
    }


def _timed(
    key: Signal, expected: dict[int, Any], found: dict[int, Any], holes: Sequence[Hole], verdict: Verdict
) -> None:
    for at, value in expected.items():
        if at not in found:
            if any(hole.begins <= at <= hole.ends for hole in holes):
                verdict.explained += 1
            else:
                verdict.missing.append((*key, at, value))
        elif not same(value, found[at]):
            verdict.altered.append((*key, at, value, found[at]))
    verdict.spurious += [(*key, at, found[at]) for at in found.keys() - expected.keys()]


def _alarms(
    key: Signal, states: dict[int, Any], found: dict[int, Any], holes: Sequence[Hole], verdict: Verdict
) -> None:
    """Every state at its time, as for values; and whatever is said at other times is what was so then."""
    _timed(key, states, {at: value for at, value in found.items() if at in states}, holes, verdict)
    for at in sorted(found.keys() - states.keys()):
        before = [known for known in states if known < at]
        if not before:
            verdict.spurious.append((*key, at, found[at]))
        elif not same(states[max(before)], found[at]):
            verdict.altered.append((*key, at, states[max(before)], found[at]))


def _bare(key: Signal, expected: list[Any], found: dict[int, Any], verdict: Verdict) -> None:
    """Values without a time of their own: the same values in the same order, none twice."""
    values = [found[at] for at in sorted(found)]
    for place, value in enumerate(expected):
        if place >= len(values):
            verdict.missing.append((*key, None, value))
        elif not same(value, values[place]):
            verdict.altered.append((*key, place, value, values[place]))
    verdict.spurious += [
        (*key, sorted(found)[place], values[place]) for place in range(len(expected), len(values))
    ]


def from_jsonl(path: Path) -> Series:
    """What `collector export -o x.jsonl` wrote: good values only."""
    series: Series = defaultdict(dict)
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["value"] is not None and row["quality"] == "good":
            series[row["machine"], row["signal"]][row["time"]] = row["value"]
    return dict(series)


def from_influx(rows: Iterable[Mapping[str, Any]]) -> Series:
    """Points as dictionaries: measurement, time (ns), tags, and a field per signal."""
    tags = {"measurement", "time", "machine", "enterprise", "site", "area", "line", "source", "type"}
    series: Series = defaultdict(dict)
    for row in rows:
        for name, value in row.items():
            if name not in tags and value is not None:
                series[row["machine"], name][row["time"]] = value
    return dict(series)


def count_csv(path: Path) -> int:
    with path.open(encoding="utf-8", newline="") as file:
        return sum(1 for _ in csv.DictReader(file))
