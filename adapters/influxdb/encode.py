"""Batches -> lines. A pure function of the batches and of what was written before in the session; no network, no clock.

Own encoder and not the client's `Point`: that one costs ten times as much, drops what is not finite without a word,
lets the type of a field follow the type of a Python value, and changes series whose tags end in a backslash.

Layout: values of one machine (and equal tags) with one time share a line, a field per signal. A point keeps its kind
for life, and the kind is the type of the field: NUMBER float, INTEGER integer, UNSIGNED unsigned (v1: integer, and what
does not fit is refused), FLAG boolean, TEXT string, WAVEFORM string with a JSON array. What is not good never appears as
a value; every change of quality is a point in `quality`. The memory of the last quality lives one session, so the first
row of every point writes its quality again: the same fact under the same key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adapters.influxdb.frames import WORTH, Frames
from adapters.influxdb.line import Line, Role
from adapters.influxdb.names import Names, Slot
from adapters.influxdb.statuscodes import name_of
from adapters.influxdb.values import MAX_TIME, MIN_TIME, texts_of, unstorable_rows
from pipelines import quality as q
from pipelines.batch import Batch


class Unstorable(NamedTuple):
    """Rows that cannot be written in any form: `slot` None if the point has no name of its own."""

    point: int
    at: int
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class Encoded:
    """`texts` in the order of time, then the changes of quality (`stated`). `unstorable`: never to be sent.

    The columns behind the texts are kept, so that a line is only taken apart when the server refuses it (`line`).
    cells, slots, weights: per field, in the order of the lines; begins, at: per line with values.
    """

    names: Names
    texts: Sequence[str] = ()
    unstorable: Sequence[Unstorable] = ()
    stated: Sequence[Line] = ()
    cells: Sequence[str] = ()
    slots: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    weights: Sequence[int] = ()
    begins: Sequence[int] = ()
    at: Sequence[int] = ()
    seen: tuple[NDArray[np.int64], NDArray[np.int64]] = (np.zeros(0, np.int64), np.zeros(0, np.int64))

    def line(self, number: int) -> Line:
        if number >= len(self.begins):
            return self.stated[number - len(self.begins)]
        begin = self.begins[number]
        end = self.begins[number + 1] if number + 1 < len(self.begins) else len(self.cells)
        slots, prefixes = tuple(self.slots[begin:end].tolist()), self.names.prefixes
        fields = tuple(prefixes[slot] + cell for slot, cell in zip(slots, self.cells[begin:end], strict=True))
        head = self.names.series[self.names.slots[slots[0]].series]
        return Line(head, fields, self.at[number], slots, tuple(self.weights[begin:end]))


class Columns(NamedTuple):
    """All rows of a write, whatever their batch. texts: the value as line protocol, '' where there is none.

    writable: has a value for the database. accounted: writable, or unstorable: what remains speaks by its quality only.
    """

    points: NDArray[np.int64]
    slots: NDArray[np.int64]
    at: NDArray[np.int64]
    quality: NDArray[np.int64]
    writable: NDArray[np.bool_]
    accounted: NDArray[np.bool_]
    texts: list[str]


class Encoder:
    """Encodes for one session. `encode` changes nothing but caches; `settle` notes what was stored."""

    def __init__(self, names: Names, *, unsigned: bool = True) -> None:
        self.names = names
        self._unsigned = unsigned
        self._last = np.full(0, -1, np.int64)
        self._frames = Frames(names)

    def encode(self, batches: Sequence[Batch]) -> Encoded:
        self.names.update()
        if not batches:
            return Encoded(self.names)
        unstorable: list[Unstorable] = []
        columns = self._columns(batches, unstorable)
        values = self._lines(columns)
        return self._with_quality(columns, values, unstorable)

    def settle(self, encoded: Encoded) -> None:
        """The quality that was encoded is stored now: only changes from it are written."""
        slots, codes = encoded.seen
        self._remembered()[slots] = codes

    def _remembered(self) -> NDArray[np.int64]:
        missing = len(self.names.slots) - len(self._last)
        if missing > 0:
            self._last = np.concatenate([self._last, np.full(missing, -1, np.int64)])
        return self._last

    def _columns(self, batches: Sequence[Batch], unstorable: list[Unstorable]) -> Columns:
        texts: list[str] = []
        writable, accounted = [], []
        for batch in batches:
            good, spoken, cells = self._cells(batch, unstorable)
            writable.append(good)
            accounted.append(spoken)
            texts += cells
        points = np.concatenate([batch.points for batch in batches]).astype(np.int64)
        return Columns(
            points=points,
            slots=self.names.of_point[points],
            at=np.concatenate([batch.at for batch in batches]),
            quality=np.concatenate([batch.quality for batch in batches]).astype(np.int64),
            writable=np.concatenate(writable),
            accounted=np.concatenate(accounted),
            texts=texts,
        )

    def _cells(
        self, batch: Batch, unstorable: list[Unstorable]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_], list[str]]:
        """Which rows have a value to be written, which are accounted for, and the text of each row's value."""
        good = q.is_good(batch.quality) & batch.has_value
        refused = unstorable_rows(
            batch, good, self.names.of_point[batch.points] >= 0, unsigned=self._unsigned
        )
        accounted = good.copy()
        for row, reason in sorted(refused.items()):
            at = int(batch.at[row])
            unstorable.append(
                Unstorable(int(batch.points[row]), at, ascii(batch.values[row : row + 1].tolist()[0]), reason)
            )
            good[row], accounted[row] = False, True
        if good.all():
            return good, accounted, texts_of(batch.kind, batch.values, unsigned=self._unsigned)
        cells = [""] * len(batch)
        rows = np.flatnonzero(good)
        for row, text in zip(
            rows.tolist(), texts_of(batch.kind, batch.values[rows], unsigned=self._unsigned), strict=True
        ):
            cells[row] = text
        return good, accounted, cells

    def _lines(self, columns: Columns) -> Encoded:
        rows, weights = self._ordered(columns, np.flatnonzero(columns.writable))
        at, slots = columns.at[rows], columns.slots[rows]
        begins = _begins(at, self.names.series_of[slots])
        cells = columns.texts
        if len(rows) != len(cells) or (rows[1:] < rows[:-1]).any():
            cells = [cells[row] for row in rows.tolist()]
        starts, times = begins.tolist(), at[begins].tolist()
        texts = self._joined(slots, cells, starts, times)
        return Encoded(self.names, texts, cells=cells, slots=slots, weights=weights, begins=starts, at=times)

    def _joined(
        self, slots: NDArray[np.int64], cells: list[str], begins: list[int], times: list[int]
    ) -> list[str]:
        if begins and len(cells) >= WORTH * len(begins):
            ends, line = [*begins[1:], len(cells)], self._frames.line
            return [
                line(slots[begin:end], cells[begin:end], at)
                for begin, end, at in zip(begins, ends, times, strict=True)
            ]
        return self._short(slots.tolist(), cells, begins, times)

    def _short(self, slots: list[int], cells: list[str], begins: list[int], times: list[int]) -> list[str]:
        """Lines of few fields."""
        starts, prefixes = self.names.starts, self.names.prefixes
        if len(begins) == len(cells):
            return [f"{starts[slot]}{cell} {at}" for slot, cell, at in zip(slots, cells, times, strict=True)]
        fields = [prefixes[slot] + cell for slot, cell in zip(slots, cells, strict=True)]
        for begin in begins:
            fields[begin] = starts[slots[begin]] + cells[begin]
        ends = [*begins[1:], len(fields)]
        return [
            f"{','.join(fields[begin:end])} {at}" for begin, end, at in zip(begins, ends, times, strict=True)
        ]

    def _ordered(self, columns: Columns, rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], list[int]]:
        """Rows by time, series and field; of rows with the same key the last one, as the database would keep it."""
        at, rank = columns.at[rows], self.names.rank[columns.slots[rows]]
        later, same = at[1:] > at[:-1], at[1:] == at[:-1]
        if np.all(later | (same & (rank[1:] > rank[:-1]))):
            return rows, [1] * len(rows)
        order = self._order(at, rank)
        rows, at, rank = rows[order], at[order], rank[order]
        first = np.ones(len(rows), np.bool_)
        first[1:] = (at[1:] != at[:-1]) | (rank[1:] != rank[:-1])
        if first.all():
            return rows, [1] * len(rows)
        starts = np.flatnonzero(first)
        ends = np.append(starts[1:], len(rows))
        return rows[ends - 1], (ends - starts).tolist()

    def _order(self, at: NDArray[np.int64], rank: NDArray[np.int64]) -> NDArray[np.intp]:
        """By time and rank, equal ones as they are. Times that rise, as in most writes, are sorted with the ranks as one number."""
        later = at[1:] != at[:-1]
        if (at[1:] >= at[:-1]).all():
            number = np.concatenate([[0], np.cumsum(later)]) * len(self.names.slots) + rank
            order = np.argsort(number)
            ordered = number[order]
            if (ordered[1:] != ordered[:-1]).all():
                return order
        return np.lexsort((rank, at))

    def _with_quality(self, columns: Columns, values: Encoded, unstorable: list[Unstorable]) -> Encoded:
        rows = np.flatnonzero((columns.slots >= 0) & (columns.at >= MIN_TIME) & (columns.at <= MAX_TIME))
        slots, codes = columns.slots[rows], columns.quality[rows]
        changed = self._changed(slots, codes)
        stated = [self._statement(columns, int(rows[index])) for index in changed.tolist()]
        texts = [*values.texts, *(line.text() for line in stated)] if stated else values.texts
        seen = _final(slots[changed], codes[changed])
        return replace(values, texts=texts, unstorable=unstorable, stated=stated, seen=seen)

    def _changed(self, slots: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.intp]:
        """Rows whose quality differs from the one before of the same point, in the order of the wire."""
        last = self._remembered()
        if np.array_equal(codes, last[slots]):
            return np.zeros(0, np.intp)
        order = np.argsort(slots, kind="stable")
        slots, codes = slots[order], codes[order]
        before = np.empty_like(codes)
        before[1:] = codes[:-1]
        starts = np.ones(len(slots), np.bool_)
        starts[1:] = slots[1:] != slots[:-1]
        before[starts] = last[slots[starts]]
        return np.sort(order[codes != before])

    def _statement(self, columns: Columns, row: int) -> Line:
        code, slot = int(columns.quality[row]), int(columns.slots[row])
        fields = f'code={code}i,name="{name_of(code)}"'
        weight = 0 if columns.accounted[row] else 1
        head, at = self.names.slots[slot].quality, int(columns.at[row])
        return Line(head, (fields,), at, (slot,), (weight,), Role.QUALITY)

    def slot(self, number: int) -> Slot:
        return self.names.slots[number]


def _begins(at: NDArray[np.int64], series: NDArray[np.int64]) -> NDArray[np.intp]:
    """Where a new line begins."""
    starts = np.ones(len(at), np.bool_)
    starts[1:] = (at[1:] != at[:-1]) | (series[1:] != series[:-1])
    return np.flatnonzero(starts)


def _final(slots: NDArray[np.int64], codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The last code of every slot that changed."""
    last = dict(zip(slots.tolist(), codes.tolist(), strict=True))
    return np.array(list(last), np.int64), np.array(list(last.values()), np.int64)
