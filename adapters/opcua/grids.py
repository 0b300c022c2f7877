"""Values that are no single number or text: what was understood as bytes, and becomes what its signal chooses, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pipelines.batch import Kind

NEEDS_HEX: Final = "a byte string: write `bytes: hex` to have it as text"
LONGEST_OCTETS: Final = 4096
"""Bytes of a ByteString that may become text."""


LATER: Final = {
    22: "a structure in XML or JSON, and only binary ones can be read",
    23: "data values inside of values come with a later version",
    24: "arrays of mixed types come with a later version",
    25: "diagnostic information cannot be stored",
}
"""Why not, by built-in type."""


class Unsupported:
    """Stands for a value that was understood as bytes and cannot become a point yet; `reason` is for the user."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Octets(Unsupported):
    """A ByteString: what it becomes is the signal's choice."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        super().__init__(NEEDS_HEX)
        self.data = data


class Grid(Unsupported):
    """An array that is no waveform. kind: of its elements. cells: a sequence or array in row-major order, None for a null. shape: its dimensions.

    octets: the cells are ByteStrings, written in hexadecimal digits.
    """

    __slots__ = ("cells", "kind", "octets", "shape")

    def __init__(self, kind: Kind, cells: Any, shape: tuple[int, ...], octets: bool = False) -> None:
        what = "a matrix" if len(shape) > 1 else "an array of anything but numbers"
        super().__init__(f"{what}: write `array: elements` to have its elements as signals")
        self.kind, self.cells, self.shape, self.octets = kind, cells, shape, octets


def hexadecimal(value: Octets) -> str:
    """As text; cut, with an ellipsis, after LONGEST_OCTETS."""
    return value.data[:LONGEST_OCTETS].hex() + ("…" if len(value.data) > LONGEST_OCTETS else "")


class Body(Unsupported):
    """A structure as it came: the NodeId of its encoding, and its bytes. What is in it, its type says (structures.py)."""

    __slots__ = ("data", "type_id")

    def __init__(self, type_id: str, data: bytes) -> None:
        super().__init__(f"a structure ({type_id})")
        self.type_id, self.data = type_id, data


class Bodies(Unsupported):
    """An array of structures. cells: in row-major order, None for none."""

    __slots__ = ("cells", "shape")

    def __init__(self, cells: Sequence[Body | None], shape: tuple[int, ...]) -> None:
        super().__init__("an array of structures")
        self.cells, self.shape = cells, shape
