"""Signal lists as a table, because two hundred signals are edited in Excel and not in YAML.

The header row names the keys of a signal. What Excel makes of a CSV file is read as it comes (BOM, `;`, `sep=;`), but a
decimal comma is refused and not guessed: 1,500 is one and a half in one country and fifteen hundred in another.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from config.problems import Findings, Mark, did_you_mean
from config.shapes import Fields
from config.tree import Items, Keys, Node, Scalar
from config.yaml_source import read_text, resolve

_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+\s*(%|[a-zµ]{1,3})?")
_RANGE = re.compile(r"\s*(\S*?)\s*\.\.\s*(\S*)\s*")
_SEP = re.compile(r"sep=([;,\t|])\s*", re.IGNORECASE)
MOST_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    cells: Sequence[str]


def read_signals(path: Path, shown: str, fields: Fields, findings: Findings) -> Items | None:
    """The rows of a CSV file as a list of signals, each cell with its place; None if the file cannot be used."""
    text = read_text(path, shown, findings)
    return None if text is None else parse_signals(text, shown, fields, findings)


def parse_signals(text: str, shown: str, fields: Fields, findings: Findings) -> Items | None:
    body, skipped, delimiter = _without_sep(text)
    rows = list(_rows(body, delimiter or _delimiter(body), shown, skipped, findings))
    if not rows:
        findings.error(Mark(shown), "the file has no rows", "the first row names the columns: name;node;unit")
        return None
    names = _header(rows[0], shown, fields, findings)
    if "name" not in names:
        findings.error(
            Mark(shown, rows[0].line), "the header has no column 'name'", did_you_mean("name", names)
        )
        return None
    if len(rows) == 1:
        findings.error(Mark(shown, rows[0].line), "no signals beneath the header")
    signals = (_signal(row, names, shown, fields, findings) for row in rows[1:])
    return Items(tuple(signals), Mark(shown, rows[0].line))


def _without_sep(text: str) -> tuple[str, int, str]:
    """Excel's own first line that names the delimiter, taken away: the rest, lines taken, the delimiter or ''."""
    first, newline, rest = text.partition("\n")
    match = _SEP.fullmatch(first.strip("\r"))
    return (rest, 1, match[1]) if match and newline else (text, 0, "")


def _delimiter(text: str) -> str:
    """The most frequent of ; , and tab in the header row, outside quotes."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    bare = re.sub(r'"[^"]*"', "", header)
    return max(";,\t", key=bare.count)


def _rows(text: str, delimiter: str, shown: str, skipped: int, findings: Findings) -> Iterator[_Row]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line, count = skipped + 1, 0
    try:
        for cells in reader:
            if any(cell.strip(" \t;,") for cell in cells):
                count += 1
                yield _Row(line, [cell.strip() for cell in cells])
            line = skipped + reader.line_num + 1
            if count > MOST_ROWS:
                findings.error(Mark(shown, line), f"more than {MOST_ROWS} rows", "split the file")
                return
    except csv.Error as error:
        hint = 'a cell that contains " is written between quotes, and its " doubled'
        findings.error(Mark(shown, line), f"the row cannot be read: {error}", hint)


def _header(row: _Row, shown: str, fields: Fields, findings: Findings) -> list[str]:
    """The columns' names; '' for those that are to be skipped (unknown, twice, without a name)."""
    names: list[str] = []
    for column, name in enumerate(row.cells, 1):
        mark = Mark(shown, row.line, column, name)
        if name and name in names:
            findings.error(mark, f"the column {name} is there twice", "remove one of the two")
        known = name == "" or fields.has(name.partition(".")[0])
        if not known:
            findings.error(mark, f"unknown column {name!r}", did_you_mean(name, fields.names))
        names.append(name if known and name not in names else "")
    return names


def _signal(row: _Row, names: Sequence[str], shown: str, fields: Fields, findings: Findings) -> Node:
    signal = Keys({}, {}, Mark(shown, row.line))
    for column, cell in enumerate(row.cells):
        name = names[column] if column < len(names) else ""
        mark = Mark(shown, row.line, column + 1, name)
        if column >= len(names) and cell:
            hint = "a cell with a comma needs quotes, and a number a decimal point (0.5)"
            findings.error(mark, f"the row has more cells than the header has columns ({len(names)})", hint)
            break
        if name and cell:
            _put(signal, cell, mark, fields, findings)
    return signal


def _put(signal: Keys, cell: str, mark: Mark, fields: Fields, findings: Findings) -> None:
    """One cell into the signal, under the column's name (`mark.name`); `tags.order` goes into the group `tags`."""
    key, _, member = mark.name.partition(".")
    if member:
        group = signal.entries.setdefault(key, Keys({}, {}, mark))
        if isinstance(group, Keys):
            group.entries[member], group.marks[member] = Scalar(cell, mark), mark
    elif not fields.is_text(key) and _DECIMAL_COMMA.fullmatch(cell):
        hint = f"write {cell.replace(',', '.')}; in Excel, format the column as text"
        findings.error(mark, f"{key}: {cell} has a decimal comma", hint)
    else:
        signal.entries[key] = _value(cell, mark, text=fields.is_text(key), bounds=fields.is_list(key))
    signal.marks[key] = mark


def _value(cell: str, mark: Mark, *, text: bool, bounds: bool) -> Node:
    """Text columns stay text; others are read as YAML would; `0..100` is a range, open where an end is left out."""
    if text:
        return Scalar(cell, mark)
    ends = _RANGE.fullmatch(cell) if bounds else None
    if ends is not None:
        return Items((Scalar(resolve(ends[1]), mark), Scalar(resolve(ends[2]), mark)), mark)
    return Scalar(resolve(cell), mark)
