"""The shortest way for the usual message: a JSON object with its time, every expected value there and of its kind.

Nothing is decided here that the long way (payloads/document.py, binding.py) decides otherwise: whatever is not plain (a value that is missing, null
or of another type, no time, a retained message, a text with `":` in it, a key that may stand twice) is left to the long
way, untouched. tests/mqtt/test_quick.py compares both, message by message. What it saves is an object per value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec

from adapters.mqtt.paths import Path
from adapters.mqtt.payloads.document import LONG, once
from adapters.mqtt.sheet import Columns, Sheet
from pipelines.batch import Kind

PLAIN: dict[Kind, type] = {Kind.NUMBER: float, Kind.FLAG: bool, Kind.TEXT: str}
_NUMBERS = {int, float}

_decode = msgspec.json.Decoder().decode


class Place(NamedTuple):
    """One expected value: where it stands, and where it goes."""

    path: Path
    point: int
    kind: Kind


class Quick:
    """Reads the messages of one topic. `whole`: the object has no other keys than these and the time (`adopt`)."""

    __slots__ = ("_claims", "_columns", "_getters", "_keys", "_page", "_time", "_when", "_where")

    def __init__(
        self, places: Sequence[Place], time: str, when: Callable[[Any], int | None], *, whole: bool
    ) -> None:
        kinds = dict.fromkeys(place.kind for place in places)
        groups = [[place for place in places if place.kind is kind] for kind in kinds]
        self._getters = [_getter([str(place.path[0]) for place in group]) for group in groups]
        self._claims = [(group[0].kind, tuple(place.point for place in group)) for group in groups]
        self._where = [(PLAIN[kind], points, len(points)) for kind, points in self._claims]
        self._keys = len(places) + 1 if whole else 0
        self._time, self._when = time, when
        self._page: object = None
        self._columns: list[Columns] = []

    def read(self, payload: bytes, sheet: Sheet) -> int:
        """How many values it added; 0: nothing was done, the long way is needed."""
        if len(payload) > LONG:
            return 0
        try:
            document = _decode(payload)
            at = self._when(document[self._time])
            found = [get(document) for get in self._getters]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError, TypeError, IndexError):
            return 0
        if at is None or not once(payload, document) or (self._keys and len(document) != self._keys):
            return 0
        for place, (plain, _, _) in enumerate(self._where):
            values = found[place]
            types = set(map(type, values))
            if types != {plain}:
                if plain is not float or not types <= _NUMBERS:
                    return 0
                try:
                    found[place] = tuple(map(float, values))
                except OverflowError:
                    return 0
        return self._add(at, found, sheet)

    def _add(self, at: int, found: Sequence[Sequence[Any]], sheet: Sheet) -> int:
        if self._page is not sheet.page:
            self._columns = sheet.claim(self._claims)
            self._page = sheet.page
        added = 0
        for columns, values, (_, points, n) in zip(self._columns, found, self._where, strict=True):
            columns.points.extend(points)
            columns.at.extend((at,) * n)
            columns.values.extend(values)
            added += n
        sheet.decoded += added
        return added


def _getter(keys: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(keys) == 1:
        (key,) = keys
        return lambda document: (document[key],)
    return itemgetter(*keys)
