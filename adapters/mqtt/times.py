"""Times as messages write them, as ns since 1970 UTC; None for what is not a time: the receipt then stands in.

Digits beyond the nanosecond are cut. A text without zone is taken as UTC (SHDR adapters write them so). A leap second
(:60) becomes the second that follows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)
LATEST = 2**63 - 1
FACTORS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d):(\d\d)(?:[.,](\d{1,18}))?\s*(?:[Zz]|([+-])(\d\d):?(\d\d))?", re.ASCII
)


def rfc3339(text: str) -> int | None:
    """`2022-08-08T13:51:34.7167146Z` (RFC 3339, 5.6) as ns, or None."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    day, minute, second, fraction, sign, hours, minutes = match.groups()
    try:
        since = datetime.fromisoformat(f"{day}T{minute}") - EPOCH
    except ValueError:
        return None
    if int(second) > 60:
        return None
    whole = since.days * 86_400 + since.seconds + int(second)
    if sign:
        offset = int(hours) * 3600 + int(minutes) * 60
        whole -= offset if sign == "+" else -offset
    return bounded(whole * 10**9 + (int(fraction.ljust(9, "0")[:9]) if fraction else 0))


def bounded(ns: int) -> int | None:
    """The time, or None where 64 bits do not hold it (before 1677, after 2262)."""
    return ns if -LATEST <= ns <= LATEST else None


def by_magnitude(value: float) -> str:
    """The unit of an epoch time: the thresholds lie in the year 5138 of one unit and in 1973 of the next finer one."""
    size = abs(value)
    if size < 1e11:
        return "s"
    return "ms" if size < 1e14 else "us" if size < 1e17 else "ns"


def epoch(value: float, unit: str) -> int | None:
    """A number as time. Fractions of floats are kept to the microsecond: a double holds no more of today's seconds."""
    factor = FACTORS[by_magnitude(value) if unit == "auto" else unit]
    if isinstance(value, int):
        return bounded(value * factor)
    if not abs(value) * factor <= LATEST:  # NaN and infinity too
        return None
    return int(value) if factor == 1 else bounded(round(value * (factor / 1000)) * 1000)


def reader(unit: str) -> Callable[[Any], int | None]:
    """The function that reads a time written in this unit (see TimeUnit in settings)."""
    factor = FACTORS.get(unit, 10**6 if unit == "auto" else 0)
    latest = LATEST // factor if factor else -1
    low, high = (10**11, latest) if unit == "auto" else (0, latest)

    def read(value: Any) -> int | None:
        if type(value) is int and low <= value < high:  # the usual case, without a call
            return value * factor
        if isinstance(value, str):
            return rfc3339(value) if unit in ("auto", "rfc3339") else None
        if isinstance(value, bool) or not isinstance(value, int | float) or unit == "rfc3339":
            return None
        return epoch(value, unit)

    return read
