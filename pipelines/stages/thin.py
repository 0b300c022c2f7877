"""Deadband and minimum interval: what may be left out because the last stored row says as much.

One stage for both, so that "the last row" means the last one let through by both. A row passes when it is the point's
first of the session, has no value, changes the status code, or else is at least `min_interval` from the last row (in
either direction: a late row or a clock that was set back must not be held for hours) and differs from the last value
by more than `deadband` (OPC 10000-4, 7.22.2: the difference must exceed it). The interval is asked first.

What is older than the last row, and was delivered late on purpose, passes and is not remembered: compared with a value of the past the
next one of the present would look as if nothing had changed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.batch import Batch, Flag, Kind
from pipelines.stage import Reason
from pipelines.table import Table, Tally

_PASS, _TOO_SOON, _TOO_LITTLE = range(3)
_HISTORICAL = int(Flag.HISTORICAL)


class _Rows(NamedTuple):
    """The rows in question, as the comparison wants them: values as float64 whatever their kind."""

    points: NDArray[np.int32]
    at: NDArray[np.int64]
    values: NDArray[np.float64]
    quality: NDArray[np.int64]
    present: NDArray[np.bool_]
    historical: NDArray[np.bool_]


def thin(batch: Batch, table: Table, tally: Tally) -> Batch:
    """Drops and counts rows; remembers in the table what it let through. May leave no row."""
    if not table.thins:
        return batch
    mine = np.flatnonzero((table.deadband[batch.points] > 0) | (table.interval[batch.points] > 0))
    if not len(mine):
        return batch
    rows = _rows(batch, mine)
    alone = len(np.unique(rows.points)) == len(mine)
    verdicts = np.zeros(len(batch), np.int8)
    verdicts[mine] = _together(rows, table) if alone else _in_turn(rows, table)
    tally.counts[Reason.INTERVAL] += int((verdicts == _TOO_SOON).sum())
    tally.counts[Reason.DEADBAND] += int((verdicts == _TOO_LITTLE).sum())
    return batch if not verdicts.any() else batch.take(verdicts == _PASS)


def _rows(batch: Batch, mine: NDArray[np.int64]) -> _Rows:
    numeric = batch.kind in (Kind.NUMBER, Kind.INTEGER, Kind.UNSIGNED)
    values = batch.values[mine].astype(np.float64) if numeric else np.zeros(len(mine))
    quality = batch.quality[mine].astype(np.int64)
    historical = (batch.flags[mine] & _HISTORICAL) != 0
    return _Rows(batch.points[mine], batch.at[mine], values, quality, batch.has_value[mine], historical)


def _together(rows: _Rows, table: Table) -> NDArray[np.int8]:
    """Every point once: all rows at a time."""
    points = rows.points
    past = rows.historical & (rows.at < table.last_at[points])
    free = (
        past | ~rows.present | (rows.quality != table.last_quality[points])
    )  # the quality before the first row is none
    soon = np.abs(rows.at - table.last_at[points]) < table.interval[points]
    little = (table.deadband[points] > 0) & (
        np.abs(rows.values - table.last_value[points]) <= table.deadband[points]
    )
    verdicts = np.where(free, _PASS, np.where(soon, _TOO_SOON, np.where(little, _TOO_LITTLE, _PASS)))
    through = (verdicts == _PASS) & ~past
    table.last_at[points[through]] = rows.at[through]
    table.last_quality[points[through]] = rows.quality[through]
    valued = through & rows.present
    table.last_value[points[valued]] = rows.values[valued]
    return verdicts.astype(np.int8)


def _in_turn(rows: _Rows, table: Table) -> list[int]:
    """Rows that depend on each other, one by one; the last row per point is kept in a dictionary meanwhile."""
    points = rows.points
    last: dict[int, tuple[int, int, float]] = {}
    verdicts: list[int] = []
    bands = (table.deadband[points].tolist(), table.interval[points].tolist())
    for point, at, value, quality, present, historical, band, interval in zip(
        *(column.tolist() for column in rows), *bands, strict=True
    ):
        was_at, was_quality, was = last.get(point) or _remembered(table, point)
        if historical and at < was_at:
            verdicts.append(_PASS)
            continue
        if not present or quality != was_quality:
            verdict = _PASS
        elif abs(at - was_at) < interval:
            verdict = _TOO_SOON
        else:
            verdict = _TOO_LITTLE if band > 0 and abs(value - was) <= band else _PASS
        if verdict == _PASS:
            last[point] = (at, quality, value if present else was)
        verdicts.append(verdict)
    for point, (at, quality, value) in last.items():
        table.last_at[point], table.last_quality[point], table.last_value[point] = at, quality, value
    return verdicts


def _remembered(table: Table, point: int) -> tuple[int, int, float]:
    return int(table.last_at[point]), int(table.last_quality[point]), float(table.last_value[point])
