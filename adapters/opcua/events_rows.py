"""Rows that are made one at a time: of events, of which there are few; what they become is batches like all others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from adapters.settings import SignalSettings, intern
from pipelines import quality as q
from pipelines.batch import Batch, Kind, batch_of
from pipelines.registry import KindConflict, Registry


class EventRows:
    """Collects rows of one machine's signals. newest: ns, the largest time of a row so far, 0 for none."""

    def __init__(self, machine: str, tags: Mapping[str, str], registry: Registry) -> None:
        self._machine, self._tags, self._registry = machine, tags, registry
        self._cells: dict[Kind, list[tuple[int, int, Any, int]]] = {}
        self.strange: list[str] = []
        self.newest = 0

    def put(self, name: str, kind: Kind, value: Any, at: int, flags: int = 0) -> None:
        """A row; one that has no signal, because its name had another kind before, is told in `strange`."""
        try:
            point = intern(self._registry, self._machine, self._tags, SignalSettings(name=name), kind)
        except KindConflict as conflict:
            self.strange.append(str(conflict))
            return
        self._cells.setdefault(kind, []).append((point, at, value, flags))
        self.newest = max(self.newest, at)

    def take(self, received: int) -> Iterator[Batch]:
        """What was collected since the last call; received: ns, our clock."""
        cells, self._cells = self._cells, {}
        for kind, rows in cells.items():
            points, at, values, flags = zip(*rows, strict=True)
            yield batch_of(
                kind, points, at, values,
                received=received, quality=q.GOOD, flags=flags, registry_version=self._registry.version,
            )  # fmt: skip
