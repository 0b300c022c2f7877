"""Reads line protocol (InfluxDB v1 and v2, "line protocol" reference): for the stand-in database of the self-test only.

Written from the specification and not from the encoder of the adapter: a shared mistake would hide itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

_STRING: Final = r'"(?:[^"\\]|\\.)*"'
_LINE: Final = re.compile(
    rf"""((?:\\.|[^\n" \\]|\\)+) ((?:{_STRING}|\\.|[^\n" \\])+) (-?\d+)(?:\n|\Z)""", re.DOTALL
)
_FIELD: Final = re.compile(rf"((?:\\.|[^,=\\])+)=({_STRING}|[^,]*)(?:,|\Z)", re.DOTALL)
_TAG: Final = re.compile(r"(?:\\.|[^,\\]|\\(?![,= ]))+", re.DOTALL)


class Read(NamedTuple):
    measurement: str
    tags: dict[str, str]
    fields: dict[str, Any]
    at: int


def read_lines(text: str) -> Iterator[Read]:
    """Every line. Raises ValueError at the first that is none."""
    place = 0
    while place < len(text):
        if text[place] in "#\n":
            place = (text.find("\n", place) + 1) or len(text)
            continue
        found = _LINE.match(text, place)
        if found is None:
            raise ValueError(f"unable to parse {text[place : place + 80]!r}")
        place = found.end()
        name, *tags = _TAG.findall(found[1])
        fields = {_plain(key): _value(value) for key, value in _FIELD.findall(found[2])}
        yield Read(_plain(name), dict(_pair(tag) for tag in tags), fields, int(found[3]))


def _pair(tag: str) -> tuple[str, str]:
    name, value = re.split(r"(?<!\\)=", tag, maxsplit=1)
    return _plain(name), _plain(value)


def _plain(text: str) -> str:
    return re.sub(r"\\([,= ])", r"\1", text)


def _value(text: str) -> Any:
    if text.startswith('"'):
        return re.sub(r'\\(["\\])', r"\1", text[1:-1])
    if text in ("true", "false"):
        return text == "true"
    return int(text[:-1]) if text[-1:] in ("i", "u") else float(text)
