"""The server's words about lines that it refuses: what they name, and what the user can change.

Words only direct the search (writer.py): a value is refused when a request that holds nothing else was, or one in which
all values share the fault that the server named. Known words: InfluxDB 1.6 to 1.8, 2.7 (`field type conflict`, `points
beyond retention policy dropped=3`, `dropped 3 points outside retention policy`), 3 (`invalid column type for column`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from adapters.influxdb.answers import Verdict


class Outcome(NamedTuple):
    verdict: Verdict
    message: str


Post = Callable[[bytes], Outcome]


class Conflict(NamedTuple):
    """A field that has another type in the database. measurement: '' if the server does not say."""

    measurement: str
    field: str
    here: str
    there: str

    def concerns(self, measurement: str, field: str, kind: str) -> bool:
        """Whether this field with this type is the one meant: machines may disagree about the type among themselves."""
        return self.field == field and self.measurement in ("", measurement) and self.here == kind


_CONFLICT = re.compile(
    r'input field "(?P<field>.*)" on measurement "(?P<measurement>.*)" '
    r"is type (?P<here>\w+), already exists as type (?P<there>\w+)",
    re.DOTALL,
)
_COLUMN = re.compile(
    r"column type for column '?(?P<field>.*?)'?, expected (?:\w+::)*(?P<there>\w+), got (?:\w+::)*(?P<here>\w+)",
    re.DOTALL,
)
_DROPPED = re.compile(r"dropped[ =](\d+)")
_RETENTION = re.compile("retention polic", re.IGNORECASE)


def conflict_of(message: str) -> Conflict | None:
    """What the server says about types, if it does."""
    if found := _CONFLICT.search(message):
        return Conflict(found["measurement"], found["field"], found["here"], found["there"])
    if found := _COLUMN.search(message):
        return Conflict("", found["field"], found["here"], found["there"])
    return None


def too_old(message: str) -> int:
    """How many lines the server says that it dropped because of their age; 0 if it says nothing of the kind."""
    dropped = _DROPPED.search(message) if _RETENTION.search(message) else None
    return int(dropped[1]) if dropped else 0


def advice(outcome: Outcome, *, retyped: bool = False) -> str:
    """What the user can change. retyped: the value was already in the field for values of its own type."""
    if outcome.verdict is Verdict.TOO_LARGE:
        return "A single value is larger than the server's limit: raise the limit of the server."
    conflict = conflict_of(outcome.message)
    if conflict is not None:
        also = "" if retyped else ", or let the collector do it: on_conflict: twin"
        return (
            f"The field has type {conflict.there} in the database and is {conflict.here} here: give the signal another "
            f"name, or remove the field from the database{also}."
        )
    if re.search("retention|outside", outcome.message):
        return (
            "Its time is older than the database keeps (retention): make the retention of the bucket or database longer, "
            "then replay it from the quarantine."
        )
    if re.search("max-(series|values)-per", outcome.message):
        return "The database has reached a limit of its own: raise the limit, then replay it from the quarantine."
    return "Correct what the server names, then replay it from the quarantine."
