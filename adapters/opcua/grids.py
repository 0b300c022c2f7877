"""Values that are no single number or text: what was understood as bytes, and becomes what its signal chooses, or nothing."""

from __future__ import annotations

from typing import Any, Final

from pipelines.batch import Kind

NEEDS_HEX: Final = "a byte string: write `bytes: hex` to have it as text"
LONGEST_OCTETS: Final = 4096
"""Bytes of a ByteString that may become text."""


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
