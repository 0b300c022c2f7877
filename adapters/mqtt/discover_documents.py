"""The schema of documents (JSON, MessagePack, CBOR), told from a few of them: fields, their time, units beside values, lists of records."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from adapters.mqtt.paths import Path, spell
from adapters.mqtt.payloads.document import leaves
from adapters.mqtt.times import by_magnitude, reader
from pipelines.units import known_unit_problem, unit_of

MOST: Final = 500  # values of one document that are proposed
LONGEST: Final = 200  # characters of a text that may be a value
TIMES: Final = re.compile(r"(t|ts|time|timestamp|time_?stamp|date|date_?time|datum|zeit|_time|at|epoch|(sample|source|server|event|device)_?time(stamp)?)", re.IGNORECASE)  # fmt: skip
_UNITS: Final = re.compile(r"(unit|units|uom|einheit|eng_?units?)", re.IGNORECASE)
_QUALITY: Final = re.compile(r"(q|quality|qual|valid|status_?code|good)", re.IGNORECASE)
_NAMES: Final = ("name", "tag", "signal", "key", "metric", "item", "channel", "id", "n")
_VALUES: Final = ("value", "val", "v", "y")
_PLAUSIBLE: Final = (946_684_800 * 10**9, 4_102_444_800 * 10**9)  # from 2000 to 2100
_moment = reader("auto")


@dataclass(slots=True)
class Field:
    """A value in a document. address: what the entry says of it (value or item). shown: the last one. kind: number, flag, text."""

    path: Path
    address: Mapping[str, str]
    kind: str = ""
    shown: Any = None
    unit: str = ""
    why: str = ""
    role: str = ""  # time, unit, quality


@dataclass(slots=True)
class Kind:
    """What a topic carries. name: of the payload. payload: as a read entry says it. why: it cannot be proposed."""

    name: str
    payload: Any = None
    fields: list[Field] = field(default_factory=list)
    words: str = ""
    why: str = ""

    @property
    def values(self) -> list[Field]:
        return [each for each in self.fields if not each.why and each.role not in ("time", "unit")]

    @property
    def sole(self) -> Field | None:
        """The one value of a message that is one value, bare or in a document with its time, unit and quality."""
        told = [each for each in self.values if each.role != "quality"]
        one = len(told) == 1 and "item" not in told[0].address
        return told[0] if one else None


def document(name: str, documents: Sequence[Any]) -> Kind:
    records = _records(documents)
    if records is not None:
        each, called, valued, items = records
        time = next((key for key in items[-1] if TIMES.fullmatch(key) and all(is_time(item.get(key)) for item in items)), "")  # fmt: skip
        record: dict[str, Any] = {"type": name, "each": each, "name": called, "value": valued, **({"time": time} if time else {})}  # fmt: skip
        known = {str(item[called]): item[valued] for item in items}
        fields = [Field((key,), {"item": key}, _sort(value), value) for key, value in known.items()]
        return Kind(name, record, fields[:MOST], f"a list of records{_time_words(time, items[-1].get(time))}")  # fmt: skip
    fields = _fields(documents)
    time = next((spell(each.path) for each in fields if each.role == "time"), "")
    shown = next((each.shown for each in fields if each.role == "time"), None)
    payload: Any = {"type": name, "time": time} if time else name
    kind = Kind(name, payload, fields, f"{len(fields)} fields{_time_words(time, shown)}")
    _give_unit(kind)
    if not kind.values:
        kind.why = "no value in it that can be stored"
    return kind


def _time_words(time: str, shown: Any) -> str:
    if not time:
        return ""
    return f", time in {time} ({'RFC 3339' if isinstance(shown, str) else by_magnitude(shown)})"


def _records(documents: Sequence[Any]) -> tuple[str, str, str, list[dict[str, Any]]] | None:
    """A list of objects that each bear a name and a value: its path, both keys, and all of them."""
    first = documents[-1]
    places = (
        [""] if isinstance(first, list) else [key for key, value in first.items() if isinstance(value, list)]
    )
    for place in places:
        lists = [each if not place else each.get(place) if isinstance(each, dict) else None for each in documents]  # fmt: skip
        if not all(isinstance(each, list) and each and all(isinstance(item, dict) for item in each) for each in lists):  # fmt: skip
            continue
        items = [item for each in lists for item in each or ()]
        called = next((key for key in _NAMES if all(isinstance(item.get(key), str) and item[key] for item in items)), "")  # fmt: skip
        valued = next((key for key in _VALUES if all(key in item and not isinstance(item[key], dict | list) for item in items)), "")  # fmt: skip
        if called and valued:
            return spell((place,)) if place else "", called, valued, items
    return None


def _fields(documents: Sequence[Any]) -> list[Field]:
    """Every value of the last document that has it, with what all documents say of it."""
    seen: dict[Path, list[Any]] = {}
    for document in documents:
        for path, value in leaves(document):
            if path in seen or len(seen) < MOST:
                seen.setdefault(path, []).append(value)
    made = [_field(path, values) for path, values in seen.items()]
    times = [each for each in made if isinstance(each.path[-1] if each.path else 0, str) and TIMES.fullmatch(str(each.path[-1])) and all(map(is_time, seen[each.path]))]  # fmt: skip
    complete = [each for each in times if len(seen[each.path]) == len(documents)]
    if complete:
        min(complete, key=lambda each: len(each.path)).role = "time"
    return made


def _field(path: Path, values: Sequence[Any]) -> Field:
    told = [value for value in values if value is not None]
    made = Field(path, {"value": spell(path)}, _sort(told[-1]) if told else "", told[-1] if told else None)
    name = str(path[-1]) if path else ""
    kinds = {_sort(value) for value in told}
    if not told:
        made.why = "always null"
    elif "" in kinds:
        made.why = "a list or object that is empty, or bytes"
    elif len(kinds) > 1:
        made.why = f"now {' and now '.join(sorted(kinds))}"
    elif made.kind == "text" and len(str(made.shown)) > LONGEST:
        made.why = f"a text of {len(str(made.shown))} characters"
    elif _UNITS.fullmatch(name) and made.kind == "text" and len(set(told)) == 1:
        made.role = "unit"
    elif _QUALITY.fullmatch(name):
        made.role = "quality"
    return made


def _sort(value: Any) -> str:
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else ""


def is_time(value: Any) -> bool:
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        return False
    at = _moment(value)
    return at is not None and _PLAUSIBLE[0] <= at < _PLAUSIBLE[1]


def _give_unit(kind: Kind) -> None:
    """A unit beside one number is its unit."""
    for unit in [each for each in kind.fields if each.role == "unit"]:
        beside = [each for each in _beside(kind.values, unit.path[:-1]) if each.kind == "number"]
        if len(beside) == 1 and unit_of(str(unit.shown)) and not known_unit_problem(str(unit.shown)):
            beside[0].unit = str(unit.shown)


def _beside(fields: Sequence[Field], place: Path) -> Iterator[Field]:
    return (each for each in fields if each.path[:-1] == place)
