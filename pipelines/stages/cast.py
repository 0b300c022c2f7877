r"""From the kind on the wire to the kind that the point has for life, or to nothing: never to something that looks right.

| wire \ point | NUMBER          | INTEGER, UNSIGNED       | FLAG            | TEXT             |
|--------------|-----------------|-------------------------|-----------------|------------------|
| NUMBER       | as it is        | if integral and in range| 0 or 1 only     | 5, 5.3, 1e+300   |
| INTEGER, UNS.| nearest float64 | if in range             | 0 or 1 only     | decimal digits   |
| FLAG         | 0 or 1          | 0 or 1                  | as it is        | true, false      |
| TEXT         | decimal number  | integral, in range      | true/false, on/off, 1/0 | as it is |

Texts may have blanks around and any case; the decimal sign is the point: 1,5 could be 15 or 1.5, so it is not taken. Nothing longer than 400 characters is a number.
A waveform is cast to nothing else and nothing else to it. What cannot be cast loses its value: quality BadTypeMismatch,
unless it was bad already. The quality column alone never makes a row uncastable, and a row without a value always casts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipelines import quality as q
from pipelines.batch import Batch, Flag, Kind
from pipelines.stage import Remark
from pipelines.table import Tally

Column = NDArray[Any]
Mask = NDArray[np.bool_]
Cast = tuple[Column, Mask]  # the values, and which of them are true casts

_NUMBER: Final = re.compile(
    r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*|\s*[+-]?(nan|inf|infinity)\s*", re.ASCII | re.IGNORECASE
)
_WHOLE: Final = re.compile(r"\s*[+-]?\d{1,40}\s*", re.ASCII)
_WORDS: Final = {"true": True, "false": False, "on": True, "off": False, "1": True, "0": False}
_RANGE: Final = {Kind.INTEGER: (-(2**63), 2**63), Kind.UNSIGNED: (0, 2**64)}
_LONGEST: Final = 400  # characters of a number: more is no number but an attack on the parser
_EXACT: Final = 2.0**53


def cast(batch: Batch, kind: Kind, tally: Tally) -> Batch:
    """The batch with values of this kind."""
    if batch.kind is kind:
        return batch
    present = batch.has_value
    values, true = _cast(batch.kind, kind, batch.values)
    lost = present & ~true
    true &= present
    if not true.all():
        values = column_where(true, values, kind)
    if not lost.any():
        return replace(batch, kind=kind, values=values)
    tally.remarks[Remark.UNCASTABLE] += int(lost.sum())
    quality = np.where(lost & ~q.is_bad(batch.quality), np.uint32(q.BAD_TYPE_MISMATCH), batch.quality)
    flags = batch.flags | np.where(lost, np.uint8(Flag.NO_VALUE), np.uint8(0))
    return replace(batch, kind=kind, values=values, quality=quality, flags=flags)


def column_where(rows: Mask, values: Column, kind: Kind) -> Column:
    """The values in these rows, the kind's placeholder in the others."""
    column = np.empty(len(values), dtype=kind.dtype)
    for row in np.flatnonzero(~rows).tolist() if kind is Kind.WAVEFORM else ():
        column[row] = kind.empty
    if kind is not Kind.WAVEFORM:
        column[:] = kind.empty
    column[rows] = values[rows]
    return column


def _cast(wire: Kind, kind: Kind, values: Column) -> Cast:
    if Kind.WAVEFORM in (wire, kind):
        return _none(values, kind)
    if wire is Kind.TEXT:
        return _from_texts(values, kind)
    if kind is Kind.TEXT:
        return _to_texts(wire, values), np.ones(len(values), np.bool_)
    if kind is Kind.NUMBER:
        return values.astype(np.float64), np.ones(len(values), np.bool_)
    if kind is Kind.FLAG:
        return values == 1, (values == 0) | (values == 1)
    return _to_whole(wire, values, kind)


def _none(values: Column, kind: Kind) -> Cast:
    return np.empty(len(values), dtype=kind.dtype), np.zeros(len(values), np.bool_)


def _to_whole(wire: Kind, values: Column, kind: Kind) -> Cast:
    low, high = _RANGE[kind]
    if wire is Kind.NUMBER:
        true = (values >= float(low)) & (values < float(high)) & (values == np.rint(values))
        return np.where(true, values, 0.0).astype(kind.dtype), true
    if wire is Kind.FLAG:
        return values.astype(kind.dtype), np.ones(len(values), np.bool_)
    true = values >= 0 if kind is Kind.UNSIGNED else values < np.uint64(2**63)
    return values.astype(kind.dtype), true


def _to_texts(wire: Kind, values: Column) -> Column:
    spell: Callable[[Any], str] = str
    if wire is Kind.FLAG:
        spell = _spell_flag
    elif wire is Kind.NUMBER:
        spell = _spell_number
    texts = np.empty(len(values), dtype=object)
    texts[:] = [spell(value) for value in values.tolist()]
    return texts


def _spell_flag(value: bool) -> str:
    return "true" if value else "false"


def _spell_number(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < _EXACT else repr(value)


def _from_texts(values: Column, kind: Kind) -> Cast:
    parse = {Kind.NUMBER: _parse_number, Kind.FLAG: _parse_flag}.get(kind, _parse_whole)
    parsed = [parse(str(text)) for text in values]
    if kind in _RANGE:
        low, high = _RANGE[kind]
        parsed = [None if cell is None or not low <= cell < high else cell for cell in parsed]
    true = np.array([cell is not None for cell in parsed], np.bool_)
    return np.array([kind.empty if cell is None else cell for cell in parsed], dtype=kind.dtype), true


def _parse_number(text: str) -> float | None:
    return float(text) if len(text) <= _LONGEST and _NUMBER.fullmatch(text) else None


def _parse_whole(text: str) -> int | None:
    if _WHOLE.fullmatch(text):
        return int(text)
    number = _parse_number(text)
    return int(number) if number is not None and number.is_integer() else None


def _parse_flag(text: str) -> bool | None:
    return _WORDS.get(text.strip().lower()) if len(text) <= _LONGEST else None
