"""Values -> their text in line protocol, a column at a time; and which values no line can carry.

The type of a field is the kind of the point (encode.py). Floats are written in the shortest form that reads back to the
same double (msgspec, as `repr` but ten times as fast).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipelines.batch import Batch, Kind

MAX_INTEGER = 2**63 - 1
MIN_TIME, MAX_TIME = -(2**63) + 2, 2**63 - 2  # InfluxDB's models.MinNanoTime, MaxNanoTime

_NO_NAME = (
    "Its name and that of another signal become the same in InfluxDB, where backslashes and control characters cannot "
    "be used: rename one of them."
)
_NOT_FINITE = "NaN and infinity cannot be stored as a value."
_TOO_LARGE = "The value is larger than 9223372036854775807, and this API has no unsigned integers: use kind: number or text."
_NOT_UNICODE = "The text is not valid Unicode (it holds a lone surrogate): have the machine send UTF-8."
_NO_TIME = "InfluxDB has no such time: its years are 1677 to 2262."


def unstorable_rows(
    batch: Batch, good: NDArray[np.bool_], named: NDArray[np.bool_], *, unsigned: bool
) -> dict[int, str]:
    """Row -> reason, for rows that no line can carry: found before sending, column by column."""
    refused: dict[int, str] = {}

    def refuse(rows: NDArray[np.bool_], reason: str) -> None:
        if rows.any():
            refused.update(dict.fromkeys(np.flatnonzero(rows).tolist(), reason))

    if batch.kind is Kind.NUMBER:
        refuse(good & ~np.isfinite(batch.values), _NOT_FINITE)
    elif batch.kind is Kind.UNSIGNED and not unsigned:
        refuse(good & (batch.values > MAX_INTEGER), _TOO_LARGE)
    elif batch.kind is Kind.TEXT:
        refuse(good & ~_unicode(batch.values), _NOT_UNICODE)
    refuse((batch.at < MIN_TIME) | (batch.at > MAX_TIME), _NO_TIME)
    refuse(~named, _NO_NAME)
    return refused


def texts_of(kind: Kind, values: NDArray[Any], *, unsigned: bool) -> list[str]:
    """One text per value. unsigned: whether the API knows unsigned integers."""
    if not len(values):
        return []
    return _TEXTS[Kind.INTEGER if kind is Kind.UNSIGNED and not unsigned else kind](values)


def _unicode(values: NDArray[Any]) -> NDArray[np.bool_]:
    try:
        "".join(values.tolist()).encode()
    except UnicodeEncodeError:
        return np.array([_is_unicode(text) for text in values.tolist()], np.bool_)
    return np.ones(len(values), np.bool_)


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _numbers(values: NDArray[Any]) -> list[str]:
    return msgspec.json.encode(values.tolist())[1:-1].decode().split(",")


def _integers(values: NDArray[Any]) -> list[str]:
    return [f"{value}i" for value in values.tolist()]


def _unsigned(values: NDArray[Any]) -> list[str]:
    return [f"{value}u" for value in values.tolist()]


def _flags(values: NDArray[Any]) -> list[str]:
    return ["true" if value else "false" for value in values.tolist()]


def _strings(values: NDArray[Any]) -> list[str]:
    return [
        f'"{text}"' for text in (value.replace("\\", "\\\\").replace('"', '\\"') for value in values.tolist())
    ]


def _waveforms(values: NDArray[Any]) -> list[str]:
    return [f'"{msgspec.json.encode(wave.tolist()).decode()}"' for wave in values.tolist()]


_TEXTS: dict[Kind, Callable[[NDArray[Any]], list[str]]] = {
    Kind.NUMBER: _numbers,
    Kind.INTEGER: _integers,
    Kind.UNSIGNED: _unsigned,
    Kind.FLAG: _flags,
    Kind.TEXT: _strings,
    Kind.WAVEFORM: _waveforms,
}
