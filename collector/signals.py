"""Which signals there are and what they are called, for `collector status --json`: what a dashboard needs beside the values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from adapters.labels import NO_RANGE, Label

if TYPE_CHECKING:
    from collector.run import Running

MOST: Final = 5_000
"""Signals in one answer; the rest is counted."""

Json = dict[str, Any]
NO_WORDS: Final[Json] = {"label": "", "description": "", "range": None}


def words_of(label: Label) -> Json:
    """label, description; range: lowest and highest, null where it is open, and null for none."""
    return {
        "label": label.label,
        "description": label.description,
        "range": None if label.range == NO_RANGE else list(label.range),
    }


def signals_told(running: Running) -> Json:
    """`signals`: of all machines that are configured, in the order in which they were first seen. `more_signals`: how many more."""
    rows = list(_rows(running))
    return {"signals": rows[:MOST], "more_signals": max(0, len(rows) - MOST)}


def _rows(running: Running) -> Iterator[Json]:
    registry, labels = running.line.registry, running.line.labels
    machines = {machine for source in running.line.sources for machine in source.machines}
    for number, point in enumerate(registry.since(0)):
        newest = registry.latest(point.machine, point.name) == number
        if newest and point.machine in machines:
            said = {"machine": point.machine, "signal": point.name, "kind": point.kind.name.lower()}
            yield {**said, "unit": point.unit, **words_of(labels.of(point.machine, point.name))}
