"""How many series strangers may make: names, tags and units that topics and payloads choose, counted over a source's whole life."""

from __future__ import annotations

from collections.abc import Mapping

TOO_MANY = "one signal more than adopt_limit allows: raise it, or list the signals"


class Adopted:
    """The series whose name, tags or unit a message chose, counted together, for as long as the collector runs: strangers choose
    them, and a series that was stored once is in every database for ever.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._series: set[_Series] = set()

    def closed_to(self, machine: str, name: str, tags: Mapping[str, str], unit: str) -> bool:
        """It would be one too many. unit: as the message says it; another unit is another series."""
        return len(self._series) >= self._limit and _series(machine, name, tags, unit) not in self._series

    def admit(self, machine: str, name: str, tags: Mapping[str, str], unit: str) -> bool:
        if self.closed_to(machine, name, tags, unit):
            return False
        self._series.add(_series(machine, name, tags, unit))
        return True


_Series = tuple[str, str, str, tuple[tuple[str, str], ...]]


def _series(machine: str, name: str, tags: Mapping[str, str], unit: str) -> _Series:
    return machine, name, unit, tuple(sorted(tags.items()))
