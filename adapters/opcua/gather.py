"""Fields of many items, from wherever they lie, as numpy columns: a few steps for thousands of items, none per item.

Items of all layouts go together: first the places of a field are calculated for all of them, then its bytes are fetched at
once through a view of the message that begins at every byte. Only texts become Python objects one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adapters.opcua.blocks import DTYPES, FIELDS, VALUE
from adapters.opcua.values import KINDS, SCALARS, TEXTS, text
from pipelines.batch import Kind

_HEAD: Final = np.dtype([("handle", "<u4"), ("mask", "u1"), ("type", "u1")])
_PADDING: Final = bytes(16)
_STRING: Final = 12


class Piece(NamedTuple):
    """Items of one message. starts: int64[items], into `buffer`. order: int64[items], how many came before each."""

    buffer: bytes
    starts: NDArray[np.int64]
    order: NDArray[np.int64]


@dataclass(slots=True)
class Loose:
    """Items of small notifications, collected until it is worth while. skip: places in `starts` of those decoded elsewhere."""

    buffers: list[bytes] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    firsts: list[int] = field(default_factory=list)
    skip: list[int] = field(default_factory=list)

    def pieces(self) -> list[Piece]:
        """All of them as one; none if there are none."""
        if not self.counts:
            return []
        before = np.cumsum([0, *self.counts[:-1]])
        bases = np.cumsum([0, *(len(buffer) for buffer in self.buffers[:-1])])
        order = np.arange(len(self.starts)) + np.repeat(np.array(self.firsts) - before, self.counts)
        starts = np.array(self.starts, np.int64) + np.repeat(bases, self.counts)
        if self.skip:
            starts, order = np.delete(starts, self.skip), np.delete(order, self.skip)
        return [Piece(b"".join(self.buffers), starts, order)] if len(order) else []


class Wire(NamedTuple):
    """Items with values of one kind, as the wire has them; `fields` by mask bit, without those that no item has.

    kind: None for items without a value. values: an array of the kind's dtype, a list for texts, None for none.
    """

    kind: Kind | None
    order: NDArray[np.int64]
    handles: NDArray[np.int64]
    values: Any
    fields: dict[int, NDArray[Any]]

    def take(self, kind: Kind | None, rows: NDArray[np.intp]) -> Wire:
        """Some of the items, still without values."""
        fields = {bit: cells[rows] for bit, cells in self.fields.items()}
        return Wire(kind, self.order[rows], self.handles[rows], None, fields)


def _table(dtype: Any, cells: dict[int, int], other: int) -> NDArray[Any]:
    made = np.full(256, other, dtype)
    made[list(cells)] = list(cells.values())
    return made


_WIDTHS: Final = _table(
    np.int64,
    {kind: np.dtype(DTYPES[form]).itemsize for kind, form in SCALARS.items()} | dict.fromkeys(TEXTS, 4),
    0,
)
_KINDS: Final = _table(np.int8, {kind: int(KINDS[kind]) for kind in (*SCALARS, *TEXTS)}, -1)


def gather(pieces: Sequence[Piece]) -> Iterator[Wire]:
    """All items, one kind after the other, each in the order of the wire."""
    if not pieces:
        return
    buffer, starts, order = _joined(pieces)
    heads = _at(buffer, "V6", starts).view(_HEAD)
    masks = heads["mask"]
    valued = masks & VALUE
    types = np.where(valued, heads["type"], 0)
    types[types == 16] = _STRING  # XmlElement is encoded like it
    kinds, at = _KINDS[types], starts + 6
    tails = starts + 5 + valued + _WIDTHS[types]
    texts = np.flatnonzero(types == _STRING)
    if len(texts):
        lengths = _at(buffer, "<i4", at[texts])
        tails[texts] += np.maximum(lengths, 0)
        kinds[texts[lengths < 0]] = -1
    everything = Wire(None, order, heads["handle"].astype(np.int64), None, _fields(buffer, masks, tails))
    for number in np.flatnonzero(np.bincount(kinds + 1)) - 1:
        rows = np.flatnonzero(kinds == number)
        kind = None if number < 0 else Kind(int(number))
        wire = everything._replace(kind=kind) if len(rows) == len(kinds) else everything.take(kind, rows)
        yield wire if kind is None else wire._replace(values=_values(buffer, kind, types[rows], at[rows]))


def _joined(pieces: Sequence[Piece]) -> tuple[bytes, NDArray[np.int64], NDArray[np.int64]]:
    buffer = b"".join([*(piece.buffer for piece in pieces), _PADDING])
    bases = np.cumsum([0, *(len(piece.buffer) for piece in pieces[:-1])])
    starts = np.concatenate([piece.starts + base for piece, base in zip(pieces, bases, strict=True)])
    return buffer, starts, np.concatenate([piece.order for piece in pieces])


def _at(buffer: bytes, dtype: Any, places: NDArray[np.int64]) -> NDArray[Any]:
    """What lies at these places. Every place is inside of the buffer (its padding), or numpy raises."""
    size = np.dtype(dtype).itemsize
    found: NDArray[Any] = np.ndarray((len(buffer) - size + 1,), dtype, buffer, strides=(1,))[places]
    return found


def _fields(buffer: bytes, masks: NDArray[np.uint8], tails: NDArray[np.int64]) -> dict[int, NDArray[Any]]:
    found: dict[int, NDArray[Any]] = {}
    for bit, letter in FIELDS:
        present = masks & bit
        if not present.any():
            continue
        if present.all():
            found[bit] = _at(buffer, DTYPES[letter], tails)
            tails = tails + found[bit].itemsize
            continue
        rows = np.flatnonzero(present)
        found[bit] = cells = np.zeros(len(masks), DTYPES[letter])
        cells[rows] = _at(buffer, DTYPES[letter], tails[rows])
        tails = tails.copy()
        tails[rows] += cells.itemsize
    return found


def _values(buffer: bytes, kind: Kind, types: NDArray[np.uint8], at: NDArray[np.int64]) -> Any:
    if kind is Kind.TEXT:
        return [text(buffer, place)[0] for place in at.tolist()]
    made = np.empty(len(types), kind.dtype)
    for number in np.flatnonzero(np.bincount(types)):
        rows = np.flatnonzero(types == number)
        cells = _at(buffer, DTYPES[SCALARS[int(number)]], at[rows])
        made[rows] = cells != 0 if kind is Kind.FLAG else cells
    return made
