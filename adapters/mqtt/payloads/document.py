"""A JSON document (RFC 8259) of which some places are values.

Numbers are NUMBER whether they have a point or not, so that 5 and then 5.3 do not conflict; an integer stays exact only
where the signal is configured as integer or unsigned. A key that stands twice in one object (RFC 8259, 4, leaves open which
one counts) is refused with its name, whatever it is: one of the two values would be lost. The decoder keeps the last one silently, so
keys are counted (`once`); only where the counts differ is the document read again with a slower parser that shows every pair.
At most MOST values and keys are taken from a document: ten thousand signals in one message are a mistake, and a hundred
thousand would hold the event loop.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from adapters.mqtt.paths import Path, spell
from adapters.mqtt.payloads.shape import MOST, TOO_MUCH, Decode, Decoded, Refused, Row, Series, refusal
from pipelines import quality as q
from pipelines.batch import Kind

DEEPEST = 32  # levels of an adopted document: deeper ones are data of another kind
Time = Callable[[Any], int | None]
Parse = Callable[[bytes], Any]  # the document, or a Decoded that says why there is none

LONG = 4 * MOST  # bytes of a document from which on its parts are counted before anything is made of them
TOO_MANY_PARTS = (
    f"more than {LONG} lists and objects, or {5 * LONG} items, in one message: have the sender divide it"
)
MISSING: Any = object()
BOM = b"\xef\xbb\xbf"


def listed(paths: Sequence[Path], time: Path | None, read_time: Time, parse: Parse | None = None) -> Decode:
    """A decoder for the configured places; row keys are their numbers. A place may be missing, but not all of them."""
    read_document = parse or parse_json
    getters = [getter(path) for path in paths]
    clock = getter(time) if time is not None else None
    names = ", ".join(spell(path) or "(the document)" for path in paths)

    def decode(payload: bytes) -> Decoded:
        document = read_document(payload)
        if isinstance(document, Decoded):
            return document
        at = read_time(clock(document)) if clock else None
        found = [
            (number, value) for number, get in enumerate(getters) if (value := get(document)) is not MISSING
        ]
        if not found:
            return refusal(f"none of the configured values ({names}): the message {_describe(document)}")
        return _rows(found, at)

    return decode


def adopting(time: Path | None, read_time: Time, parse: Parse | None = None) -> Decode:
    """A decoder that takes every value of a document; row keys are their paths."""
    read_document = parse or parse_json
    clock = getter(time) if time is not None else None

    def decode(payload: bytes) -> Decoded:
        document = read_document(payload)
        if isinstance(document, Decoded):
            return document
        at = read_time(clock(document)) if clock else None
        taken = list(islice(leaves(document), MOST + 1))
        if len(taken) > MOST:
            return refusal(TOO_MUCH)
        found = [(spell(path), value) for path, value in taken if path != time]
        return _rows(found, at) if found else refusal(f"no values: the message {_describe(document)}")

    return decode


def parse_json(payload: bytes) -> Any:
    """The document, or a Decoded that says why there is none."""
    if len(payload) > LONG and (
        payload.count(b"[") + payload.count(b"{") > LONG or payload.count(b",") > 5 * LONG
    ):
        return refusal(TOO_MANY_PARTS)
    try:
        document = msgspec.json.decode(payload)
    except UnicodeDecodeError:
        return refusal("not JSON: a text in it is not UTF-8")
    except msgspec.MsgspecError as error:
        return refusal(_no_json(payload, str(error)))
    except RecursionError:
        return refusal("JSON that is nested too deeply")
    return document if once(payload, document) else _suspected(payload, document)


def _no_json(payload: bytes, error: str) -> str:
    if payload.startswith(BOM):
        return "a byte order mark before the JSON (RFC 8259, 8.1): have the sender leave it out"
    return f"not JSON: {error}" if payload.strip() else "an empty message where JSON was expected"


def once(payload: bytes, document: Any) -> bool:
    """True: no key stands twice in any object. False: one may. Cheap for a flat object without other colons."""
    colons = payload.count(b":")
    if colons == (len(document) if type(document) is dict else 0):
        return True
    keys = _keys(document)
    return colons == keys or (payload.count(b'":') == keys and _SPACED.search(payload) is None)


_SPACED = re.compile(rb'"[ \t\n\r]+:')


def _keys(document: Any) -> int:
    """How many keys its objects have, all together; stops soon after MOST."""
    count, rest = 0, [document]
    while rest and count <= MOST:
        item = rest.pop()
        if type(item) is dict:
            count += len(item)
            rest.extend(value for value in item.values() if type(value) in _NESTED)
        elif type(item) is list:
            rest.extend(value for value in item if type(value) in _NESTED)
    return count


_NESTED = (dict, list)


def _suspected(payload: bytes, document: Any) -> Any:
    """The document, if no key stands twice after all (a text had a colon in it)."""
    if _keys(document) > MOST:
        return refusal(TOO_MUCH)
    try:
        json.loads(payload, object_pairs_hook=_pairs, parse_int=len, parse_float=len)
    except _Twice as twice:
        return refusal(
            f"the key {str(twice)[:60]!r} stands twice in one object: which value counts is not defined"
        )
    except RecursionError:
        return refusal("JSON that is nested too deeply")
    return document


class _Twice(Exception):
    """A key that stands twice."""


def _pairs(pairs: list[tuple[str, Any]]) -> None:
    known: set[str] = set()
    for key, _ in pairs:
        if key in known:
            raise _Twice(key)
        known.add(key)


def getter(path: Path) -> Callable[[Any], Any]:
    """The function that finds a path's value or MISSING; one plain key, the usual case, without a loop."""
    if len(path) == 1 and isinstance(path[0], str):
        key = path[0]
        return lambda document: document.get(key, MISSING) if type(document) is dict else MISSING
    return lambda document: _walk(document, path)


