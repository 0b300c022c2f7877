"""The rules of the house that no linter knows, checked over the committed tree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("collector", "adapters", "pipelines", "config", "simulators", "benchmarks")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    documented = len((ast.get_docstring(function, clean=False) or "").splitlines())
    return (function.end_lineno or 0) - function.lineno + 1 - documented


def functions() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, FUNCTIONS):
                yield path.relative_to(ROOT), node


def test_there_are_sources() -> None:
    assert len(SOURCES) > 50


def test_files_are_short() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {lines}"
        for path in SOURCES
        if (lines := path.read_text().count("\n")) > 300
    ]
    assert long == []


def test_functions_are_short() -> None:
    sizes = [(body_lines(node), f"{path}:{node.lineno} {node.name}") for path, node in functions()]
    assert [name for size, name in sizes if size > 40] == []
    assert sorted(size for size, _ in sizes)[len(sizes) // 2] <= 8


def test_only_the_supervisor_catches_everything() -> None:
    broad = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler):
                names = (
                    {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)}
                    if node.type
                    else {"*"}
                )
                if names & {"*", "Exception", "BaseException"}:
                    broad.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert [place for place in broad if not place.startswith("collector/supervisor.py:")] == []


def test_modules_say_why_they_exist() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


def test_nothing_is_left_for_later() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    found = [
        f"{p.relative_to(ROOT)}:{i}"
        for p in SOURCES
        for i, line in enumerate(p.read_text().splitlines(), 1)
        if marks.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("package", ["collector", "adapters", "pipelines", "config", "simulators"])
def test_the_common_names_are_ours(package: str) -> None:
    """The folders have common names; no other installed distribution may claim one, and they import from this project."""
    code = f"import {package}; print({package}.__file__)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert Path(found.stdout.strip()).is_relative_to(ROOT)
    owners = metadata.packages_distributions().get(package, [])
    assert set(owners) <= {"shopfloor-collector"}


@pytest.mark.parametrize(
    "readme", sorted((ROOT / "adapters").glob("*/README.md")), ids=lambda path: path.parent.name
)
def test_adapter_readmes_have_the_four_sections(readme: Path) -> None:
    text = readme.read_text(encoding="utf-8")
    for heading in ("What it", "Configuration", "Guarantees", "Known limitations"):
        assert re.search(rf"^## {heading}", text, re.MULTILINE), f"{readme}: no section '{heading}'"


@pytest.mark.parametrize("lock", ["run.txt", "dev.txt"])
def test_locks_have_hashes_and_no_addresses(lock: str) -> None:
    text = (ROOT / "locks" / lock).read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index" not in text
    pins = re.findall(r"^([a-z0-9._-]+)==\S+", text, re.MULTILINE | re.IGNORECASE)
    assert len(pins) > 20
    assert text.count("--hash=sha256:") >= len(pins)


def test_help_answers_without_heavy_libraries() -> None:
    code = (
        "import sys; from collector.__main__ import parser; parser().format_help();"
        "print([m for m in ('asyncua','paho','influxdb_client','pyarrow','duckdb','pydantic','numpy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
