"""InfluxDB line protocol, as Telegraf and many gateways publish it: `measurement,tag=a field=1.5,other=2i time`.

A field becomes the signal `measurement.field`; tags become tags of it, by which it is one of several. Numbers with and
without `i` or `u` are numbers, so that a field that changes between them stays one signal. A line that cannot be read is
refused by itself. A field or a tag that stands twice in a line refuses the line.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from adapters.mqtt.payloads.bare import excerpt
from adapters.mqtt.payloads.shape import MOST, Decode, Decoded, Out, Row, Series, refusal
from adapters.mqtt.times import FACTORS, bounded
from pipelines.batch import Kind

_MEASUREMENT = re.compile(r"(?:[^, \\\n]++|\\.?)++")
_KEY = r"((?:[^,= \\\n]++|\\[^\n]?)++)"
_TAG = re.compile(rf",{_KEY}={_KEY}")
_FIELD = re.compile(rf'{_KEY}=(?:"((?:[^"\\]++|\\.)*+)"|([^, \n\r"]+))', re.DOTALL)
_END = re.compile(r"(?: +([+-]?\d{1,20}))?[ \t\r]*(?:\n|\Z)", re.ASCII)
_FLOAT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,20}[iu]", re.ASCII)
_ESCAPED = re.compile(r"\\([,= ])")
_WORDS = {
    **dict.fromkeys(("t", "T", "true", "True", "TRUE"), True),
    **dict.fromkeys(("f", "F", "false", "False", "FALSE"), False),
}
TAGS, LONGEST = 20, 200  # tags of a line; characters of a tag


class Line(NamedTuple):
    """One line that could be read."""

    measurement: str
    tags: tuple[tuple[str, str], ...]
    fields: dict[str, tuple[Kind, Any]]
    time: int | None


class _Unreadable(Exception):
    """Why a line cannot be read."""


def lines(precision: str, wanted: frozenset[str] | None) -> Decode:
    """The decoder. wanted: which `measurement.field` are signals; None: all."""
    factor = FACTORS[precision]

    def decode(payload: bytes) -> Decoded:
        try:
            text = payload.decode()
        except UnicodeDecodeError as error:
            return refusal(f"not UTF-8: byte 0x{payload[error.start]:02x} at place {error.start}")
        out = Out()
        place, met = 0, 0
        while place < len(text) and out.seen <= MOST and met <= 2 * MOST:
            met += 1
            place = _read(text, place, factor, wanted, out)
        if met > 2 * MOST:
            return refusal(f"more than {MOST} lines in one message: have the sender divide it")
        if not met:
            return refusal("an empty message where line protocol was expected")
        return out.decoded()

    return decode


def _read(text: str, place: int, factor: int, wanted: frozenset[str] | None, out: Out) -> int:
    """Adds what the line at this place says; returns where the next one begins."""
    end = text.find("\n", place)
    end = len(text) if end < 0 else end
    if text[place] == "#" or not text[place:end].strip():
        return end + 1
    try:
        line, following = parse(text, place)
    except _Unreadable as problem:
        out.seen += 1
        out.refuse(f"{problem}: {excerpt(text[place : min(end, place + 60)].encode())}")
        return end + 1
    at = None if line.time is None else bounded(line.time * factor)
    for field, (kind, value) in line.fields.items():
        name = f"{line.measurement}.{field}"
        if wanted is None or name in wanted:
            out.seen += 1
            out.rows.append(Row(Series(name, "", line.tags) if line.tags else name, kind, value, at))
    return following


def parse(text: str, place: int) -> tuple[Line, int]:
    """The line at this place, and where the next one begins. Raises _Unreadable."""
    match = _MEASUREMENT.match(text, place)
    if match is None:
        raise _Unreadable("a line without a measurement")
    measurement, place = _plain(match[0]), match.end()
    tags: dict[str, str] = {}
    while (match := _TAG.match(text, place)) is not None:
        _add(tags, _plain(match[1]), _plain(match[2]))
        place = match.end()
    if len(tags) > TAGS or any(len(part) > LONGEST for tag in tags.items() for part in tag):
        raise _Unreadable(f"more than {TAGS} tags, or a tag of more than {LONGEST} characters")
    fields: dict[str, tuple[Kind, Any]] = {}
    separators = " "
    while text[place : place + 1] == separators and (match := _FIELD.match(text, place + 1)) is not None:
        _add(fields, _plain(match[1]), _value(match[2], match[3]))
        place, separators = match.end(), ","
        if len(fields) > MOST:
            raise _Unreadable(f"more than {MOST} fields")
    last = _END.match(text, place)
    if not fields or last is None:
        raise _Unreadable("not line protocol (measurement,tag=a field=1 time)")
    return Line(measurement, tuple(tags.items()), fields, int(last[1]) if last[1] else None), last.end()


def _add(known: dict[str, Any], key: str, value: Any) -> None:
    if key in known:
        raise _Unreadable(f"{key[:60]!r} stands twice in a line")
    known[key] = value


def _plain(text: str) -> str:
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text


def _value(quoted: str | None, word: str | None) -> tuple[Kind, Any]:
    if word is None:
        return Kind.TEXT, re.sub(r'\\(["\\])', r"\1", quoted or "")
    if _FLOAT.fullmatch(word):
        return Kind.NUMBER, float(word)
    if _WHOLE.fullmatch(word):
        return Kind.NUMBER, int(word[:-1])
    if word in _WORDS:
        return Kind.FLAG, _WORDS[word]
    raise _Unreadable(f"{word[:40]!r} is no value")
