"""Rows on their way into batches: one column set per kind of value, filled row by row and closed once per delivery."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

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


class Sheet:
    """What one delivery will hold. Batches have one kind each; a point that changes its kind starts new batches, so that
    its values stay in the order of the wire. `decoded` is added to by who reads the bytes, not by `row`.
    """

    def __init__(self) -> None:
        self.decoded = 0
        self.refused: list[Refusal] = []
        self._closed: list[tuple[_Group, list[Cell]]] = []
        self._open: dict[_Group, list[Cell]] = {}
        self._group_of: dict[int, _Group] = {}

    def row(self, kind: Kind, cell: Cell, group: int = 0) -> None:
        """group: 0, or the stamp that the batch must carry as `received`."""
        key = (kind, group)
        if self._group_of.setdefault(cell.point, key) != key:
            self._close()
            self._group_of[cell.point] = key
        cells = self._open.get(key)
        if cells is None:
            cells = self._open[key] = []
        cells.append(cell)

    def refuse(self, where: str, reasons: Counter[str], raw: bytes, at: int) -> None:
        self.refused.extend(Refusal(where, reason, raw[:RAW], at, n) for reason, n in reasons.items())

    def _close(self) -> None:
        self._closed.extend(self._open.items())
        self._open.clear()
        self._group_of.clear()

    def batches(self, received: int, version: int) -> list[Batch]:
        self._close()
        return [_batch(kind, cells, group or received, version) for (kind, group), cells in self._closed]


def _batch(kind: Kind, cells: Sequence[Cell], received: int, version: int) -> Batch:
    points, at, values, quality, flags = zip(*cells, strict=True)
    return batch_of(
        kind, points, at, values, received=received, quality=quality, flags=flags, registry_version=version
    )
