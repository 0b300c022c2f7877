"""One item, several points: the elements of an array, and the name of an enumeration's value beside its number.

On the wire it is one item; so it stays one in everything that concerns the server, and only its rows are taken apart, after
they were decoded. The parts have handles and columns of their own, which no server can name.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from adapters.opcua.columns import Segment, ticks_to_ns
from adapters.opcua.decode import Rows, Special
from adapters.opcua.grids import NEEDS_HEX, Bodies, Body, Grid, Octets, hexadecimal
from adapters.opcua.items import NOWHERE, Item, Items
from adapters.opcua.kinds import NO_STRUCTURES, selection_of, too_many
from adapters.opcua.paths import unusable
from adapters.opcua.shapes import MOST_LEAVES, TEXT, Catalogue, Leaf, Selection
from adapters.opcua.structures import unfold
from adapters.opcua.values import EPOCH_TICKS, Malformed
from pipelines.batch import Flag, Kind, column

_NUMBERS: Final = (Kind.INTEGER, Kind.UNSIGNED, Kind.FLAG)
_Whole = tuple[int, int, list[int], bool]
"""Order and handle of an item that was taken apart; its status and times as on the wire; whether it was without a value."""


class Parts:
    """Takes rows of `parents` apart. `items`: the parts, as items without a place at the server."""

    def __init__(self, parents: Items) -> None:
        self._parents = parents
        self.items = Items([], parents.registry)
        self._places: dict[tuple[int, str], int] = {}
        self._of: dict[int, list[int]] = {}
        self._counted: Sequence[Item] = ()
        self._apart: set[int] = set()
        self._selections: dict[int, Selection] = {}
        self._named: Sequence[Item] = ()
        self._names: set[tuple[str, str]] = set()
        self._wholes: list[_Whole] = []

    def begin(self) -> None:
        """First values come again, of wholes and of parts."""
        for items in (self._parents, self.items):
            items.columns.last.fill(0)

    def special(self, rows: Rows) -> Rows:
        """The rows of elements; what else is special is put back into `rows`, decided."""
        mine = Rows(arrivals=rows.arrivals)
        for one in [*rows.special, *self._waves(rows)]:
            item = self._parents.all[one.handle] if one.handle < len(self._parents.all) else None
            reason = "a value that nobody asked for" if item is None else self._taken(item, one, rows, mine)
            if reason:
                rows.strange.append((one.handle, reason, one.raw))
        return mine

    def _waves(self, rows: Rows) -> list[Special]:
        """Arrays of numbers whose signals want elements."""
        group = rows.groups.get(Kind.WAVEFORM)
        if group is None:
            return []
        wanted = self._wanting()
        rest = [place for place, row in enumerate(group.rows) if row[0] not in wanted]
        if len(rest) == len(group.rows):
            return []
        every = zip(group.rows, group.order, strict=True)
        taken = [Special(row[0], list(row[1:]), order) for row, order in every if row[0] in wanted]
        group.rows[:], group.order[:] = [group.rows[n] for n in rest], [group.order[n] for n in rest]
        if not rest:
            del rows.groups[Kind.WAVEFORM]
        return taken

    def _wanting(self) -> set[int]:
        """Items whose arrays of numbers are no waveforms; looked up when items have come, not for every delivery."""
        if self._counted is not self._parents.all:
            self._counted = self._parents.all
            self._apart = {item.handle for item in self._counted if item.signal.array != "waveform"}
        return self._apart

    def _taken(self, item: Item, one: Special, rows: Rows, mine: Rows) -> str:
        """Empty, or why it cannot be."""
        value = one.row[0]
        if isinstance(value, Body | Bodies):
            return self._unfolded(item, one, rows, mine)
        if isinstance(value, Octets):
            if item.signal.bytes == "refuse":
                return NEEDS_HEX
            rows.keep(one.handle, Kind.TEXT, [hexadecimal(value), *one.row[1:]], one.order)
            return ""
        grid = value if isinstance(value, Grid) else _grid(value)
        if item.signal.array != "elements":
            return (
                grid.reason
                if item.signal.array == "waveform"
                else "an array, and the configuration says `array: refuse`"
            )
        if grid.octets and item.signal.bytes == "refuse":
            return NEEDS_HEX
        if len(grid.cells) > item.signal.max_elements:
            return too_many(len(grid.cells), item.signal)
        item.spread = True
        self._note(one, mine)
        for place, cell in zip(itertools.product(*map(range, grid.shape)), _plain(grid.cells), strict=True):
            handle = self._part(item, f"[{','.join(map(str, place))}]", grid.kind)
            mine.keep(handle, None if cell is None else grid.kind, [cell, *one.row[1:]], one.order)
            mine.count += 1
        return ""

    def _unfolded(self, item: Item, one: Special, rows: Rows, mine: Rows) -> str:
        """A row for every field that is there, and one without a value for every field that was there once and is not now."""
        if item.signal.structure == "refuse":
            return NO_STRUCTURES
        selection = self._selections.setdefault(item.handle, selection_of(item.signal))
        try:
            found = unfold(one.row[0], item.types or Catalogue(), selection)
        except Malformed as error:
            return str(error)
        item.spread = True
        self._note(one, mine)
        rest = set(self._of.get(item.handle, ()))
        for leaf in found.leaves:
            handle = self._field(item, leaf, found.troubles)
            if handle >= 0:
                rest.discard(handle)
                kind = None if leaf.value is None else leaf.kind
                mine.keep(handle, kind, [leaf.value, *one.row[1:]], one.order)
                mine.count += 1
        for handle in sorted(rest):
            mine.keep(handle, None, [None, *one.row[1:]], one.order)
        mine.count += len(rest) + len(found.troubles)
        for number, trouble in enumerate(found.troubles):
            rows.strange.append((item.handle, trouble, b"" if number else one.raw))
        return ""

    def _note(self, one: Special, mine: Rows) -> None:
        mine.owners += 1
        self._wholes.append((one.order, one.handle, one.row[1:], False))

    def wholes(self, received: int) -> Segment | None:
        """The items that were taken apart since the last time, one row each, for what concerns a whole; values are not in it."""
        told, self._wholes = sorted(self._wholes, key=lambda one: one[0]), []
        if not told:
            return None
        order, handles, cells, silent = zip(*told, strict=True)
        table = np.array(cells, np.int64)
        own, server = ticks_to_ns(table[:, 1], table[:, 2]), ticks_to_ns(table[:, 3], table[:, 4])
        at = np.where(own != 0, own, np.where(server != 0, server, received))
        flags = np.where(silent, int(Flag.NO_VALUE), 0).astype(np.uint8)
        numbers = np.array(order, np.int64), np.array(handles, np.int64)
        quality = table[:, 0].astype(np.uint32)
        return Segment(Kind.NUMBER, *numbers, at, np.zeros(len(told)), quality, flags, server)

    def _field(self, item: Item, leaf: Leaf, troubles: list[str]) -> int:
        """Its handle; -1 for a null of which nobody has ever seen what it is, and beyond a bound."""
        known = self._places.get((item.handle, leaf.path))
        if known is not None:
            return known
        if len(self._of.get(item.handle, ())) >= MOST_LEAVES:
            troubles.append(f"{leaf.path}: more than {MOST_LEAVES} different fields have come")
            return -1
        return -1 if leaf.kind is None else self._part(item, leaf.path, leaf.kind)

    def silent(self, segment: Segment, mine: Rows) -> Segment:
        """Rows without a value of items that have parts go to the parts; the others stay."""
        if not self._of or not len(segment.flags) or not segment.flags[0] & Flag.NO_VALUE:
            return segment
        ours = np.isin(segment.handles, [h for h in self._of if self._parents.all[h].spread])
        mine.owners += int(ours.sum())
        for row in np.flatnonzero(ours):
            owner, order = int(segment.handles[row]), int(segment.order[row])
            cells = [int(segment.quality[row]), *_ticks(segment, int(row))]
            self._wholes.append((order, owner, cells, True))
            for handle in self._of[owner]:
                mine.keep(handle, None, [None, *cells], order)
                mine.count += 1
        return segment.take(np.flatnonzero(~ours)) if ours.any() else segment

    def of(self, items: Iterable[Item]) -> tuple[Item, ...]:
        """The parts of these, as far as they are known, with the state of the whole."""
        found: list[Item] = []
        for item in items:
            text = self._places.get((item.handle, TEXT))
            places = [*self._of.get(item.handle, ()), *([] if text is None else [text])]
            for place in places:
                self.items.all[place].status = item.status
                found.append(self.items.all[place])
        return tuple(found)

    def texts(self, segment: Segment) -> Segment | None:
        """The names of the values in this segment, as rows of the text points; None if there are none."""
        if segment.kind not in _NUMBERS:
            return None
        named = list(self._parents.named)
        rows = np.flatnonzero(np.isin(segment.handles, named)) if named else ()
        if not len(rows):
            return None
        part = segment.take(np.asarray(rows))
        owners = [self._parents.all[int(handle)] for handle in part.handles]
        handles = np.array([self._part(item, TEXT, Kind.TEXT) for item in owners], np.int64)
        return part._replace(kind=Kind.TEXT, handles=handles, values=_named(part, owners))

    def _part(self, item: Item, suffix: str, kind: Kind) -> int:
        place = self._places.get((item.handle, suffix))
        if place is None:
            place = self._places[item.handle, suffix] = len(self.items.all)
            if suffix != TEXT:
                self._of.setdefault(item.handle, []).append(place)
            part = _made(item, suffix, kind)
            self.items.extend([part])
            if wrong := self._unusable(part):
                part.fail(wrong)
                part.homeless = True  # never a point, and every value of it is refused
            self.items.adopt(part, kind)
        return place

    def _unusable(self, part: Item) -> str:
        """Why its name cannot be; a name that another signal has would mix the values of both."""
        if self._named is not self._parents.all:
            self._named = self._parents.all
            self._names = {(item.machine, item.signal.name) for item in self._named if not item.gone}
        if (part.machine, part.signal.name) in self._names:
            return f"the name {part.signal.name} belongs to another signal: give one of them another name"
        return unusable(part.signal.name)


def _made(item: Item, suffix: str, kind: Kind) -> Item:
    """An element is what its signal says; of a structure, what it says of unit and scale is for the numbers in it."""
    changed: dict[str, Any] = {"name": item.signal.name + suffix, "increments": "", "counter": None}
    unit, inside = item.unit, "." in suffix
    if inside:
        changed["kind"] = None
    if inside and kind in (Kind.TEXT, Kind.FLAG):
        changed |= {"unit": "", "scale": 1.0, "offset": 0.0}
        unit = ""
    signal = item.signal.model_copy(update=changed)
    return Item(
        0, item.machine, item.tags, signal, NOWHERE, unit=unit, path=item.path, resolved=item.resolved
    )


def _named(part: Segment, owners: Sequence[Item]) -> NDArray[Any]:
    """A number that has no name is its own."""
    silent = (part.flags & Flag.NO_VALUE) != 0
    cells = zip(owners, part.values.tolist(), silent.tolist(), strict=True)
    made = [
        Kind.TEXT.empty if none else item.texts.get(int(value), str(value)) for item, value, none in cells
    ]
    filled: NDArray[Any] = column(Kind.TEXT, made)
    return filled


def _grid(wave: NDArray[Any]) -> Grid:
    kind = (
        Kind.NUMBER if wave.dtype.kind == "f" else Kind.UNSIGNED if wave.dtype == np.uint64 else Kind.INTEGER
    )
    return Grid(kind, wave, (len(wave),))


def _plain(cells: Any) -> list[Any]:
    return cells.tolist() if isinstance(cells, np.ndarray) else list(cells)


def _ticks(segment: Segment, row: int) -> list[int]:
    """Times of a row as on the wire: source and server, each in ticks and picoseconds (0 for none)."""
    made: list[int] = []
    for ns in (int(segment.at[row]), int(segment.server_at[row])):
        made += [ns // 100 + EPOCH_TICKS, ns % 100 * 100] if ns else [0, 0]
    return made
