"""MTConnect SHDR: lines `time|item|value|item|value…` as adapters of machine tools send them (MTConnect Part 1 and the
agent's adapter protocol). One message holds one line or several.

SHDR carries neither types nor structure; only the agent's device file knows them, and we have none. So:

* An item is TEXT unless `numbers` or the signal's kind says number. Guessing by the first value would lose data: tool
  "123456.20" and tool "123456.2" are two tools and one number. A number item that brings another text
  has no value then, and the text goes to `item.text`.
* A condition is known by its shape: exactly six fields of which the second is a level and the fifth is empty, HIGH or LOW
  (as items these would need an item without a name). It becomes five texts: `item` (the level), `item.code`,
  `item.severity`, `item.qualifier`, `item.message`. Conditions among other items must be named in `conditions`.
* UNAVAILABLE is a value that is missing: quality BadNoCommunication.
* `@ASSET@|id|type|document` becomes `@ASSET@` (the document), `@ASSET@.id`, `@ASSET@.type`. A document over several
  lines in one message is put together; where every line is a message of its own, the opening line gives id and type,
  and the document follows with the time of receipt: nothing is held back between messages that a crash could lose.
* `*name: value` (a remark of the adapter) becomes the text `*name`; `* PING` and `* PONG` carry no value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from adapters.mqtt.payloads.bare import excerpt
from adapters.mqtt.payloads.shape import Decode, Decoded, Refused, Row, refusal
from adapters.mqtt.times import rfc3339
from pipelines import quality as q
from pipelines.batch import Kind

LEVELS = frozenset(("NORMAL", "WARNING", "FAULT", "UNAVAILABLE"))
QUALIFIERS = frozenset(("", "HIGH", "LOW"))
CONDITION = (".code", ".severity", ".qualifier", ".message")
OPENING = "--multiline--"
MOST_FIELDS = 100_000  # of a message: more of them would hold the event loop

_FIELD = re.compile(r'"((?:[^"\\]|\\.)*)"(?=\||$)|([^|]*)', re.DOTALL)
_NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*", re.ASCII)
_REMARK = re.compile(r"\*\s*([^:\s][^:]*?)\s*:\s*(.*)", re.DOTALL)


class Items:
    """What the configuration knows about items, with the answers remembered (bounded: items are few, strangers many)."""

    def __init__(
        self,
        numbers: Iterable[str] = (),
        exact: Iterable[str] = (),
        conditions: Iterable[str] = (),
        messages: Iterable[str] = (),
        time_series: Iterable[str] = (),
    ) -> None:
        self.patterns, self.exact = tuple(numbers), frozenset(exact)
        self.conditions, self.messages = frozenset(conditions), frozenset(messages)
        self.time_series = frozenset(time_series)
        self._known: dict[str, bool] = {}

    def is_number(self, item: str) -> bool:
        known = self._known.get(item)
        if known is None:
            known = item in self.exact or any(fnmatchcase(item, pattern) for pattern in self.patterns)
            if len(self._known) < 10_000:
                self._known[item] = known
        return known


class _Out(NamedTuple):
    """Where a message's lines put what they hold."""

    rows: list[Row]
    refused: list[Refused]


def shdr(items: Items) -> Decode:
    """A decoder of SHDR messages; row keys are the names of the items."""

    def decode(payload: bytes) -> Decoded:
        try:
            text = payload.decode()
        except UnicodeDecodeError as error:
            return refusal(f"not UTF-8: byte 0x{payload[error.start]:02x} at place {error.start}")
        if not text.strip():
            return refusal("an empty message where SHDR lines were expected")
        if text.count("|") + text.count("\n") > MOST_FIELDS:
            return refusal(f"more than {MOST_FIELDS} fields in one message: have the sender divide it")
        out = _Out([], [])
        seen = sum(_decode_line(items, line, out) for line in _lines(text))
        return Decoded(seen, out.rows, out.refused)

    return decode


def _lines(text: str) -> Iterator[str]:
    """The lines, with the lines of a multi-line asset put together where the closing mark is in the same message."""
    lines = iter(text.replace("\r\n", "\n").split("\n"))
    for line in lines:
        mark = line.rfind("|" + OPENING)
        if mark < 0:
            yield line
            continue
        body, closed = _until(lines, line[mark + 1 :])
        yield line[:mark] + "|" + "\n".join(body) if closed else line
        if not closed:
            yield from body


def _until(lines: Iterator[str], closing: str) -> tuple[list[str], bool]:
    body: list[str] = []
    for line in lines:
        if line.rstrip() == closing.rstrip():
            return body, True
        body.append(line)
    return body, False


