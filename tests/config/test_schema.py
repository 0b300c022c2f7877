"""The committed JSON Schema is that of the models, in the words of draft-07, and agrees with the loader.

The validator below is the oracle: small, written from the draft (json-schema.org, draft-07 validation), no dependency.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config.problems import Findings
from config.schema import FILE, schema, text
from config.tree import plain
from config.yaml_source import parse
from tests.config.samples import GOOD

EXAMPLES = Path(__file__).parents[2] / "config" / "examples"
_TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}
_UNDERSTOOD = {
    "$schema",
    "$ref",
    "definitions",
    "title",
    "description",
    "default",
    "examples",
    "format",
    "writeOnly",
    "type",
    "properties",
    "patternProperties",
    "additionalProperties",
    "propertyNames",
    "required",
    "items",
    "minItems",
    "maxItems",
    "minProperties",
    "anyOf",
    "oneOf",
    "allOf",
    "const",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
}


_NAMED = ("properties", "patternProperties", "definitions")


def fits(value: Any, rule: Any) -> bool:
    if isinstance(rule, bool):
        return rule
    if "$ref" in rule:
        return fits(value, schema()["definitions"][rule["$ref"].rpartition("/")[2]])
    return _typed(value, rule) and _combined(value, rule) and _scalar(value, rule) and _members(value, rule)


def _typed(value: Any, rule: dict[str, Any]) -> bool:
    names = rule.get("type", [])
    names = [names] if isinstance(names, str) else names
    is_flag = isinstance(value, bool)
    return not names or any(isinstance(value, _TYPES[n]) and (n == "boolean" or not is_flag) for n in names)


def _combined(value: Any, rule: dict[str, Any]) -> bool:
    return (
        all(fits(value, part) for part in rule.get("allOf", []))
        and ("anyOf" not in rule or any(fits(value, part) for part in rule["anyOf"]))
        and ("oneOf" not in rule or sum(fits(value, part) for part in rule["oneOf"]) == 1)
    )


def _scalar(value: Any, rule: dict[str, Any]) -> bool:
    if ("const" in rule and value != rule["const"]) or ("enum" in rule and value not in rule["enum"]):
        return False
    if isinstance(value, str):
        return (
            len(value) >= rule.get("minLength", 0) and re.search(rule.get("pattern", ""), value) is not None
        )
    if isinstance(value, int | float):
        return bool(rule.get("minimum", value) <= value <= rule.get("maximum", value))
    return True


def _members(value: Any, rule: dict[str, Any]) -> bool:
    if isinstance(value, list) and isinstance(rule.get("items"), dict):
        return len(value) >= rule.get("minItems", 0) and all(fits(item, rule["items"]) for item in value)
    if not isinstance(value, dict):
        return True
    return set(rule.get("required", [])) <= set(value) and all(
        fits(child, _rule_of(key, rule)) for key, child in value.items()
    )


def _rule_of(key: str, rule: dict[str, Any]) -> Any:
    patterns = rule.get("patternProperties", {})
    fitting = [child for pattern, child in patterns.items() if re.search(pattern, key)]
    return rule.get("properties", {}).get(
        key, fitting[0] if fitting else rule.get("additionalProperties", True)
    )


def read(document: str) -> Any:
    node = parse(document, "f", Findings())
    assert node is not None
    return plain(node)


def rules(node: Any, *, names_are_keys: bool = False) -> Iterator[str]:
    """Every keyword in use; beneath `properties` and `definitions` the keys are names and not keywords."""
    if isinstance(node, list):
        for child in node:
            yield from rules(child)
    elif isinstance(node, dict):
        for key, child in node.items():
            if not names_are_keys:
                yield key
            if names_are_keys or key not in ("default", "examples", "const", "enum"):
                yield from rules(child, names_are_keys=not names_are_keys and key in _NAMED)


def test_committed_file_is_fresh() -> None:
    """Stale? .venv/bin/python -c 'from config import schema; schema.FILE.write_text(schema.text(), "utf-8")'"""
    assert FILE.read_text(encoding="utf-8") == text()
    assert json.loads(text()) == schema()


def test_only_words_of_draft_07() -> None:
    assert set(rules(schema())) <= _UNDERSTOOD


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda p: p.stem)
def test_examples_fit(example: Path) -> None:
    document = example.read_text(encoding="utf-8")
    assert fits(read(document), schema())
    assert document.startswith("# yaml-language-server: $schema=../schema.json\n")


def test_the_good_sample_and_references_fit() -> None:
    assert fits(read(GOOD + 'page: {port: "${env:PORT}"}\nhistory: off\n'), schema())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sinks:", "sinkz:"), ("type: opcua", "type: opcau"), ("version: 1", "version: 2"), ("security: none", "securty: none"),
        ("id: cnc-1", "lable: x\n    id: cnc-1"), ("value: P", "valu: P"), ("sinks:", "page: {port: 70000}\nsinks:"),
        ("sinks:", "buffer: {max: 2}\nsinks:"), ("id: cnc-1", "for_each: {n: x}\n    id: cnc-1"), ("- id: cnc-1\n    source", "- source"),
    ],
)  # fmt: skip
def test_mistakes_do_not_fit(old: str, new: str) -> None:
    assert old in GOOD
    assert not fits(read(GOOD.replace(old, new, 1)), schema())
