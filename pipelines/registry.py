"""Every point ever seen, by number: append-only and versioned, so that a blob written years ago still means the same.

A batch names points by id (4 bytes) instead of by machine and name. An entry is never changed or removed: when the unit
or a tag of a signal changes in the configuration, a new id is given and old batches keep their old meaning (row C2 of
the fault matrix). Only the kind may not change: a database field has one type for life.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from pipelines.batch import Kind, Point


class KindConflict(Exception):
    """A point was asked for with another kind than it has had since it was first seen."""

    def __init__(self, known: Point, wanted: Kind) -> None:
        self.known, self.wanted = known, wanted
        super().__init__(
            f"{known.machine}/{known.name} has been stored as {known.kind.name.lower()} so far and cannot become "
            f"{wanted.name.lower()}: give the signal another name, or its old kind (kind: {known.kind.name.lower()})"
        )


class Registry:
    """Points by id and ids by point. Ids count from 0 in order of first sight; safe to use from several threads."""

    def __init__(self, points: Iterable[Point] = ()) -> None:
        self._points: list[Point] = []
        self._ids: dict[tuple[str, str, str, tuple[tuple[str, str], ...]], int] = {}
        self._latest: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()
        for point in points:
            self.intern(point)

    @property
    def version(self) -> int:
        """How many points there are: all ids below it are known, for ever."""
        return len(self._points)

    def __getitem__(self, point_id: int) -> Point:
        return self._points[point_id]

    def since(self, version: int) -> Sequence[Point]:
        """The points that were added after the registry had this version."""
        return self._points[version:]

    def latest(self, machine: str, name: str) -> int | None:
        """The newest id of this signal, if it was ever seen."""
        return self._latest.get((machine, name))

    def kind_of(self, machine: str, name: str) -> Kind | None:
        """The kind that this signal has for life, if it was ever seen."""
        known = self.latest(machine, name)
        return None if known is None else self._points[known].kind

    def intern(self, point: Point) -> int:
        """The id of this point, given now if it is new. Raises KindConflict when its kind differs from before."""
        with self._lock:
            key = (point.machine, point.name, point.unit, tuple(sorted(point.tags.items())))
            known = self._ids.get(key, self._latest.get(key[:2]))
            if known is not None and self._points[known].kind is not point.kind:
                raise KindConflict(self._points[known], point.kind)
            if key in self._ids:
                self._latest[key[:2]] = self._ids[key]
                return self._ids[key]
            return self._add(key, point)

    def _add(self, key: tuple[str, str, str, tuple[tuple[str, str], ...]], point: Point) -> int:
        new = len(self._points)
        self._points.append(point)
        self._ids[key] = self._latest[key[:2]] = new
        return new
