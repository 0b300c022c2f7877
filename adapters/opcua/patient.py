"""Monitored items and DataValues one field at a time: for what says its own length, while its places are being found."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple

from adapters.opcua.blocks import FIELDS, VALUE
from adapters.opcua.grids import Unsupported
from adapters.opcua.values import Malformed, uint32, variant
from pipelines.batch import Kind

_RAW: Final = 65536


class Taken(NamedTuple):
    """An item as the patient side has it. raw: its bytes, if it cannot be kept."""

    item: int
    handle: int
    kind: Kind | None
    row: list[Any]
    raw: bytes


@dataclass(slots=True)
class Patient:
    """Decodes the items that say their own length, while their places are being found."""

    buffer: bytes
    taken: list[Taken] = field(default_factory=list)

    def restart(self) -> None:
        self.taken.clear()

    def step(self, item: int, at: int) -> int:
        handle, value = uint32(self.buffer, at)
        kind, row, end = data_value(self.buffer, value)
        raw = bytes(self.buffer[at : min(end, at + _RAW)]) if isinstance(row[0], Unsupported) else b""
        self.taken.append(Taken(item, handle, kind, row, raw))
        return end


def data_value(buffer: bytes, at: int) -> tuple[Kind | None, list[Any], int]:
    """(kind, [value, status, source ticks, its picoseconds, server ticks, its picoseconds], end) of a DataValue."""
    mask, at = buffer[at], at + 1
    kind: Kind | None = None
    row: list[Any] = [None, 0, 0, 0, 0, 0]
    if mask & 0xC0:
        raise Malformed(f"unknown fields in a value (encoding mask 0x{mask:02x})")
    if mask & VALUE:
        kind, row[0], at = variant(buffer, at)
    tail, places = _tail(mask)
    for place, cell in zip(places, tail.unpack_from(buffer, at), strict=True):
        row[place] = cell
    return kind, row, at + tail.size


@lru_cache(maxsize=64)
def _tail(mask: int) -> tuple[struct.Struct, tuple[int, ...]]:
    """What follows the value, and where in a row it belongs."""
    fields = [(place, letter) for place, (bit, letter) in enumerate(FIELDS, 1) if mask & bit]
    return struct.Struct("<" + "".join(letter for _, letter in fields)), tuple(place for place, _ in fields)
