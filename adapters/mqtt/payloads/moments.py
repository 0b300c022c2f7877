"""Times in a format of the sender's own (`%d/%m/%Y %H:%M:%S`), and local times of a time zone.

`datetime.strptime` is not used: it reads month names in the language of the computer, cuts at microseconds, and takes
five times as long. A local time that the clock shows twice (the hour at the end of daylight saving) or never (at its
begin) is no time: guessing would put an hour of values onto the hour before, where the second ones replace the first.
The time of receipt stands in then and is flagged; a format with `%z` has no such hour.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from adapters.mqtt.times import EPOCH, bounded, reader, rfc3339

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DIRECTIVES = {
    "Y": r"(?P<Y>\d{4})",
    "y": r"(?P<y>\d\d)",
    "m": r"(?P<m>\d\d?)",
    "d": r"(?P<d>\d\d?)",
    "b": rf"(?P<b>(?i:{'|'.join(_MONTHS)}))",
    "j": r"(?P<j>\d{1,3})",
    "H": r"(?P<H>\d\d?)",
    "I": r"(?P<I>\d\d?)",
    "p": r"(?P<p>(?i:am|pm))",
    "M": r"(?P<M>\d\d?)",
    "S": r"(?P<S>\d\d?)",
    "f": r"(?P<f>\d{1,9})",
    "z": r"(?P<z>[Zz]|[+-]\d\d:?\d\d)",
    "%": "%",
}
_ZONED = re.compile(r"(?:[Zz]|[+-]\d\d:?\d\d)\s*$")


def zone(name: str) -> ZoneInfo:
    """The time zone of this name. Raises ValueError with an example."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"'{name}' is not a time zone; they are called like Europe/Brussels") from error


def compiled(time_format: str) -> re.Pattern[str]:
    """The expression of a format. Raises ValueError: which directive is not known, or what is missing for a day."""
    text, used = "", ""
    for part in re.split(r"(%.?)", time_format, flags=re.DOTALL):
        if not part.startswith("%"):
            text += re.escape(part)
            continue
        if part[1:] not in _DIRECTIVES or (part[1:] in used and part[1:] != "%"):
            raise ValueError(
                f"time_format: {part} is not known or stands twice; known are %{' %'.join(_DIRECTIVES)}"
            )
        used += part[1:]
        text += _DIRECTIVES[part[1:]]
    if not set("Yy") & set(used) or not ("j" in used or ("d" in used and set("mb") & set(used))):
        raise ValueError("time_format needs the whole date, such as %d/%m/%Y %H:%M:%S")
    return re.compile(text, re.ASCII)


def moments(unit: str, time_format: str = "", time_zone: str = "") -> Callable[[Any], int | None]:
    """The function that reads a time as the configuration says; ns since 1970 UTC, or None."""
    local = zone(time_zone) if time_zone else None
    if time_format:
        return _formatted(compiled(time_format), local)
    plain = reader(unit)
    if local is None:
        return plain

    def read(value: Any) -> int | None:
        if not isinstance(value, str) or _ZONED.search(value[-8:]):
            return plain(value)
        at = rfc3339(value) if unit in ("auto", "rfc3339") else None
        return None if at is None else _shifted(at, local)

    return read


def _formatted(pattern: re.Pattern[str], local: ZoneInfo | None) -> Callable[[Any], int | None]:
    def read(value: Any) -> int | None:
        match = pattern.fullmatch(value.strip()) if isinstance(value, str) and len(value) < 200 else None
        if match is None:
            return None
        found = {key: text for key, text in match.groupdict().items() if text is not None}
        try:
            since = _day(found) - EPOCH
        except (ValueError, OverflowError):
            return None
        clock = _clock(found)
        if clock is None:
            return None
        at = (since.days * 86_400 + clock) * 10**9 + int(found.get("f", "").ljust(9, "0"))
        if "z" in found:
            return bounded(at - _offset(found["z"]))
        return bounded(at) if local is None else _shifted(at, local)

    return read


def _day(found: dict[str, str]) -> datetime:
    year = int(found["Y"]) if "Y" in found else _century(int(found["y"]))
    if "j" in found:
        day = datetime(year, 1, 1) + timedelta(days=int(found["j"]) - 1)  # noqa: DTZ001 the zone follows
        if day.year != year:
            raise ValueError(found["j"])
        return day
    month = int(found["m"]) if "m" in found else _MONTHS.index(found["b"].lower()) + 1
    return datetime(year, month, int(found["d"]))  # noqa: DTZ001 the zone follows


def _century(year: int) -> int:
    """POSIX: 69 to 99 are of the twentieth century."""
    return year + (1900 if year >= 69 else 2000)


def _clock(found: dict[str, str]) -> int | None:
    """Seconds of the day; a leap second becomes the second that follows."""
    hour = int(found.get("H", "0"))
    if "I" in found:
        hour = int(found["I"])
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if found.get("p", "am").lower() == "pm" else 0)
    minute, second = int(found.get("M", "0")), int(found.get("S", "0"))
    return None if hour > 23 or minute > 59 or second > 60 else hour * 3600 + minute * 60 + second


def _offset(text: str) -> int:
    if text in "Zz":
        return 0
    ns = (int(text[1:3]) * 3600 + int(text[-2:]) * 60) * 10**9
    return ns if text[0] == "+" else -ns


def _shifted(at: int, local: ZoneInfo) -> int | None:
    """A local time, written as if it were UTC, as UTC; None in the hour that is twice and in the one that is not."""
    try:
        moment = (EPOCH + timedelta(seconds=at // 10**9)).replace(tzinfo=local)
    except OverflowError:
        return None
    first, second = moment.utcoffset(), moment.replace(fold=1).utcoffset()
    if first is None or first != second:
        return None
    return bounded(at - (first.days * 86_400 + first.seconds) * 10**9)
