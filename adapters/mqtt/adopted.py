"""How many series strangers may make: names and tags that topics and payloads choose, counted over a source's whole life."""

from __future__ import annotations

from collections.abc import Mapping

TOO_MANY = "one signal more than adopt_limit allows: raise it, or list the signals"


class Adopted:
    """The series whose name or tags a message chose, counted together, for as long as the collector runs: strangers choose
    them, and a series that was stored once is in every database for ever.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._series: set[tuple[str, str, tuple[tuple[str, str], ...]]] = set()

    def closed_to(self, machine: str, name: str, tags: Mapping[str, str]) -> bool:
        """It would be one too many."""
        return len(self._series) >= self._limit and _series(machine, name, tags) not in self._series

    def admit(self, machine: str, name: str, tags: Mapping[str, str]) -> bool:
        if self.closed_to(machine, name, tags):
            return False
        self._series.add(_series(machine, name, tags))
        return True


def _series(machine: str, name: str, tags: Mapping[str, str]) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    return machine, name, tuple(sorted(tags.items()))
