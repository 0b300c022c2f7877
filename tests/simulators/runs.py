"""Helpers for these tests: a machine run in memory, and the value rows of a truth file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from simulators.machines import kind
from simulators.model import Model, StateSpan

START = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z


class Run(NamedTuple):
    """What a machine did: every change as (t, signal, value), in order, and its states."""

    model: Model
    changes: list[tuple[int, str, Any]]
    states: list[StateSpan]


def run(name: str, seed: int, seconds: float, machine: str = "") -> Run:
    """Step a machine from START without any face."""
    model = kind(name)(machine or f"{name}-1", seed)
    changes: list[tuple[int, str, Any]] = [
        (START, signal, value) for signal, value in model.begin(START).items()
    ]
    states: list[StateSpan] = []
    t = START
    for _ in range(round(seconds * 1000 / model.period_ms)):
        t += model.period_ms * 1_000_000
        changed, ended = model.step(t, model.period_ms / 1000)
        changes.extend((t, signal, value) for signal, value in changed.items())
        states.extend([ended] if ended else [])
    return Run(model, changes, [*states, model.end(t)])


def column(run: Run, signal: str) -> list[Any]:
    """All values of one signal."""
    return [value for _, name, value in run.changes if name == signal]


def rows(truth: Path, row_kind: str = "value") -> Iterator[dict[str, Any]]:
    """The rows of one kind in a truth file; of one that is still written, as far as its lines are whole."""
    for line in truth.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            return
        row = json.loads(line)
        if row["kind"] == row_kind:
            yield row
