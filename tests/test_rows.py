"""The table of the fault list is true: every row has a test, every test that it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.rows import (
    END,
    README,
    ROOT,
    ROWS,
    SCRIPTS,
    Named,
    found,
    scripts,
    servers,
    table,
    without_test,
    written,
)


def test_every_row_has_a_test() -> None:
    assert without_test(list(found())) == []


def test_the_table_names_tests_that_exist() -> None:
    named = written(README.read_text(encoding="utf-8"))
    assert len(named) > len(ROWS)
    assert [pair for pair in named if pair[1] not in _tests(ROOT / pair[0])] == []


def test_the_table_has_every_row() -> None:
    """Each row of the list, with a test that exists."""
    lines = README.read_text(encoding="utf-8").partition(END)[0].splitlines()
    cells = {line.split("|")[1].strip(): line for line in lines if line.startswith("| ")}
    lost = [row for row in ROWS if not written(cells.get(row, ""))]
    assert not lost, "the table is old: python -m tests.rows --write"


def test_the_scripts_of_the_rows_exist() -> None:
    assert {row for row in SCRIPTS if row.startswith("U")} == {row for row in ROWS if row.startswith("U")}
    assert {"M3", "M4", "M5", "M6", "M12", "M13", "M14"} <= set(SCRIPTS)
    assert scripts() in README.read_text(encoding="utf-8"), "the table is old: python -m tests.rows --write"
    folders = (ROOT / "opcua", ROOT / "mqtt")
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in folders
        for path in [*folder.glob("scripted/**/*.py"), *folder.glob("rows/*.py")]
    ) + (ROOT.parent / "simulators/sparkplug/breaks.py").read_text(encoding="utf-8")
    names = {
        name.rpartition(".")[2] for words in SCRIPTS.values() for name in re.findall(r"`([\w.]+)`", words)
    }
    unknown = [name for name in names if not re.search(rf"(class |def |    ){name}\b *[:(]", code)]
    assert unknown == []


def test_what_real_servers_show_is_said_for_every_row() -> None:
    """Shown, or declared with the reason why this server cannot."""
    assert "not declared" not in servers()
    assert servers() in README.read_text(encoding="utf-8"), "the table is old: python -m tests.rows --write"


def _tests(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        inner = [node, *node.body] if isinstance(node, ast.ClassDef) else [node]
        owner = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        for child in inner:
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                names |= {child.name, f"{owner}{child.name}"}
    return names


SAMPLE = '''
"""D1, D2: of the module."""

def test_plain(): ...

class TestGroup:
    """P1: of the class."""

    async def test_inner(self):
        """B1-B3: a range."""

def test_l1_by_its_name(): ...

def helper():
    """T1: no test."""
'''


@pytest.fixture
def sample(tmp_path: Path) -> list[Named]:
    (tmp_path / "test_sample.py").write_text(SAMPLE, encoding="utf-8")
    return list(found(tmp_path))


def test_the_reader_reads_names_classes_and_ranges(sample: list[Named]) -> None:
    by_test = {name: {t.row for t in sample if t.name == name} for name in {t.name for t in sample}}
    assert by_test == {
        "test_plain": {"D1", "D2"},
        "TestGroup::test_inner": {"D1", "D2", "P1", "B1", "B2", "B3"},
        "test_l1_by_its_name": {"D1", "D2", "L1"},
    }


def test_a_row_without_a_test_is_noticed(sample: list[Named]) -> None:
    assert "T1" in without_test(sample)
    assert set(without_test(sample)) == ROWS.keys() - {"D1", "D2", "P1", "B1", "B2", "B3", "L1"}


def test_a_test_that_vanished_is_noticed(sample: list[Named], tmp_path: Path) -> None:
    named = written(table(sample))
    assert ("test_sample.py", "TestGroup::test_inner") in named
    assert set(named) == {(test.file, test.name) for test in sample}
