"""Alarms in the truth as the signals that a collector makes of them: a row per word, at the time of the event.

After each of its refreshes the collector states once more what is so, at the time that the refresh ended. These rows are no events,
and none of them must be there; but if one is, it must say what was so.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

NAME: Final = "alarm"
"""Where the names of the signals begin, as in the configuration that the simulators write."""
WORDS: Final = ("active", "acked", "severity", "message")


@dataclass(slots=True)
class Restated:
    """What may be said again at the end of a refresh, and is then neither expected nor spurious.

    times: at which the collector says that it stored once more what had not changed while a source was away (`restated.<source>`).
    """

    times: set[int] = field(default_factory=set)
    _rows: set[tuple[str, str, int, Any]] = field(default_factory=set)
    _events: set[tuple[str, str, int, Any]] = field(default_factory=set)

    def note(self, machine: str, t: int, conditions: list[dict[str, Any]]) -> None:
        """A refresh told how these conditions stand."""
        for each in conditions:
            for word in WORDS:
                self._rows.add((machine, signal(each, word), t, _over(each, word)))

    def holds(self, machine: str, name: str, t: int, value: Any) -> bool:
        """Whether this row says again what was so."""
        if not name.startswith(f"{NAME}.") or not isinstance(value, bool | int | str):
            return False
        row = (machine, name, t, value)
        return row in self._rows and row not in self._events

    def expected(self, machine: str, name: str, t: int, value: Any) -> None:
        """An event says just this at this time: then it must be there."""
        self._events.add((machine, name, t, value))


def signals(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The signals of one event of a condition."""
    for word in (*WORDS, "event_id"):
        yield signal(row, word), row[word]


def signal(row: Mapping[str, Any], word: str) -> str:
    """`alarm.<source>.<condition>.<word>`; dots in names would part them."""
    source, condition = (str(row[name]).replace(".", "_") for name in ("source", "condition"))
    return ".".join((NAME, *(name for name in (source, condition) if name), word))


def _over(state: Mapping[str, Any], word: str) -> Any:
    """What no longer concerns anybody is inactive and acknowledged."""
    return state[word] if state["retain"] or word not in ("active", "acked") else word == "acked"
