"""Signal lists as Excel writes them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.opcua.settings import OpcUaRead
from config.load import load
from config.problems import Findings, Problem
from config.shapes import signal_fields
from config.signals_csv import parse_signals
from config.tree import plain

FIELDS = signal_fields(OpcUaRead)
HEAD = "name;node;unit;every;deadband;range\n"
CONFIG = """\
version: 1
sources: {plc: {type: opcua, url: "opc.tcp://127.0.0.1", security: none}}
machines:
  - {for_each: {n: 1..2}, id: "mill-{n}", source: plc, signals_file: list.csv}
"""


def parsed(text: str) -> tuple[object, tuple[Problem, ...]]:
    findings = Findings()
    items = parse_signals(text, "list.csv", FIELDS, findings)
    return None if items is None else plain(items), findings.sorted()


def loaded(folder: Path, table: str | bytes) -> tuple[Problem, ...]:
    (folder / "c.yaml").write_text(CONFIG)
    (folder / "list.csv").write_bytes(table.encode() if isinstance(table, str) else table)
    return tuple(p for p in load([folder / "c.yaml"], env={}).problems if p.level == "error")


@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_as_excel_saves_it(tmp_path: Path, delimiter: str, start: str, newline: str) -> None:
    rows = [
        "name;node;unit;every;deadband;range",
        "",
        "load;i=5;%;250ms;0.5;0..100",
        ";;;;;",
        "oil;i=6;°C;;;",
    ]
    text = start + newline.join(rows).replace(";", delimiter) + newline
    assert loaded(tmp_path, text) == ()
    settings_ = load([tmp_path / "c.yaml"], env={}).settings
    assert settings_ is not None
    treatment = settings_.treatments().of("mill-2", "load")
    assert (treatment.deadband, treatment.low, treatment.high) == (0.5, 0.0, 100.0)
    assert [c.signal.unit for c in settings_.signals()] == ["%", "°C"] * 2


@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
def test_sep_line(delimiter: str) -> None:
    rows, problems = parsed(f"sep={delimiter}\r\nname{delimiter}node\r\nload{delimiter}i=5\r\n")
    assert (rows, problems) == ([{"name": "load", "node": "i=5"}], ())


def test_the_sep_line_counts_as_a_line() -> None:
    _, problems = parsed("sep=;\nname;scale\n\nload;0,5\n")
    assert [(p.line, p.column_name) for p in problems] == [(4, "scale")]


def test_types_follow_the_field() -> None:
    rows, problems = parsed("name;node;scale;range;tags.order;queue\n5;i=1;2.5;..10;7;3\n")
    assert problems == ()
    assert rows == [
        {"name": "5", "node": "i=1", "scale": 2.5, "range": [None, 10], "tags": {"order": "7"}, "queue": 3}
    ]


@pytest.mark.parametrize(
    ("table", "line", "column", "says"),
    [
        (HEAD + "load;i=5;%;;0,5;\n", 2, "deadband", "0,5 has a decimal comma"),
        (HEAD + "load;i=5;%;0,5s;;\n", 2, "every", "0,5s has a decimal comma"),
        (HEAD + "\n\nload;bad;%;;;\n", 4, "node", "'bad' is not a NodeId"),
        (HEAD + "load;i=5;%;5;;\n", 2, "every", "a duration is a number with its unit"),
        (HEAD + "load;;%;;;\n", 2, "1", "give the signal a node"),
        (HEAD + "load;i=1;;;;\nload;i=2;;;;\n", 3, "name", "two signals of one machine are named load"),
        ("name;nodee\nload;i=5\n", 1, "nodee", "unknown column 'nodee'"),
        ("name;node;name\nload;i=5;x\n", 1, "name", "the column name is there twice"),
        ("node\ni=5\n", 1, "1", "no column 'name'"),
        ("", 1, "1", "the file has no rows"),
        ("name;node\n", 1, "1", "no signals beneath the header"),
        ("name,scale,node\nload,0,5,i=5\n", 2, "4", "more cells than the header"),
        ('name;node\nload;"i=5\n', 2, "1", "the row cannot be read"),
        ('name;node\n"a\nb";i=5\nload;bad\n', 4, "node", "'bad' is not a NodeId"),
        ("name;node\nload;i=5;;\n", 0, "", ""),
        ("name;node;;\nload;i=5;;\n", 0, "", ""),
        (HEAD + "load;i=5;;;;1..x\n", 2, "range", "range[1]: must be a valid number"),
    ],
)
def test_problems_name_line_and_column(tmp_path: Path, table: str, line: int, column: str, says: str) -> None:
    problems = loaded(tmp_path, table)
    fitting = [p for p in problems if says in p.message and p.line == line]
    assert bool(fitting) == bool(line), problems
    for problem in fitting:
        assert problem.where == f"{tmp_path / 'list.csv'}:{line}:{column}"


def test_one_mistake_in_a_shared_list_is_said_once(tmp_path: Path) -> None:
    assert len(loaded(tmp_path, "name;node\nload;bad\n")) == 1


def test_ansi_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (problem,) = loaded(tmp_path, "name;node;unit\nload;i=5;°C\n".encode("cp1252"))
    assert (problem.line, "CSV UTF-8" in problem.hint) == (2, True)


_cell = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=12).map(
    str.strip
)


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(_cell.filter(bool), _cell, _cell), min_size=1, max_size=6),
    delimiter=st.sampled_from(";,\t"),
)
def test_what_the_csv_module_writes_is_read(rows: list[tuple[str, str, str]], delimiter: str) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerows([("name", "label", "unit"), *rows])
    read, problems = parsed(out.getvalue())
    keys = ("name", "label", "unit")
    expected = [
        {k: c for k, c in zip(keys, row, strict=True) if c}
        for row in rows
        if any(c.strip(" \t;,") for c in row)
    ]
    assert (read or [], [p for p in problems if "no signals" not in p.message]) == (expected, [])


@settings(deadline=None)
@given(text=st.text(alphabet="name;,\t\"'\r\n=.0159\x00é", max_size=60))
def test_no_text_raises(text: str) -> None:
    for start in ("", "name;node\n", "sep=,\n"):
        parsed(start + text)
