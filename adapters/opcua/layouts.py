"""Where the items of a notification begin: found one after the other, or recognised at a glance.

An item's length follows from two bytes (its mask and the type of its value), except for texts and whatever else says its own
length. So the items are walked once, touching nothing but these bytes; a cyclic scan brings the same types in the same
order again and again, and then the places are calculated from the last time and only checked. The check is complete:
mask and type of every item are compared, and the lengths of texts are read anew. What does not fit is walked.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from adapters.opcua.blocks import FIELDS, VALUE
from adapters.opcua.values import SCALARS, TEXTS, Malformed

WORTHWHILE: Final = 128
"""Items from which on recognising is cheaper than walking."""

_MOST_ITEMS: Final = 200_000  # remembered in all layouts together, some 30 bytes each
_MOST_KEYS: Final = 4096
_LENGTH: Final = struct.Struct("<i").unpack_from
_ENDED: Final = (Malformed, struct.error, IndexError)


class Patience(Protocol):
    """The side that decodes what says its own length."""

    def restart(self) -> None:
        """Forget what was decoded: the places were wrong."""

    def step(self, item: int, at: int) -> int:
        """Decode the item that starts at `at`; returns where it ends. Raises one of _ENDED."""


class Where(NamedTuple):
    """Items: the first one is at `at`, and none of them may reach beyond `end`."""

    buffer: bytes
    at: int
    end: int


class Places(NamedTuple):
    """starts: int64[items]. end: where the last one ends."""

    starts: NDArray[np.int64]
    end: int


class Walked(NamedTuple):
    """end: where the last whole item ends. elastic: (item, its start, its size as in `Sizes`). broken: why no more came."""

    end: int
    elastic: list[tuple[int, int, int]]
    broken: str


class Sizes(dict[bytes, int]):
    """Bytes of an item by its mask and type; negative: plus a text; 0: only patience finds its end."""

    def __missing__(self, key: bytes) -> int:
        if not key or (key[0] & VALUE and len(key) < 2):
            raise IndexError("an item begins where the message ends")
        if len(self) >= _MOST_KEYS:
            self.clear()
        self[key] = made = size_of(key[0], key[-1])
        return made


def size_of(mask: int, kind: int) -> int:
    """As `Sizes` has it."""
    if mask & 0xC0:
        return 0
    tail = struct.calcsize("<" + "".join(letter for bit, letter in FIELDS if mask & bit))
    if not mask & VALUE:
        return 5 + tail
    if kind in TEXTS:
        return -(10 + tail)
    if kind and kind not in SCALARS:
        return 0
    return 6 + tail + (struct.calcsize("<" + SCALARS[kind]) if kind else 0)


@dataclass(frozen=True, slots=True)
class Layout:
    """The items of an earlier notification, as if all texts had been empty.

    starts: int64[items] from the first. keys, meant: uint16[items], mask and type, and which of these bits say something.
    elastic: (item, its start, its size as in `Sizes`). size: of everything.
    """

    starts: NDArray[np.int64]
    keys: NDArray[np.uint16]
    meant: NDArray[np.uint16]
    elastic: Sequence[tuple[int, int, int]]
    size: int

    def fit(self, where: Where, patience: Patience) -> Places | None:
        """The places in these bytes; None when they are laid out in another way."""
        buffer, at, end = where
        patience.restart()
        try:
            grown = self._grown(buffer, at, patience)
        except _ENDED:
            return None
        finish = at + self.size + sum(grown)
        if finish > end or finish >= len(buffer):
            return None
        starts = self._moved(grown) + at
        keys = np.ndarray((len(buffer) - 1,), "<u2", buffer, strides=(1,))[starts + 4]
        return Places(starts, finish) if ((keys ^ self.keys) & self.meant == 0).all() else None

    def _grown(self, buffer: bytes, at: int, patience: Patience) -> list[int]:
        grown: list[int] = []
        for item, start, size in self.elastic:
            grown.append(_more(buffer, item, at + start, size, patience))
            at += grown[-1]
        return grown

    def _moved(self, grown: list[int]) -> NDArray[np.int64]:
        if not grown:
            return self.starts
        more = np.zeros(len(self.starts) + 1, np.int64)
        more[[item + 1 for item, _, _ in self.elastic]] = grown
        moved: NDArray[np.int64] = self.starts + np.cumsum(more)[:-1]
        return moved


def _more(buffer: bytes, item: int, at: int, size: int, patience: Patience) -> int:
    """By how much an item is longer than its size says."""
    if size == 0:
        return patience.step(item, at) - at
    length: int = _LENGTH(buffer, at + 6)[0]
    return max(length, 0)


@dataclass(slots=True)
class Layouts:
    """Layouts of earlier notifications by their number of items and first handle, and the last one of each number."""

    sizes: Sizes = field(default_factory=Sizes)
    _known: dict[tuple[int, bytes], Layout] = field(default_factory=dict)
    _last: dict[int, Layout] = field(default_factory=dict)
    _items: int = 0

    def recall(self, where: Where, count: int, patience: Patience) -> Places | None:
        """Where `count` items begin, if they are laid out as earlier ones."""
        likely = self._known.get((count, where.buffer[where.at : where.at + 4])), self._last.get(count)
        for layout in likely if likely[0] is not likely[1] else likely[:1]:
            places = None if layout is None else layout.fit(where, patience)
            if places is not None:
                return places
        return None

    def walk(self, where: Where, count: int, patience: Patience, starts: list[int]) -> Walked:
        """Put where the items begin into `starts`, as far as they are whole."""
        buffer, at, end = where
        sizes, before, broken = self.sizes, len(starts), ""
        elastic: list[tuple[int, int, int]] = []
        add = starts.append
        patience.restart()
        try:
            for item in range(count):
                size = sizes[buffer[at + 4 : at + 6]]
                if size <= 0:
                    elastic.append((item, at, size))
                    size = _more(buffer, item, at, size, patience) - size
                add(at)
                at += size
        except _ENDED as error:
            broken = (
                str(error) if isinstance(error, Malformed) else f"the notification is cut short ({error})"
            )
        while at > end and len(starts) > before:
            broken = broken or "the values reach beyond the end of their notification"
            at = starts.pop()
        return Walked(at, elastic, broken)

    def remember(self, buffer: bytes, places: Places, elastic: Sequence[tuple[int, int, int]]) -> None:
        """Recognise the like of these next time. Beyond the bound the oldest go; to forget everything at once instead had
        all of them walked again, and the memory go up and down by megabytes.
        """
        count, first = len(places.starts), int(places.starts[0])
        if places.end >= len(buffer):
            return
        name = (count, buffer[first : first + 4])
        self._forget(name)
        self._known[name] = self._last[count] = _layout_of(buffer, places, elastic)
        self._items += count
        while self._items > _MOST_ITEMS:
            self._forget(next(iter(self._known)))

    def _forget(self, name: tuple[int, bytes]) -> None:
        gone = self._known.pop(name, None)
        if gone is not None:
            self._items -= name[0]
            if self._last.get(name[0]) is gone:
                del self._last[name[0]]


def _layout_of(buffer: bytes, places: Places, elastic: Sequence[tuple[int, int, int]]) -> Layout:
    starts = places.starts
    keys = np.ndarray((len(buffer) - 1,), "<u2", buffer, strides=(1,))[starts + 4]
    ends = np.append(starts[1:], places.end)
    less = np.zeros(len(starts) + 1, np.int64)
    for item, start, size in elastic:
        less[item + 1] = ends[item] - start + size
    bare = starts - starts[0] - np.cumsum(less)[:-1]
    meant = np.where(keys & VALUE, 0xFFFF, 0x00FF).astype(np.uint16)
    springs = [(item, int(bare[item]), size) for item, _, size in elastic]
    return Layout(bare, keys, meant, springs, int(places.end - starts[0] - less.sum()))
