"""A reader of line protocol, written from its specification and not from our encoder: the other side of every test here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple


class Read(NamedTuple):
    measurement: str
    tags: dict[str, str]
    fields: dict[str, Any]
    at: int


class Unsigned(int):
    """A value that was written with `u`."""


def read_all(body: str) -> Iterator[Read]:
    rest = body
    while rest:
        line, rest = _line(rest)
        if line and not line.startswith("#"):
            yield read(line)


def _line(text: str) -> tuple[str, str]:
    """Up to a newline that is not inside the quotes of a string field."""
    quoted, i = False, 0
    while i < len(text):
        if text[i] == "\\":
            i += 1
        elif text[i] == '"':
            quoted = not quoted
        elif text[i] == "\n" and not quoted:
            return text[:i], text[i + 1 :]
        i += 1
    return text, ""


def read(line: str) -> Read:
    head, rest = _until(line, " ")
    fields, at = _until(rest, " ", quotes=True)
    parts = list(_split(head, ","))
    tags = dict(_pair(part) for part in parts[1:])
    assert all(tags.values()), f"an empty tag in {line!r}"
    return Read(_plain(parts[0]), tags, {k: _value(v) for k, v in _fields(fields)}, int(at))


def _fields(text: str) -> Iterator[tuple[str, str]]:
    while text:
        pair, text = _until(text, ",", quotes=True)
        name, value = _until(pair, "=")
        yield _plain(name), value


def _until(text: str, end: str, *, quotes: bool = False) -> tuple[str, str]:
    """Split at the first `end` that is neither escaped nor, if quotes count, quoted."""
    quoted, i = False, 0
    while i < len(text):
        if text[i] == "\\":
            i += 1
        elif quotes and text[i] == '"':
            quoted = not quoted
        elif text[i] == end and not quoted:
            return text[:i], text[i + 1 :]
        i += 1
    return text, ""


def _split(text: str, end: str) -> Iterator[str]:
    while text:
        part, text = _until(text, end)
        yield part


def _pair(text: str) -> tuple[str, str]:
    name, value = _until(text, "=")
    return _plain(name), _plain(value)


def _plain(text: str) -> str:
    for character in ",= ":
        text = text.replace("\\" + character, character)
    return text


def _value(text: str) -> Any:
    if text.startswith('"'):
        assert text.endswith('"')
        assert len(text) > 1
        return text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if text in ("true", "false"):
        return text == "true"
    if text.endswith("u"):
        return Unsigned(text[:-1])
    return int(text[:-1]) if text.endswith("i") else float(text)
