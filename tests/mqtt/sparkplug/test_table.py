"""The table of rules tells the truth: its tests exist, its page is the present one, and no docstring cites a rule that is not in it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.mqtt.sparkplug.rules import EDGE, FILE, HOST, NOT_OURS, text

HERE = Path(__file__).parent


def test_every_test_of_the_table_exists() -> None:
    known = {
        f"{file.name}::{node.name}"
        for file in HERE.glob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    cited = {test for tests in (*HOST.values(), *EDGE.values()) for test in tests}
    assert cited <= known
    assert not (set(HOST) & set(EDGE)) | (set(HOST) & set(NOT_OURS))


def test_no_rule_is_cited_that_the_table_does_not_know() -> None:
    """Ids are the specification's own; one written from memory would look just as true."""
    cited = {
        rule
        for file in (*HERE.glob("*.py"), *(HERE.parents[2] / "adapters/mqtt/sparkplug").glob("*.py"))
        for rule in re.findall(r"tck-id-([a-z0-9][\w-]*\w)", file.read_text("utf-8"))
    }
    assert cited <= {*HOST, *EDGE, *NOT_OURS, "message-flow-edge-node-birth-publish-phid-wait"}


def test_the_page_is_the_present_one() -> None:
    assert FILE.read_text("utf-8") == text(), "python -m tests.mqtt.sparkplug.rules --write"
