"""Workshops in small: a few counters and signals, rows of every quality, ticks and restarts, as batches in one order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
from hypothesis import strategies as st

from pipelines import quality as q
from pipelines.batch import Batch, Flag, Kind, Point, batch_of
from pipelines.derivation import TICK
from pipelines.registry import Registry

S = 1_000_000_000
START = 1_700_000_000 * S
SIGNALS = {
    "parts": Kind.INTEGER,
    "pulses": Kind.UNSIGNED,
    "energy": Kind.NUMBER,
    "label": Kind.TEXT,
    "other": Kind.NUMBER,
}
CELLS: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.INTEGER: st.one_of(
        st.integers(-3, 40),
        st.sampled_from([65_535, 65_530, 60_000, 6_000, 2**31, 2**32 - 1, 2**63 - 1, -(2**63)]),
    ),
    Kind.UNSIGNED: st.one_of(
        st.sampled_from([40, 39, 30]), st.integers(0, 40), st.sampled_from([2**64 - 1, 2**64 - 9, 2**63])
    ),
    Kind.NUMBER: st.one_of(st.integers(0, 40).map(float), st.floats(allow_nan=True, allow_infinity=True)),
    Kind.TEXT: st.sampled_from(["", "7", "x"]),
}


@dataclass(frozen=True)
class One:
    """A row: signal name ('' = tick), seconds since START, value, quality, flags, received (s)."""

    name: str
    at: int
    value: Any
    quality: int
    flags: int
    received: int


def registry() -> Registry:
    """Points that come before anything derived, so that every run numbers alike."""
    known = Registry()
    known.intern(Point(*TICK, Kind.INTEGER))
    for name, kind in SIGNALS.items():
        known.intern(Point("m1", name, kind, "C62"))
    return known


@st.composite
def _row(draw: st.DrawFn) -> One:
    name = draw(st.sampled_from(["", *SIGNALS]))
    at = draw(st.integers(-2, 6))
    if not name:
        return One("", at, draw(st.integers(1, 2)), q.GOOD, 0, at)
    quality = draw(st.sampled_from([q.GOOD] * 4 + [q.OVERFLOW, q.UNCERTAIN, q.BAD, q.BAD_NO_COMMUNICATION]))
    flags = draw(st.sampled_from([0] * 5 + [Flag.NO_VALUE, Flag.HISTORICAL, Flag.RETAINED, Flag.HEARTBEAT]))
    value = draw(CELLS[SIGNALS[name]])
    return One(name, at, value, quality, int(flags), draw(st.sampled_from([0, 0, 1, 20])))


def _running(rows: list[One]) -> list[One]:
    """What was drawn as steps of time, as times: mostly forward, now and then late."""
    times = accumulate(row.at for row in rows)
    return [
        replace(row, at=at, received=at if not row.name else at + row.received)
        for row, at in zip(rows, times, strict=True)
    ]


histories = st.lists(_row(), max_size=60).map(_running)


def batches(known: Registry, rows: Sequence[One]) -> list[Batch]:
    """A batch per row: the smallest pieces that an order can be cut into."""
    made = []
    for row in rows:
        machine, name = TICK if not row.name else ("m1", row.name)
        point = known.latest(machine, name)
        assert point is not None
        kind = Kind.INTEGER if not row.name else SIGNALS[row.name]
        value = kind.empty if row.flags & Flag.NO_VALUE else row.value
        made.append(
            batch_of(
                kind,
                [point],
                START + row.at * S,
                [value],
                received=START + row.received * S,
                quality=row.quality,
                flags=row.flags,
            )
        )
    return made


def joined(parts: Sequence[Batch]) -> list[Batch]:
    """Neighbours that one delivery could have brought as one batch, as one batch."""
    whole: list[Batch] = []
    for part in parts:
        last = whole[-1] if whole else None
        if last is None or (last.kind, last.received) != (part.kind, part.received):
            whole.append(part)
            continue
        whole[-1] = batch_of(
            part.kind,
            np.concatenate([last.points, part.points]),
            np.concatenate([last.at, part.at]),
            [*last.values, *part.values],
            received=part.received,
            quality=np.concatenate([last.quality, part.quality]),
            flags=np.concatenate([last.flags, part.flags]),
        )
    return whole


def seen(known: Registry, made: Sequence[Batch]) -> dict[tuple[str, str], list[tuple[Any, ...]]]:
    """By output signal, every row in its order: what no chunking may change."""
    found: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
    for batch in made:
        columns = (batch.points, batch.at, batch.values, batch.quality, batch.flags)
        for point, at, value, quality, flags in zip(*(c.tolist() for c in columns), strict=True):
            signal = (known[point].machine, known[point].name)
            found.setdefault(signal, []).append((at, value, quality, flags, batch.received, batch.kind))
    return found
