"""Numbers as people say them, for the log, the terminal and the page."""

from __future__ import annotations

import datetime as dt

_STEPS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def duration_words(seconds: float) -> str:
    """'0.4 s', '12 s', '4 min 12 s', '3 d 4 h': two units at most."""
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f} s"
    rest, parts = round(seconds), list[str]()
    for size, unit in _STEPS:
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part)


def size_words(count: float) -> str:
    """'512 B', '3.4 MB': decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def time_words(ns: int) -> str:
    """A time as RFC 3339 in UTC with all nine digits: what is stored, not what is nice."""
    seconds, fraction = divmod(ns, 10**9)
    try:
        moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    except (OverflowError, ValueError, OSError):
        return f"{ns} ns since 1970"
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


def printable(text: str) -> str:
    """Text from outside, safe for a terminal or a log line: control characters are shown, not obeyed."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in text
    )


def with_remedy(said: object, remedy: str) -> str:
    """What happened and what to do about it, in one line."""
    words = str(said)
    return f"{words}{' ' if words.endswith('.') else ' - '}{remedy}" if remedy else words
