"""Bodies of structures and unions as values by path, from what the server says of its types (OPC 10000-6, 5.2.6 to 5.2.8).

Own code instead of the library's classes: those are made by writing Python source from the server's words, live in one module for the
whole process (two machines with different types of one name would share them), and cost an object per body. Here a type is a
list of members, a body is walked along it, and what comes out are leaves. Nothing is believed: a length is compared
with the bytes that are there, and depth, elements and leaves are bounded.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from adapters.opcua.grids import Bodies, Body, Grid, Octets, Unsupported, hexadecimal
from adapters.opcua.shapes import MOST_LEAVES, TEXT, Catalogue, Leaf, Member, Selection, Shape, Unfolded
from adapters.opcua.values import (
    DEEPEST,
    KINDS,
    LARGEST_ARRAY,
    SCALARS,
    Malformed,
    builtin,
    extension_object,
    int32,
    uint32,
    variant,
)
from pipelines.batch import Kind

_STRUCTURE, _DATA_VALUE, _VARIANT, _DIAGNOSTICS = 22, 23, 24, 25


def unfold(value: Body | Bodies, catalogue: Catalogue, selection: Selection) -> Unfolded:
    """The leaves of a structure, or of an array of them. Raises Malformed when it cannot be read at all."""
    walk = _Walk(catalogue, selection)
    try:
        if isinstance(value, Body):
            walk.known(value, "")
        else:
            walk.each(value.cells, value.shape, "")
    except (struct.error, IndexError):
        raise Malformed("a structure that is shorter than its type says") from None
    return Unfolded(walk.leaves, walk.troubles)


def nameless(type_id: str) -> str:
    return f"a structure of a type that the server does not describe ({type_id})"


class _Walk:
    def __init__(self, catalogue: Catalogue, selection: Selection) -> None:
        self._catalogue, self._selection = catalogue, selection
        self.leaves: list[Leaf] = []
        self.troubles: list[str] = []
        self._depth = self._absences = 0

    def known(self, body: Body, path: str) -> None:
        """Raises Malformed for a type that nobody knows."""
        shape = self._catalogue.find(body.type_id)
        if shape is None:
            raise Malformed(nameless(body.type_id))
        end = self._structure(shape, body.data, 0, path)
        if end != len(body.data):
            raise Malformed(f"a {shape.name} of {len(body.data)} bytes, and its type says {end}")

    def each(self, cells: Sequence[Body | None], shape: tuple[int, ...], path: str) -> None:
        if len(cells) > self._selection.most:
            self._trouble(
                path, f"an array of {len(cells)} structures, and max_elements is {self._selection.most}"
            )
            return
        for where, cell in zip(_places(shape), cells, strict=True):
            if cell is not None:
                self._nested(cell, path + where)

    def _nested(self, body: Body, path: str) -> None:
        """One that has its own length: if its type is unknown, the rest is read all the same."""
        if self._catalogue.find(body.type_id) is None:
            self._trouble(path, nameless(body.type_id))
        else:
            self.known(body, path)

    def _structure(self, shape: Shape, data: bytes, at: int, path: str) -> int:
        self._depth += 1
        if self._depth > DEEPEST:
            raise Malformed("structures are nested too deep")
        read = self._union if shape.form == "union" else self._members
        at = read(shape, data, at, path)
        self._depth -= 1
        return at

    def _members(self, shape: Shape, data: bytes, at: int, path: str) -> int:
        mask = bit = 0
        if shape.form == "optional":
            (mask, at), bit = uint32(data, at), 1
        for member in shape.members:
            where = f"{path}.{member.name}"
            if bit and member.optional:
                there, bit = mask & bit, bit << 1
                if not there:
                    self._absent(member, where, (shape,))
                    continue
            at = self._member(member, data, at, where)
        if bit and mask >= bit:
            raise Malformed(f"a {shape.name} with fields that its type does not have")
        return at

    def _union(self, shape: Shape, data: bytes, at: int, path: str) -> int:
        chosen, at = uint32(data, at)
        if chosen > len(shape.members):
            raise Malformed(f"a {shape.name} with choice {chosen} of {len(shape.members)}")
        for number, member in enumerate(shape.members, 1):
            where = f"{path}.{member.name}"
            if number == chosen:
                at = self._member(member, data, at, where)
            else:
                self._absent(member, where, (shape,))
        return at

    def _absent(self, member: Member, where: str, within: tuple[Shape, ...]) -> None:
        """What is not there is a value of none; of arrays and types that say themselves what they are, nobody knows what."""
        self._absences += 1
        if self._absences > MOST_LEAVES:
            raise Malformed(f"a structure of more than {MOST_LEAVES} values")
        if member.rank or member.builtin in (_DATA_VALUE, _VARIANT, _DIAGNOSTICS):
            return
        if member.shape is not None:
            if member.shape not in within:
                for inner in member.shape.members:
                    self._absent(inner, f"{where}.{inner.name}", (*within, member.shape))
        elif member.builtin != _STRUCTURE:
            self._put(where, KINDS.get(member.builtin, Kind.TEXT), None, member.texts)

    def _member(self, member: Member, data: bytes, at: int, where: str) -> int:
        if not member.rank:
            return self._cell(member, data, at, where)
        shape, at = _shape(data, at, member.rank)
        count = prod(shape)
        if count > min(LARGEST_ARRAY, len(data) - at):
            raise Malformed(f"an array of {count} elements where {len(data) - at} bytes are left")
        if count > self._selection.most:
            return self._skipped(member, count, data, at, where)
        for place in _places(shape) if count else ():
            at = self._cell(member, data, at, where + place)
        return at

    def _skipped(self, member: Member, count: int, data: bytes, at: int, where: str) -> int:
        """Too many to be points; what is behind them can be read all the same."""
        leaves, troubles = len(self.leaves), len(self.troubles)
        size = struct.calcsize("<" + SCALARS[member.builtin]) if member.builtin in SCALARS else 0
        at += size * count
        for _ in range(0 if size else count):
            at = self._cell(member, data, at, where)
            del self.leaves[leaves:], self.troubles[troubles:]
        self._trouble(where, f"an array of {count} elements, and max_elements is {self._selection.most}")
        return at

    def _cell(self, member: Member, data: bytes, at: int, where: str) -> int:
        if member.shape is not None:
            return self._structure(member.shape, data, at, where)
        if member.builtin == _STRUCTURE:
            value, at = extension_object(data, at)
            self._any(None, value, where)
        elif member.builtin == _VARIANT:
            kind, value, at = variant(data, at, self._depth)
            self._any(kind, value, where)
        else:
            value, at = builtin(data, at, member.builtin, self._depth)
            self._put(where, KINDS.get(member.builtin, Kind.TEXT), value, member.texts)
        return at

    def _any(self, kind: Kind | None, value: Any, where: str) -> None:
        """What says itself what it is."""
        if isinstance(value, Body):
            self._nested(value, where)
        elif isinstance(value, Bodies):
            self.each(value.cells, value.shape, where)
        elif isinstance(value, Grid):
            self._elements(value.kind, value.cells, value.shape, where, value.octets)
        elif isinstance(value, np.ndarray):
            self._elements(_kind(value), value.tolist(), value.shape, where)
        elif value is not None:
            self._put(where, kind, value)

    def _elements(
        self, kind: Kind, cells: Any, shape: tuple[int, ...], where: str, octets: bool = False
    ) -> None:
        if len(cells) > self._selection.most:
            self._trouble(
                where, f"an array of {len(cells)} elements, and max_elements is {self._selection.most}"
            )
        elif octets and not self._selection.octets:
            self._trouble(where, Octets(b"").reason)
        else:
            plain = cells.tolist() if isinstance(cells, np.ndarray) else cells
            for place, cell in zip(_places(shape), plain, strict=True):
                self._put(where + place, kind, cell)

    def _put(self, path: str, kind: Kind | None, value: Any, texts: Mapping[int, str] = {}) -> None:
        if not self._selection.wants(path):
            return
        if isinstance(value, Octets) and self._selection.octets:
            kind, value = Kind.TEXT, hexadecimal(value)
        if isinstance(value, Unsupported):
            self._trouble(path, value.reason)
            return
        if len(self.leaves) >= MOST_LEAVES:
            raise Malformed(f"a structure of more than {MOST_LEAVES} values")
        self.leaves.append(Leaf(path, kind, value))
        if texts and self._selection.texts:
            named = None if value is None else texts.get(value, str(value))
            self.leaves.append(Leaf(path + TEXT, Kind.TEXT, named))

    def _trouble(self, path: str, reason: str) -> None:
        if self._selection.wants(path):
            self.troubles.append(f"{path.removeprefix('.')}: {reason}" if path else reason)


def _shape(data: bytes, at: int, rank: int) -> tuple[tuple[int, ...], int]:
    """The lengths of an array in a structure: one number, or as many as it has dimensions (OPC 10000-6, 5.2.5)."""
    if rank == 1:
        length, at = int32(data, at)
        return (max(length, 0),), at
    dimensions, at = int32(data, at)
    if dimensions <= 0:
        return (0,), at
    if dimensions != rank:
        raise Malformed(f"an array of {dimensions} dimensions, and its type says {rank}")
    shape = struct.unpack_from(f"<{rank}i", data, at)
    if min(shape) < 0:
        raise Malformed(f"an array that says that it is {shape}")
    return shape, at + 4 * rank


def _places(shape: tuple[int, ...]) -> Iterator[str]:
    for place in itertools.product(*map(range, shape)):
        yield f"[{','.join(map(str, place))}]"


def _kind(wave: Any) -> Kind:
    if wave.dtype.kind == "f":
        return Kind.NUMBER
    return Kind.UNSIGNED if wave.dtype == np.uint64 else Kind.INTEGER
