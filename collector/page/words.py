"""What may be put into the page's JSON: bounded texts, numbers that a browser can hold, names of quality codes.

Everything that came from a wire is hostile: it is cut, made valid Unicode, and put on the page as text only.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Final

import numpy as np

from pipelines.batch import Flag, Kind
from pipelines.units import unit_of

LONGEST_NAME: Final = 200
LONGEST_TEXT: Final = 500
SAFE_INTEGER: Final = 2**53 - 1  # ECMA-262, Number.MAX_SAFE_INTEGER

QUALITY_NAMES: Final = {  # OPC 10000-6 annex A, StatusCode.csv: what machines really send
    0x00000000: "Good",
    0x00960000: "GoodLocalOverride",
    0x00DC0000: "GoodEdited",
    0x40000000: "Uncertain",
    0x408F0000: "UncertainNoCommunicationLastUsableValue",
    0x40900000: "UncertainLastUsableValue",
    0x40910000: "UncertainSubstituteValue",
    0x40920000: "UncertainInitialValue",
    0x40930000: "UncertainSensorNotAccurate",
    0x40940000: "UncertainEngineeringUnitsExceeded",
    0x40950000: "UncertainSubNormal",
    0x80000000: "Bad",
    0x80050000: "BadCommunicationError",
    0x800A0000: "BadTimeout",
    0x800C0000: "BadShutdown",
    0x801F0000: "BadUserAccessDenied",
    0x80310000: "BadNoCommunication",
    0x80320000: "BadWaitingForInitialData",
    0x80330000: "BadNodeIdInvalid",
    0x80340000: "BadNodeIdUnknown",
    0x803A0000: "BadNotReadable",
    0x803C0000: "BadOutOfRange",
    0x80740000: "BadTypeMismatch",
    0x80890000: "BadConfigurationError",
    0x808A0000: "BadNotConnected",
    0x808B0000: "BadDeviceFailure",
    0x808C0000: "BadSensorFailure",
    0x808D0000: "BadOutOfService",
    0x809B0000: "BadNoData",
}


def clip(text: str, longest: int = LONGEST_TEXT) -> str:
    """Valid Unicode of at most `longest` characters; a cut is visible."""
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    return cut.encode("utf-8", "replace").decode()


@lru_cache(maxsize=4096)
def quality_name(code: int) -> str:
    """The name of a status code, without its info bits; an unknown one by number."""
    return QUALITY_NAMES.get(code & 0xFFFF0000, f"0x{code:08X}")


def milliseconds(ns: int) -> int:
    """What JavaScript calls a time: ms since 1970 UTC."""
    return int(ns) // 1_000_000


@lru_cache(maxsize=256)
def flag_names(flags: int) -> tuple[str, ...]:
    """The names of the flags that are set, in lower case; `no_value` is told by the missing value."""
    return tuple(str(flag.name).lower() for flag in Flag if flags & flag and flag is not Flag.NO_VALUE)


def shown(kind: Kind, value: Any) -> Any:
    """A value as JSON. Integers that a browser would round travel as text; a waveform is told by its extent."""
    if kind is Kind.TEXT:
        return clip(str(value))
    if kind is Kind.WAVEFORM:
        return _extent(np.asarray(value, dtype=np.float64))
    if kind is Kind.NUMBER:
        return float(value) if math.isfinite(value) else None
    if kind is Kind.FLAG:
        return bool(value)
    return int(value) if abs(int(value)) <= SAFE_INTEGER else str(int(value))


def _extent(wave: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    finite = wave[np.isfinite(wave)]
    if not len(finite):
        return {"count": len(wave), "min": None, "max": None}
    return {"count": len(wave), "min": float(finite.min()), "max": float(finite.max())}


@lru_cache(maxsize=4096)
def unit_symbol(unit: str) -> str:
    """A unit as people write it: °C for CEL, nothing for a plain number (C62); what is no known code stays as it is."""
    known = unit_of(unit)
    if known is None:
        return clip(unit, LONGEST_NAME)
    return "" if known.code == "C62" else known.symbol
