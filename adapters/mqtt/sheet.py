"""Rows on their way into batches: one column set per kind of value, filled row by row and closed once per delivery."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from pipelines import quality as q
from pipelines.batch import Batch, Kind, batch_of
from pipelines.stage import Refusal

RAW = 65_536


class Cell(NamedTuple):
    """One row: see the columns of Batch."""

    point: int
    at: int
    value: Any
    quality: int
    flags: int


_Group = tuple[Kind, int]


class Columns:
    """The rows of one group. odd: place -> (quality, flags) of the rows that are not just good and without a flag: most are."""

    __slots__ = ("at", "odd", "points", "values")

    def __init__(self) -> None:
        self.points: list[int] = []
        self.at: list[int] = []
        self.values: list[Any] = []
        self.odd: dict[int, tuple[int, int]] = {}

    def add(self, cell: Cell) -> None:
        point, at, value, quality, flags = cell
        if flags or quality != q.GOOD:
            self.odd[len(self.points)] = quality, flags
        self.points.append(point)
        self.at.append(at)
        self.values.append(value)

    def batch(self, kind: Kind, received: int, version: int) -> Batch:
        quality, flags = self._marks()
        return batch_of(
            kind,
            self.points,
            self.at,
            self.values,
            received=received,
            quality=quality,
            flags=flags,
            registry_version=version,
        )

    def _marks(self) -> tuple[list[int] | int, list[int] | int]:
        if not self.odd:
            return q.GOOD, 0
        quality, flags = [q.GOOD] * len(self.points), [0] * len(self.points)
        for place, (mark, flag) in self.odd.items():
            quality[place], flags[place] = mark, flag
        return quality, flags


class Sheet:
    """What one delivery will hold. Batches have one kind each; a point that changes its kind starts new batches, so that
    its values stay in the order of the wire. `decoded` is added to by who reads the bytes, not by `row`.

    page: another object whenever new batches were begun; who fills columns by himself (`claim`) must look at it before.
    """

    def __init__(self) -> None:
        self.decoded = 0
        self.refused: list[Refusal] = []
        self.page = object()
        self._closed: list[tuple[_Group, Columns]] = []
        self._open: dict[_Group, Columns] = {}
        self._group_of: dict[int, _Group] = {}

    def row(self, kind: Kind, cell: Cell, group: int = 0) -> None:
        """group: 0, or the stamp that the batch must carry as `received`."""
        key = (kind, group)
        if self._group_of.setdefault(cell.point, key) != key:
            self._close()
            self._group_of[cell.point] = key
        (self._open.get(key) or self._begun(key)).add(cell)

    def claim(self, claims: Sequence[tuple[Kind, Sequence[int]]]) -> list[Columns]:
        """The columns for rows of these points, as long as `page` stays the same."""
        found = []
        for kind, points in claims:
            key = (kind, 0)
            for point in points:
                if self._group_of.setdefault(point, key) != key:
                    self._close()  # nothing is known any more that could be in the way
                    return self.claim(claims)
            found.append(self._open.get(key) or self._begun(key))
        return found

    def _begun(self, key: _Group) -> Columns:
        columns = self._open[key] = Columns()
        return columns

    def refuse(self, where: str, reasons: Counter[str], raw: bytes, at: int) -> None:
        self.refused.extend(Refusal(where, reason, raw[:RAW], at, n) for reason, n in reasons.items())

    def _close(self) -> None:
        self._closed.extend(self._open.items())
        self._open.clear()
        self._group_of.clear()
        self.page = object()

    def batches(self, received: int, version: int) -> list[Batch]:
        self._close()
        return [
            columns.batch(kind, group or received, version)
            for (kind, group), columns in self._closed
            if columns.points
        ]
