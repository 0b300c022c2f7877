"""A sink that is a dictionary by (point, time): the shortest thing that keeps the laws of a sink."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from adapters.base import Finding, Write
from adapters.clock import Clock, SystemClock
from adapters.errors import NotConnected, Rejected, Throttled
from pipelines.batch import Batch
from pipelines.stage import Refusal


class Key(NamedTuple):
    point: int  # id in the registry
    at: int  # ns


class Stored(NamedTuple):
    value: Any
    quality: int
    flags: int


@dataclass(frozen=True, slots=True)
class Fault:
    """What the next write meets. error: raised. stored: whether the values were taken in before it (a lost answer)."""

    error: NotConnected | Throttled
    stored: bool = False


def lost(*, after_commit: bool = False) -> Fault:
    return Fault(NotConnected("memory: connection lost"), after_commit)


def throttled(wait: float) -> Fault:
    return Fault(Throttled("memory: asked for patience", wait))


class MemorySink:
    """`rows` is what is stored. `faults` is the script: one for each coming write. `refuses`: what it will never take."""

    def __init__(
        self,
        name: str,
        *,
        refuses: Callable[[Key, Stored], bool] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.rows: dict[Key, Stored] = {}
        self.faults: deque[Fault] = deque()
        self.reachable = True
        self.refuses = refuses if refuses is not None else _nothing
        self._clock = clock if clock is not None else SystemClock()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Write]:
        self._must_answer()
        yield self._write

    async def probe(self) -> Sequence[Finding]:
        level = "ok" if self.reachable else "error"
        return [Finding(level, self.name, f"memory {'answers' if self.reachable else 'does not answer'}")]

    async def _write(self, batches: Sequence[Batch]) -> None:
        self._must_answer()
        fault = self.faults.popleft() if self.faults else None
        if fault is not None and not fault.stored:
            raise fault.error
        refused = self._store(batches)
        if fault is not None:
            raise fault.error
        if refused:
            raise Rejected(f"memory: {len(refused)} values refused", refused)

    def _must_answer(self) -> None:
        if not self.reachable:
            raise NotConnected("memory: nobody answers", "Set reachable to True.")

    def _store(self, batches: Sequence[Batch]) -> list[Refusal]:
        refused = []
        for key, row in rows_of(batches):
            if self.refuses(key, row):
                where = f"point {key.point}"
                raw = repr(row.value).encode()
                refused.append(
                    Refusal(where, "The script says so.", raw, self._clock.now(), keys=((key.point, key.at),))
                )
            else:
                self.rows[key] = row
        return refused


def rows_of(batches: Sequence[Batch]) -> Iterator[tuple[Key, Stored]]:
    """Every row as plain Python, in order; a row without value has None."""
    for batch in batches:
        cells = zip(
            batch.points.tolist(),
            batch.at.tolist(),
            batch.values.tolist(),
            batch.quality.tolist(),
            batch.flags.tolist(),
            batch.has_value.tolist(),
            strict=True,
        )
        for point, at, value, quality, flags, has_value in cells:
            yield Key(point, at), Stored(value if has_value else None, quality, flags)


def _nothing(_key: Key, _row: Stored) -> bool:
    return False