def _decode_line(items: Items, line: str, out: _Out) -> int:
    """Adds what a line says; returns how many values it holds."""
    if not line.strip() or line.startswith(OPENING):
        return 0
    if line.startswith("*"):
        return _remark(line, out)
    time, bar, rest = line.partition("|")
    if line.lstrip().startswith("<"):
        out.rows.append(Row("@ASSET@", Kind.TEXT, line))
        return 1
    at = rfc3339(time.partition("@")[0].strip())
    if not bar or (at is None and time.strip()):
        out.refused.append(Refused(f"not an SHDR line (time|item|value…): {excerpt(line.encode())}"))
        return 1
    return _items(items, fields(rest), at, out)


def fields(text: str) -> list[str]:
    """The fields of a line; a field in quotes may hold a bar behind a backslash."""
    if '"' not in text and "\\" not in text:
        return text.split("|")
    found: list[str] = []
    position = 0
    while position <= len(text):
        match = _FIELD.match(text, position)
        quoted = match[1] if match else None
        found.append(
            re.sub(r"\\(.)", r"\1", quoted)
            if quoted is not None and "\\|" in quoted
            else match[0]
            if match
            else ""
        )
        position = (match.end() if match else len(text)) + 1
    return found


def _remark(line: str, out: _Out) -> int:
    match = _REMARK.fullmatch(line)
    if match is None:
        return 0
    return _value(f"*{match[1]}", match[2], None, out)


def _value(name: str, text: str, at: int | None, out: _Out, *, number: bool = False) -> int:
    """Adds one item's value; returns how many values that is: a number item that says something else says it twice."""
    if text == "UNAVAILABLE":
        out.rows.append(Row(name, None, None, at, q.BAD_NO_COMMUNICATION))
    elif number and _NUMBER.fullmatch(text):
        out.rows.append(Row(name, Kind.NUMBER, float(text), at))
    elif number and not text.strip():
        out.rows.append(Row(name, None, None, at, q.BAD_NO_DATA))
    elif number:
        out.rows.append(Row(name, None, None, at, q.BAD_TYPE_MISMATCH))
        out.rows.append(Row(f"{name}.text", Kind.TEXT, text, at))
        return 2
    else:
        out.rows.append(Row(name, Kind.TEXT, text, at))
    return 1


def _items(items: Items, found: Sequence[str], at: int | None, out: _Out) -> int:
    if found[0] in _ASSETS:
        return _asset(found, at, out)
    if _is_condition(found):
        return _condition(found, at, out)
    seen = place = 0
    while place < len(found):
        taken, values = _item(items, found, place, at, out)
        place += taken
        seen += values
    return seen


def _item(items: Items, found: Sequence[str], place: int, at: int | None, out: _Out) -> tuple[int, int]:
    """Reads one item; returns how many fields and how many values it took."""
    name = found[place]
    if not name or place + 1 >= len(found):
        out.refused.append(Refused(f"a value without its item, or an item without its value: {name[:60]!r}"))
        return 2, 1
    if name in items.conditions and place + 6 <= len(found):
        return 6, _condition(found[place : place + 6], at, out)
    if name in items.messages and place + 3 <= len(found):
        out.rows.append(Row(f"{name}.code", Kind.TEXT, found[place + 1], at))
        return 3, 1 + _value(name, found[place + 2], at, out)
    if name in items.time_series and place + 4 <= len(found):
        count, rate, values = found[place + 1 : place + 4]
        _value(name, values, at, out)
        out.rows.extend(
            (Row(f"{name}.count", Kind.TEXT, count, at), Row(f"{name}.rate", Kind.TEXT, rate, at))
        )
        return 4, 3
    return 2, _value(name, found[place + 1], at, out, number=items.is_number(name))


def _is_condition(found: Sequence[str]) -> bool:
    return len(found) == 6 and found[1].upper() in LEVELS and found[4] in QUALIFIERS and bool(found[0])


def _condition(found: Sequence[str], at: int | None, out: _Out) -> int:
    name, level, *details = found
    _value(name, level, at, out)
    out.rows.extend(
        Row(name + part, Kind.TEXT, text, at) for part, text in zip(CONDITION, details, strict=True)
    )
    return 5


_ASSETS = frozenset(("@ASSET@", "@UPDATE_ASSET@", "@REMOVE_ASSET@", "@REMOVE_ALL_ASSETS@"))


def _asset(found: Sequence[str], at: int | None, out: _Out) -> int:
    command, *rest = found
    before = len(out.rows)
    if command == "@ASSET@" and len(rest) >= 2:
        out.rows.extend(
            (Row("@ASSET@.id", Kind.TEXT, rest[0], at), Row("@ASSET@.type", Kind.TEXT, rest[1], at))
        )
        rest = rest[2:]
        if not rest or rest[0].startswith(OPENING):
            return len(out.rows) - before
    out.rows.append(Row(command, Kind.TEXT, "|".join(rest), at))
    return len(out.rows) - before
