"""Lines of many fields, made without a step in Python per field: what stands between the values is kept from line to line.

A cyclic scan writes the same fields in the same order again and again; a frame is all texts of such a line but the values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from adapters.influxdb.names import Names

WORTH: Final = 16
"""Fields from which on a line has a frame."""

MOST: Final = 64
"""Frames that are kept, and FIELDS together; the oldest is forgotten first."""

FIELDS: Final = 100_000

SEEN: Final = 1024
"""Orders of fields that were seen once: a frame is made for the second line, because what changes by chance never comes again."""


class Frames:
    """By slots of a line; a slot keeps its name for life."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._frames: dict[bytes, list[str]] = {}
        self._fields = 0
        self._seen: dict[int, None] = {}

    def line(self, slots: NDArray[np.int64], cells: Sequence[str], at: int) -> str:
        """slots, cells: of the line's fields, in order. at: ns."""
        key = slots.tobytes() if len(cells) >= WORTH else b""
        if not key or not self._again(key):
            starts, prefixes = self._names.starts, self._names.prefixes
            first, *others = slots.tolist()
            rest = [prefixes[slot] + cell for slot, cell in zip(others, cells[1:], strict=True)]
            return f"{','.join([starts[first] + cells[0], *rest])} {at}"
        texts = self._frame(key, slots).copy()
        texts[1::2] = cells
        texts[-1] = f" {at}"
        return "".join(texts)

    def _again(self, key: bytes) -> bool:
        if key in self._frames or hash(key) in self._seen:
            return True
        self._seen[hash(key)] = None
        if len(self._seen) > SEEN:
            del self._seen[next(iter(self._seen))]
        return False

    def _frame(self, key: bytes, slots: NDArray[np.int64]) -> list[str]:
        """Before each value the text that leads to it, and a place for it; then one for the time."""
        known = self._frames.get(key)
        if known is None:
            first, *others = slots.tolist()
            leading = [self._names.starts[first], *(f",{self._names.prefixes[slot]}" for slot in others)]
            known = self._frames[key] = [text for lead in leading for text in (lead, "")] + [""]
            self._fields += len(slots)
            self._forget()
        return known

    def _forget(self) -> None:
        while len(self._frames) > 1 and (len(self._frames) > MOST or self._fields > FIELDS):
            self._fields -= len(self._frames.pop(next(iter(self._frames)))) // 2
