"""Values as columns: a million rows in some tens of megabytes, and compared by arithmetic instead of row by row.

A value becomes a kind and 64 bits, so that equal bits mean equal values: whole numbers as integers whatever type carried
them (5 and 5.0 are one number), other floats by their bits, texts by their number in a table of all texts seen.
"""

import json
import struct
from array import array
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from simulators.errors import SimulatorError

INTEGER: Final = 1
UNSIGNED: Final = 2
REAL: Final = 3
FLAG: Final = 4
TEXT: Final = 5

_BITS: Final = struct.Struct("<q")
_FLOAT: Final = struct.Struct("<d")
Signal = tuple[str, str]


class Coder:
    """Names and texts by number, shared by both sides of a comparison."""

    def __init__(self) -> None:
        self.signals: dict[Signal, int] = {}
        self._texts: dict[str, int] = {}

    def key(self, machine: str, signal: str) -> int:
        return self.signals.setdefault((machine, signal), len(self.signals))

    def code(self, value: Any) -> tuple[int, int]:
        """Kind and bits; raises OverflowError for an integer beyond 64 bits."""
        if isinstance(value, float):
            return _real(value)
        if isinstance(value, bool):
            return FLAG, int(value)
        if isinstance(value, int):
            return (INTEGER, value) if -(2**63) <= value < 2**63 else (UNSIGNED, value - 2**64)
        return TEXT, self._text(value if isinstance(value, str) else json.dumps(value))

    def value(self, kind: int, bits: int) -> Any:
        """The value behind kind and bits."""
        if kind == REAL:
            return _FLOAT.unpack(_BITS.pack(bits))[0]
        if kind == TEXT:
            return next(text for text, number in self._texts.items() if number == bits)
        return bool(bits) if kind == FLAG else bits + (2**64 if kind == UNSIGNED else 0)

    def _text(self, text: str) -> int:
        text = _waveform(text) if text.startswith("[") else text
        return self._texts.setdefault(text, len(self._texts))


def _real(value: float) -> tuple[int, int]:
    if value.is_integer() and -(2.0**63) <= value < 2.0**64:
        return (INTEGER, int(value)) if value < 2.0**63 else (UNSIGNED, int(value) - 2**64)
    return REAL, _BITS.unpack(_FLOAT.pack(value))[0]


def _waveform(text: str) -> str:
    """One spelling for a list of numbers, whether it came as a list or as its text; other texts as they are."""
    try:
        return json.dumps(msgspec.json.decode(text, type=list[float]))
    except (msgspec.DecodeError, msgspec.ValidationError):
        return text


class Columns:
    """Rows under construction; `arrays` when all are there."""

    def __init__(self, coder: Coder) -> None:
        self._coder = coder
        self._key, self._t = array("i"), array("q")
        self._kind, self._bits = array("b"), array("q")

    def __len__(self) -> int:
        return len(self._t)

    def add(self, machine: str, signal: str, t: int, value: Any) -> None:
        kind, bits = self._coder.code(value)
        try:
            self._t.append(t)
            self._bits.append(bits)
        except OverflowError:
            raise SimulatorError(
                f"{machine} {signal}: more than 64 bits ({value!r:.60} at {t} ns since 1970)"
            ) from None
        self._key.append(self._coder.key(machine, signal))
        self._kind.append(kind)

    def arrays(self) -> "Rows":
        return Rows(
            np.frombuffer(self._key, np.int32) if len(self) else np.zeros(0, np.int32),
            np.frombuffer(self._t, np.int64) if len(self) else np.zeros(0, np.int64),
            np.frombuffer(self._kind, np.int8) if len(self) else np.zeros(0, np.int8),
            np.frombuffer(self._bits, np.int64) if len(self) else np.zeros(0, np.int64),
        )


class Rows:
    """Columns of equal length: key int32 (see Coder), t int64 ns, kind int8, bits int64."""

    __slots__ = ("bits", "key", "kind", "t")

    def __init__(
        self, key: NDArray[np.int32], t: NDArray[np.int64], kind: NDArray[np.int8], bits: NDArray[np.int64]
    ) -> None:
        self.key, self.t, self.kind, self.bits = key, t, kind, bits

    def __len__(self) -> int:
        return len(self.t)

    def take(self, which: NDArray[Any]) -> "Rows":
        return Rows(self.key[which], self.t[which], self.kind[which], self.bits[which])

    def sorted(self) -> "Rows":
        """By signal and time; rows of one signal and time stay in their order."""
        return self.take(np.lexsort((self.t, self.key)))

    def repeats(self) -> NDArray[np.bool_]:
        """Of sorted rows: has the row before it the same signal and time?"""
        same = np.zeros(len(self), np.bool_)
        same[1:] = (self.key[1:] == self.key[:-1]) & (self.t[1:] == self.t[:-1])
        return same

    def cells(self, row: int) -> tuple[int, int, int, int]:
        return int(self.key[row]), int(self.t[row]), int(self.kind[row]), int(self.bits[row])


def names(coder: Coder) -> Mapping[int, Signal]:
    """Machine and signal of each key."""
    return {number: signal for signal, number in coder.signals.items()}
