"""A recording, looked through once before it is played: its machines and signals, their types, and the span of its times.

A table in order of time is played from the disk; one that is not (an export is ordered by signal) is held in memory. SHDR
is played in the order of its lines, whatever their times: an adapter tells old states when it connects.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from simulators.clock import SECOND
from simulators.errors import SimulatorError
from simulators.model import Type, Value
from simulators.recording.rows import Untyped, guess, rows
from simulators.replay.event import Event
from simulators.replay.shdr import shdr
from simulators.verify.sources import OWN

Signal = tuple[str, str]
LONG: Final = 60 * SECOND
JUMP: Final = SECOND
INT64: Final = range(-(2**63), 2**63)


@dataclass(slots=True)
class Tape:
    """signals: type of each (machine, signal), in order of appearance. first, last: ns UTC. span: ns of a whole round."""

    path: Path
    machine: str
    lines: bool
    signals: dict[Signal, Type] = field(default_factory=dict)
    values: int = 0
    first: int = 0
    last: int = 0
    span: int = SECOND
    held: list[Event] | None = None

    @property
    def machines(self) -> list[str]:
        return list(dict.fromkeys(machine for machine, _ in self.signals))

    def wait(self, before: int, t: int) -> int:
        """How long after the event before it one is played, ns. In SHDR a jump of more than a minute takes a second."""
        step = max(0, t - before)
        return JUMP if self.lines and step > LONG else step

    def events(self) -> Iterator[Event]:
        """All events, in the order in which they are played."""
        yield from self.known() if self.held is None else self.held

    def known(self) -> Iterator[Event]:
        """What there was when it was looked through: somebody may still be writing, and nobody was told of other signals."""
        left = self.values
        for event in self._read():
            left -= len(event.rows)
            if left < 0:
                return
            yield event

    def _read(self) -> Iterator[Event]:
        if self.lines:
            yield from shdr(self.path, self.machine)
            return
        for row in rows(self.path):
            if row.machine == OWN != self.path.stem:
                continue  # what a collector said of itself is in its export, and is no machine
            named = row.machine if row.machine != self.path.stem else self.machine
            yield Event(row.t, (row._replace(machine=named),))


def open_tape(path: Path, machine: str = "") -> Tape:
    """Look through the file. machine: whose values they are where the file does not say it."""
    name = machine or re.sub(r"[^A-Za-z0-9_-]", "-", path.stem).strip("-") or "recording"
    tape = Tape(path, name, path.suffix.lower() in (".txt", ".shdr", ".log"))
    seen: dict[Signal, set[type]] = {}
    times, ordered, last = set[int](), True, None
    for event in tape._read():  # noqa: SLF001 - its own opener
        for row in event.rows:
            seen.setdefault((row.machine, row.signal), set()).update(_types(row.value))
            tape.values += 1
        ordered = ordered and (last is None or event.t >= last)
        last = event.t
        tape.first = min(tape.first or event.t, event.t)
        tape.last = max(tape.last, event.t)
        if len(times) < 1000:
            times.add(event.t)
    if not seen:
        raise SimulatorError(f"{path}: no value in it")
    tape.signals = {signal: _type(types) for signal, types in seen.items()}
    tape.span = tape.last - tape.first + _step(times)
    if not (ordered or tape.lines):
        tape.held = sorted(tape.known(), key=attrgetter("t"))
    return tape


def _step(times: set[int]) -> int:
    """The usual distance of two moments: what a loop leaves between its last value and its first."""
    ordered = sorted(times)
    steps = sorted(after - before for before, after in pairwise(ordered))
    return steps[len(steps) // 2] if steps else SECOND


def _types(value: Any) -> set[type]:
    if value is None:
        return set()
    value = guess(value) if isinstance(value, Untyped) else value
    if isinstance(value, int) and not isinstance(value, bool) and value not in INT64:
        return {float}
    return {type(value) if isinstance(value, (bool, int, float)) else str}


def _type(seen: set[type]) -> Type:
    """The one type that holds all values of a signal."""
    if seen == {bool}:
        return Type.BOOLEAN
    if seen == {int}:
        return Type.INT64
    return Type.DOUBLE if seen and seen <= {int, float} else Type.STRING


def spoken(value: Any, kind: Type) -> Value | None:
    """A value as the faces say it, in its signal's type."""
    if value is None:
        return None
    if kind is Type.STRING:
        return str(value) if isinstance(value, str) else json.dumps(value)
    value = guess(value) if isinstance(value, Untyped) else value
    return float(value) if kind is Type.DOUBLE else value
