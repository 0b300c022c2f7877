"""The JSON Schema of the configuration, for editors: generated from the models, never written by hand.

Models describe the settings; the file may say a little more (for_each, the short form of a machine). pydantic emits
draft 2020-12, editors' YAML servers read draft-07 and below: what differs is rewritten to the common subset.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapters.catalogue import read_models
from config.settings import Settings

FILE = Path(__file__).with_name("schema.json")
_FOR_EACH = {
    "type": "object",
    "description": "Writes this machine several times: {n: 1..12} or {side: [left, right]}; {n} in its texts is replaced",
    "additionalProperties": {
        "anyOf": [
            {"type": "string", "pattern": r"^\s*\d{1,9}\s*\.\.\s*\d{1,9}\s*$"},
            {"type": "array", "items": {"type": ["string", "number"]}, "minItems": 1},
        ]
    },
    "minProperties": 1,
}
_REFERENCE = {"type": "string", "pattern": r"\$\{(env|file):[^}]+\}|\{[A-Za-z_][A-Za-z0-9_]*\}"}
_NUMERIC = ("integer", "number", "boolean")


def schema() -> dict[str, Any]:
    """The schema as plain dicts, within the subset that draft-07 and 2020-12 share."""
    raw = Settings.model_json_schema(ref_template="#/definitions/{model}")
    raw["definitions"] = raw.pop("$defs")
    raw["definitions"]["Machine"] = _machine(raw["definitions"])
    common: dict[str, Any] = _common(raw)
    return {"$schema": "http://json-schema.org/draft-07/schema#", **common, "title": "Shop-floor collector"}


def text() -> str:
    """As it is committed in config/schema.json and printed by `collector schema`."""
    return json.dumps(schema(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def _machine(definitions: Mapping[str, Any]) -> dict[str, Any]:
    """A machine with a list `read`, or in short form with the keys of one read entry beside its own."""
    long = definitions["Machine"]
    own = {**long["properties"], "for_each": _FOR_EACH}
    base = {key: value for key, value in own.items() if key != "read"}
    forms = [{**long, "properties": own, "required": ["id", "read"], "title": "Machine"}]
    for model in read_models():
        read = definitions[model.__name__]
        short = {**long, "properties": {**read["properties"], **base}, "title": f"Machine ({model.__name__})"}
        forms.append({**short, "required": ["id", *read.get("required", [])]})
    return {"anyOf": forms, "description": long.get("description", "")}


def _common(node: Any) -> Any:
    if isinstance(node, list):
        return [_common(child) for child in node]
    if not isinstance(node, dict):
        return node
    node = _fitting_default({key: _common(child) for key, child in node.items()})
    return _referable(_without_new_words(node))


def _without_new_words(node: dict[str, Any]) -> dict[str, Any]:
    """`prefixItems` becomes the array form of `items`; `discriminator` is OpenAPI's and unknown to JSON Schema."""
    node.pop("discriminator", None)
    if "$ref" in node and len(node) > 1:  # draft-07 ignores what stands beside a $ref
        node["allOf"] = [{"$ref": node.pop("$ref")}]
    if "patternProperties" in node:
        node.setdefault("additionalProperties", False)
    if "prefixItems" in node:
        node["items"] = node.pop("prefixItems")
    return node


def _fitting_default(node: dict[str, Any]) -> dict[str, Any]:
    """A duration is written as text but held in seconds: its default would mislead whoever completes it."""
    if node.get("type") == "string" and not isinstance(node.get("default", ""), str):
        return {key: value for key, value in node.items() if key != "default"}
    return node


def _referable(node: dict[str, Any]) -> dict[str, Any]:
    """Numbers, choices and patterned texts may also be written as ${env:NAME}, or {n} of a for_each."""
    simple = node.get("type") in _NUMERIC or (node.get("type") == "string" and _constrained(node))
    if not simple or "const" in node:
        return node
    about: dict[str, Any] = {key: node.pop(key) for key in ("description", "title", "default") if key in node}
    return {**about, "anyOf": [node, _REFERENCE]}


def _constrained(node: Mapping[str, Any]) -> bool:
    return ("pattern" in node and node["pattern"] != _REFERENCE["pattern"]) or "enum" in node
