"""Rows of cells (RFC 4180): one row or many in a message, columns named by the first line or by the configuration.

A column holds numbers unless `texts` or the signal's `kind` says otherwise: a cell that is none is refused by name. Guessing
by the cell would make tools "123456.20" and "123456.2" one number. An empty cell is a point without a value.
A byte order mark is dropped: spreadsheets write one.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from io import StringIO
from typing import Any, NamedTuple

from adapters.mqtt.payload_settings import CsvPayload
from adapters.mqtt.payloads.bare import FLAGS
from adapters.mqtt.payloads.document import BOM, MISSING
from adapters.mqtt.payloads.shape import MOST, Decode, Decoded, Out, Row, Series, refusal
from adapters.mqtt.payloads.status import Status, unit_of
from pipelines import quality as q
from pipelines.batch import Kind

_NUMBER = re.compile(
    r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:nan|inf|infinity)", re.ASCII | re.IGNORECASE
)
_WHOLE = re.compile(r"[+-]?\d{1,40}", re.ASCII)


LONGEST = 131_072
"""Characters of a cell. The csv module has a bound too, but one for the whole process, which anybody may lift."""


class Column(NamedTuple):
    """One wanted column: its place in the row, its name, and how its cells are read."""

    place: int
    name: str
    read: Callable[[str], tuple[Kind, Any] | None]


class Layout(NamedTuple):
    """The columns of a message. width: cells of a row. time, status, unit: places, -1 without one."""

    width: int
    columns: Sequence[Column]
    named: frozenset[int]
    time: int
    status: int
    unit: int


def rows(payload: CsvPayload, wanted: frozenset[str] | None, kinds: Mapping[str, str]) -> Decode:
    """The decoder. wanted: the columns that are signals; None: all but time, quality and unit."""
    when, status = payload.when(), Status(payload.quality) if payload.quality else None
    fixed = _layout(payload, payload.columns, wanted, kinds) if payload.columns else None
    known: dict[tuple[str, ...], Layout | str] = {}

    def decode(message: bytes) -> Decoded:
        lines = _lines(message, payload.separator)
        if isinstance(lines, str):
            return refusal(lines)
        layout: Layout | str | None = fixed
        if layout is None:
            header = tuple(name.strip() for name in lines.pop(0))
            layout = known.get(header)
            if layout is None:
                layout = _layout(payload, header, wanted, kinds)
                if len(known) < 100:
                    known[header] = layout
        if isinstance(layout, str):
            return refusal(layout)
        out = Out()
        for cells in lines:
            _row(layout, cells, when, status, out)
            if out.seen > MOST:
                break
        return out.decoded()

    return decode


def _lines(message: bytes, separator: str) -> list[list[str]] | str:
    if message.count(b"\n") + message.count(b"\r") > 2 * MOST:
        return f"more than {MOST} rows in one message: have the sender divide it"
    try:
        text = message.removeprefix(BOM).decode()
        lines = [
            cells
            for cells in csv.reader(StringIO(text, newline=""), delimiter=separator, strict=True)
            if cells
        ]
    except UnicodeDecodeError as error:
        return f"not UTF-8: byte 0x{message.removeprefix(BOM)[error.start]:02x} at place {error.start}"
    except csv.Error as error:
        return f"not CSV: {error}"
    if len(text) > LONGEST and any(len(cell) > LONGEST for cells in lines for cell in cells):
        return f"not CSV: a cell longer than {LONGEST} characters: is a quotation mark left open?"
    return lines or "an empty message where CSV was expected"


def _layout(
    payload: CsvPayload, names: Sequence[str], wanted: frozenset[str] | None, kinds: Mapping[str, str]
) -> Layout | str:
    """The places of the columns, or why these names cannot be used."""
    if len(names) > MOST:
        return f"more than {MOST} columns"
    present = [name for name in names if name]
    if len(set(present)) < len(present):
        return "two columns of one name: which value counts is not defined"
    grade = payload.quality.value if payload.quality else ""
    places = {name: place for place, name in enumerate(names) if name}
    special = {payload.time, grade, payload.unit_from}
    chosen = [
        Column(place, name, _reader(payload, name, kinds.get(name)))
        for name, place in places.items()
        if (name not in special if wanted is None else name in wanted)
    ]
    if not chosen:
        return f"none of the wanted columns: the message has {', '.join(present[:8])[:200]}"
    ends = [places.get(name, -1) for name in (payload.time, grade, payload.unit_from)]
    return Layout(len(names), chosen, frozenset(places.values()), *ends)


def kind_of_column(payload: CsvPayload, name: str, kind: str | None) -> Kind:
    """What the cells of a column are, empty ones too. kind: the signal's own, which counts first."""
    if kind == "text" or (kind is None and any(fnmatchcase(name, pattern) for pattern in payload.texts)):
        return Kind.TEXT
    return Kind.FLAG if kind == "flag" else Kind.NUMBER


def _reader(payload: CsvPayload, name: str, kind: str | None) -> Callable[[str], tuple[Kind, Any] | None]:
    column = kind_of_column(payload, name, kind)
    if column is Kind.TEXT:
        return lambda cell: (Kind.TEXT, cell)
    if column is Kind.FLAG:
        return _flag
    return _comma if payload.decimal == "," else _number


def _number(cell: str) -> tuple[Kind, Any] | None:
    cell = cell.strip()
    if len(cell) > 1000 or _NUMBER.fullmatch(cell) is None:
        return None
    return Kind.NUMBER, int(cell) if _WHOLE.fullmatch(cell) else float(cell)


def _comma(cell: str) -> tuple[Kind, Any] | None:
    """A point is no thousands separator here: 1.234 could be either, so it is refused."""
    return None if "." in cell else _number(cell.replace(",", "."))


def _flag(cell: str) -> tuple[Kind, Any] | None:
    known = FLAGS.get(cell.strip().lower().encode("utf-8", "replace"))
    return None if known is None else (Kind.FLAG, known)


def _row(
    layout: Layout, cells: Sequence[str], when: Callable[[Any], int | None], status: Status | None, out: Out
) -> None:
    if len(cells) != layout.width:
        out.seen += 1
        out.refuse(f"a row of {len(cells)} cells where there are {layout.width} columns")
        return
    at = _moment(cells[layout.time], when) if layout.time >= 0 else None
    unit = unit_of(cells[layout.unit]) if layout.unit >= 0 else ""
    quality = q.GOOD
    if status is not None:
        quality = status.of((cells[layout.status].strip() or None) if layout.status >= 0 else MISSING)
    for place, name, read in layout.columns:
        out.seen += 1
        key = Series(name, unit) if unit else name
        cell = cells[place]
        found = read(cell)
        if found is not None:
            out.rows.append(Row(key, *found, at, quality))
        elif not cell.strip():
            out.rows.append(Row(key, None, None, at, q.BAD_NO_DATA))
        else:
            out.refuse(
                f"column {name[:60]!r}: not what was expected: {cell[:40]!r} (texts: lists columns of texts)"
            )


def _moment(cell: str, when: Callable[[Any], int | None]) -> int | None:
    """A cell is a text; one that is a number is read as a number."""
    cell = cell.strip()
    found = _number(cell) if len(cell) < 40 else None
    at = when(cell)
    return at if at is not None or found is None else when(found[1])
