"""Which type each variable of the load has, and what it says at every tick: again so exactly that every loss is found.

Doubles and Floats say what `Series` says (exact in both: under 2^21, in eighths). Wide integers rise by one a tick; those of
16 bits wrap; a Boolean changes every tick; a text is eight digits. Of twenty variables of a mix six are Doubles, four
Floats, two each Int16, Int32 and Boolean, one each Int64, UInt16, UInt32 and String, next to each other as in a PLC's scan.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulators.load.series import FIRST, STEPS

Types = Literal["double", "mixed"]
DOUBLE, FLOAT, BOOLEAN, STRING = 11, 10, 1, 12
WRAP, DIGITS = 30_000, 8


class Form(NamedTuple):
    """dtype: on the wire. size: bytes behind the type byte."""

    dtype: str
    size: int


FORMS = {
    BOOLEAN: Form("u1", 1), 4: Form("<i2", 2), 5: Form("<u2", 2), 6: Form("<i4", 4), 7: Form("<u4", 4),
    8: Form("<i8", 8), FLOAT: Form("<f4", 4), DOUBLE: Form("<f8", 8), STRING: Form("S12", 4 + DIGITS),
}  # fmt: skip
_MIX = (11, 11, 10, 4, 6, 11, 1, 10, 11, 5, 11, 10, 8, 4, 11, 12, 10, 6, 7, 1)


def types_of(variables: int, types: Types) -> NDArray[np.uint8]:
    """uint8[variables]: built-in types (OPC 10000-6, table 1)."""
    return np.resize(np.array(_MIX if types == "mixed" else (DOUBLE,), np.uint8), variables)


def exact(kind: int, variable: int, tick: int) -> Any:
    """What a variable of this type says at this tick."""
    if kind in (DOUBLE, FLOAT):
        return FIRST + variable + tick / STEPS
    if kind == BOOLEAN:
        return (variable + tick) % 2 == 1
    if kind in (4, 5):
        return (variable + tick) % WRAP
    return FIRST + variable + tick if kind != STRING else f"{FIRST + variable + tick:0{DIGITS}d}"


def column(kind: int, variables: NDArray[np.int32], tick: int) -> NDArray[Any]:
    """What these variables, all of one type, say at this tick: as `exact`, in the dtype of `FORMS`."""
    if kind in (DOUBLE, FLOAT):
        return (variables + (FIRST + tick / STEPS)).astype(FORMS[kind].dtype)
    if kind == BOOLEAN:
        return ((variables + tick) % 2).astype("u1")
    if kind in (4, 5):
        return ((variables + tick) % WRAP).astype(FORMS[kind].dtype)
    counts = variables.astype(np.int64) + (FIRST + tick)
    return counts.astype(FORMS[kind].dtype) if kind != STRING else _texts(counts)


def _texts(counts: NDArray[np.int64]) -> NDArray[Any]:
    """Length and digits of each, as one piece of bytes (OPC 10000-6, 5.2.2.4)."""
    made = np.empty((len(counts), 4 + DIGITS), np.uint8)
    made[:, :4] = (DIGITS, 0, 0, 0)
    made[:, 4:] = counts[:, None] // 10 ** np.arange(DIGITS - 1, -1, -1) % 10 + ord("0")
    return made.view(FORMS[STRING].dtype)[:, 0]
