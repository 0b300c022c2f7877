"""From the columns of a skimmed message to the columns of a sheet, without an object or a question per metric.

A lane says of one shape of one alias: which point, which column, and what is still to do with the number. Lanes are laid by the careful way
(`reading.py`) when it has met a metric, and hold as long as the very birth that gave the aliases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from adapters.mqtt.sheet import Columns, Sheet
from adapters.mqtt.sparkplug.layouts import LENGTHS, Key, Layout, Skim
from adapters.mqtt.sparkplug.meaning import Plan
from adapters.mqtt.sparkplug.model import Entity, Known
from adapters.mqtt.sparkplug.values import INTEGERS, Unreadable, extended
from pipelines.batch import Kind

_FLOATS: Final = (9, 10)
_BOOLEAN: Final = 11
_FIELDS: Final = {10: INTEGERS, 11: INTEGERS, 12: _FLOATS, 13: _FLOATS, 14: (_BOOLEAN,)}


class Lane:
    """convert: None: as it is. wanted: False: nobody reads this metric. columns: of the sheet's `page`."""

    __slots__ = ("columns", "convert", "kind", "page", "point", "wanted")

    def __init__(self, point: int, kind: Kind, convert: Callable[[Any], Any] | None, *, wanted: bool) -> None:
        self.point, self.kind, self.convert, self.wanted = point, kind, convert, wanted
        self.columns = Columns()
        self.page: object = None


class Track:
    """The lanes of a layout, grouped by the column where their values go."""

    __slots__ = ("_claims", "_columns", "_converts", "_page", "_picks", "_wanted")

    def __init__(self, lanes: Sequence[Lane]) -> None:
        kinds = dict.fromkeys(lane.kind for lane in lanes if lane.wanted)
        groups = [[n for n, lane in enumerate(lanes) if lane.wanted and lane.kind is kind] for kind in kinds]
        self._claims = [
            (kind, [lanes[n].point for n in group]) for kind, group in zip(kinds, groups, strict=True)
        ]
        self._picks = [_pick(group, len(lanes)) for group in groups]
        self._converts = [
            (n, lane.convert) for n, lane in enumerate(lanes) if lane.wanted and lane.convert is not None
        ]
        self._wanted = sum(map(len, groups))
        self._page: object = None
        self._columns: list[Columns] = []

    def values(self, said: Skim) -> Sequence[Any] | None:
        """As they are stored; None: one of them cannot be read."""
        if not self._converts:
            return said.values
        values = list(said.values)
        try:
            for place, convert in self._converts:
                values[place] = convert(values[place])
        except Unreadable:
            return None
        return values

    def add(self, times: Sequence[int], values: Sequence[Any], sheet: Sheet) -> None:
        if self._page is not sheet.page:
            self._columns = sheet.claim(self._claims)
            self._page = sheet.page
        for columns, (_, points), pick in zip(self._columns, self._claims, self._picks, strict=True):
            columns.points += points
            columns.at += times if pick is None else pick(times)
            columns.values += values if pick is None else pick(values)
        sheet.decoded += self._wanted


def _pick(places: Sequence[int], of: int) -> Callable[[Sequence[Any]], Sequence[Any]] | None:
    """None: all of them, as they stand."""
    if len(places) == of:
        return None
    first = places[0]
    return itemgetter(*places) if len(places) > 1 else lambda column: (column[first],)


