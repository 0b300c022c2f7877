"""Recordings: stored values as a file that the simulators play back, so that a customer's machine becomes a test case.

Made from what is stored and not from a look at the values in flight: that look skips what a slow reader misses, and a recording
with silent holes would be a test case of its own making.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

OWN: Final = "collector"
EPOCH_NS: Final = 1_767_225_600_000_000_000
"""2026-01-01T00:00:00Z: when anonymous recordings begin."""


class Anonymous:
    """Takes names, texts and the date out of rows; numbers, units, qualities and distances in time stay as they are.

    The same name or text gets the same number wherever it stands, so that what belongs together still does.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}
        self._first: int | None = None

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        first = self._first = row["time"] if self._first is None else self._first
        value = row["value"]
        return {
            **row,
            "time": row["time"] - first + EPOCH_NS,
            "machine": self._name("machine", row["machine"]),
            "signal": self._name("signal", row["signal"]),
            "value": self._name("text", value) if isinstance(value, str) and value else value,
        }

    def _name(self, what: str, word: str) -> str:
        number = sum(kind == what for kind, _ in self._known) + 1
        return self._known.setdefault((what, word), f"{what}-{number}")


def recorded(rows: Iterable[Mapping[str, Any]], *, anonymous: bool) -> Iterator[dict[str, Any]]:
    """Rows of machines, in the order of their times; what the collector says about itself is no part of a machine."""
    mask = Anonymous()
    for row in sorted((row for row in rows if row["machine"] != OWN), key=lambda row: int(row["time"])):
        yield mask.row(row) if anonymous else dict(row)
