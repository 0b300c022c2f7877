"""Times as recordings write them, to ns since 1970 UTC without a float on the way: nine digits stay nine digits."""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from simulators.clock import SECOND
from simulators.errors import SimulatorError

_REST: Final = re.compile(r"(?:[.,](\d{1,9})\d*)?\s*(Z|z|[+-]\d\d:?\d\d)?")
_SINCE: Final = re.compile(r"(-?\d{1,19})(?: ns since 1970)?")
_BARE_UNITS: Final = ((10**11, SECOND), (10**14, 10**6), (10**17, 10**3))


class CellError(SimulatorError):
    """What is wrong with a cell; whoever reads the file says in which one."""


def time_ns(cell: Any) -> int:
    """An integer is ns; text is RFC 3339 with a T or a blank, UTC where it names no zone; raises CellError."""
    if isinstance(cell, int):
        return cell
    if isinstance(cell, datetime):
        return time_ns(cell.isoformat())
    text = str(cell).strip()
    found = _REST.fullmatch(text, 19)
    if found is None or (base := _seconds(text[:19].replace(" ", "T"))) is None:
        return _since(text)
    fraction = int((found[1] or "0").ljust(9, "0"))
    return (base - _offset(found[2])) * SECOND + fraction


def epoch_ns(number: float) -> int:
    """A number since 1970 in the unit that makes it a time of our age: s, ms, µs or ns."""
    for limit, factor in _BARE_UNITS:
        if abs(number) < limit:
            return round(number * factor)
    return int(number)


@lru_cache(maxsize=4096)
def _seconds(text: str) -> int | None:
    """Whole seconds since 1970; remembered, because neighbouring rows share theirs."""
    try:
        moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        return None
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return since.days * 86_400 + since.seconds


def _offset(zone: str | None) -> int:
    if zone is None or zone in "Zz":
        return 0
    sign = -1 if zone[0] == "-" else 1
    return sign * (int(zone[1:3]) * 3600 + int(zone[-2:]) * 60)


def _since(text: str) -> int:
    found = _SINCE.fullmatch(text)
    if found is None:
        raise CellError(f"'{text[:60]}' is no time: 2026-01-31T06:00:00.5Z, or whole ns since 1970")
    return int(found[1])