class Lanes:
    """Of one read entry on one entity."""

    def __init__(self) -> None:
        self._birth: object = None
        self._lanes: dict[Key, Lane] = {}
        self._tracks: dict[Layout, Track] = {}
        self._uniform = True

    def track(self, entity: Entity, layout: Layout) -> Track | None:
        """Where all of a message of this layout goes; None: one of its metrics is not known well enough."""
        if self._birth is not entity.by_alias:
            return None
        return self._tracks.get(layout) or self._made(layout)

    def _made(self, layout: Layout) -> Track | None:
        lanes = [lane for key in layout.keys if (lane := self._lanes.get(key)) is not None]
        if len(lanes) < len(layout.keys):
            return None
        if len(self._tracks) >= LENGTHS:
            self._tracks.clear()
        track = self._tracks[layout] = Track(lanes)
        return track

    def take(self, entity: Entity, said: Skim, sheet: Sheet) -> bool:
        """Adds all of the message, or nothing: then it must be read the careful way."""
        if self._birth is not entity.by_alias:
            self._birth, self._lanes, self._tracks, self._uniform = entity.by_alias, {}, {}, True
            return False
        lanes = [*map(self._lanes.get, said.keys)]
        if not lanes or None in lanes:
            return False
        return self._add(lanes, said, sheet)  # type: ignore[arg-type] # there is no None in it

    def _add(self, lanes: Sequence[Lane], said: Skim, sheet: Sheet) -> bool:
        values: Sequence[Any] = said.values
        if not self._uniform:
            try:
                values = [value if lane.convert is None else lane.convert(value) for lane, value in zip(lanes, values, strict=True)]  # fmt: skip
            except Unreadable:
                return False
        page = sheet.page
        if any([lane.page is not page for lane in lanes]):  # noqa: C419 - a list is twice as fast as a generator
            _claim(lanes, sheet)
        if self._uniform:
            columns = lanes[0].columns
            columns.points += [lane.point for lane in lanes]
            columns.at += said.times
            columns.values += values
            sheet.decoded += len(lanes)
        else:
            _each(lanes, said.times, values, sheet)
        return True

    def lay(self, entity: Entity, said: Skim, plans: Mapping[Known, Plan | None]) -> None:
        """After the careful way: what it knows now of these metrics."""
        for key in said.keys:
            known = entity.by_alias.get(key[0])
            if key not in self._lanes and known is not None and known in plans:
                lane = _lane(key, known, plans[known])
                if lane is not None:
                    self._lanes[key] = lane
        kinds = {lane.kind for lane in self._lanes.values()}
        self._uniform = len(kinds) == 1 and all(
            lane.wanted and lane.convert is None for lane in self._lanes.values()
        )


def _lane(key: Key, known: Known, plan: Plan | None) -> Lane | None:
    _, field, datatype = key
    if datatype not in (0, known.datatype):
        return None
    if plan is None:
        return Lane(0, Kind.NUMBER, None, wanted=False)
    if plan.by_receipt or known.datatype not in _FIELDS[field]:
        return None
    kind, convert = plan.reader.kind, _converter(known.datatype)
    if plan.kind is Kind.NUMBER and kind in (Kind.INTEGER, Kind.UNSIGNED):
        whole = convert
        kind, convert = Kind.NUMBER, lambda number: float(whole(number) if whole else number)
    return Lane(plan.point, kind, convert, wanted=True)


def _converter(datatype: int) -> Callable[[Any], Any] | None:
    if datatype not in INTEGERS:
        return None
    bits, signed = INTEGERS[datatype]
    top = 1 << bits if not signed else 1 << bits - 1
    return lambda number: number if number < top else extended(number, datatype)


def _claim(lanes: Sequence[Lane], sheet: Sheet) -> None:
    groups: dict[Kind, list[int]] = {}
    for lane in lanes:
        if lane.wanted:
            groups.setdefault(lane.kind, []).append(lane.point)
    columns = dict(zip(groups, sheet.claim(list(groups.items())), strict=True))
    for lane in lanes:
        lane.page = sheet.page
        if lane.wanted:
            lane.columns = columns[lane.kind]


def _each(lanes: Sequence[Lane], times: Sequence[int], values: Sequence[Any], sheet: Sheet) -> None:
    for lane, at, value in zip(lanes, times, values, strict=True):
        if lane.wanted:
            columns = lane.columns
            columns.points.append(lane.point)
            columns.at.append(at)
            columns.values.append(value)
            sheet.decoded += 1