def _walk(document: Any, path: Path) -> Any:
    for step in path:
        if isinstance(step, str):
            if type(document) is not dict or step not in document:
                return MISSING
        elif type(document) is not list or step >= len(document):
            return MISSING
        document = document[step]
    return document


def _rows(found: Sequence[tuple[int | str, Any]], at: int | None) -> Decoded:
    rows: list[Row] = []
    refused: list[Refused] = []
    for key, value in found:
        row = row_of(key, value, at)
        if isinstance(row, Row):
            rows.append(row)
        else:
            refused.append(row)
    return Decoded(len(found), rows, refused)


def row_of(key: int | str | Series, value: Any, at: int | None) -> Row | Refused:
    kind = _KINDS.get(type(value))
    if kind is Kind.NUMBER:
        try:
            float(value)
        except OverflowError:
            return Refused("a number beyond the range of a double")
        return Row(key, kind, value, at)
    if kind is not None:
        return Row(key, kind, value, at)
    if value is None:
        return Row(key, None, None, at, q.BAD_NO_DATA)
    if type(value) is list and value and all(type(item) in (int, float) for item in value):
        try:
            return Row(key, Kind.WAVEFORM, [float(item) for item in value], at)
        except OverflowError:
            return Refused("a list with a number beyond the range of a double")
    return Refused(f"{_what(value)} where a value was expected")


class Unreadable(NamedTuple):
    """What a binary document holds where JSON has nothing like it. what: in words."""

    what: str


def _what(value: Any) -> str:
    if type(value) is Unreadable:
        return value.what
    return "a list" if type(value) is list else "a byte string" if type(value) is bytes else "an object"


_KINDS = {int: Kind.NUMBER, float: Kind.NUMBER, bool: Kind.FLAG, str: Kind.TEXT}


def leaves(document: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value of a document with its path; empty objects and lists have none."""
    if isinstance(document, dict) and len(path) < DEEPEST:
        for key, value in document.items():
            yield from leaves(value, (*path, key))
    elif isinstance(document, list) and len(path) < DEEPEST:
        for index, value in enumerate(document):
            yield from leaves(value, (*path, index))
    else:
        yield path, document


def _describe(document: Any) -> str:
    if isinstance(document, dict):
        keys = list(document)
        more = f" and {len(keys) - 8} more" if len(keys) > 8 else ""
        shown = ", ".join(key[:40] for key in keys[:8])
        return f"has the keys {shown}{more}" if keys else "is an empty object"
    if isinstance(document, list):
        return f"is a list of {len(document)}"
    return "is nothing but a value: leave the signal's value path out to read it"
