"""pydantic's findings as sentences with the place in the file where the key stands.

A location such as ('sources', 'plc', 'opcua', 'url') mixes keys of the file with names of union members; what the tree
does not know is a union's name and is skipped. The input is never quoted here: it may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from config.problems import Findings, Mark, did_you_mean
from config.tree import Items, Keys, Node, Scalar, items_at, text_at

_SIGNAL = re.compile(r"signal '([^']+)': ")
_EXTRA_KEYS: Mapping[str, tuple[str, ...]] = {
    "Machine": ("for_each", "source", "signals", "signals_file"),
}
Models = Mapping[tuple[str | int, ...], type[BaseModel]]
"""By place in the tree, the model of the mapping there."""


def report(error: ValidationError, root: Node, models: Models, findings: Findings) -> None:
    """Every finding of pydantic, at the line of its key."""
    for detail in error.errors(include_url=False):
        path, mark, node = _walk(root, detail["loc"])
        if isinstance(node, Scalar) and node.lost:
            continue
        message, hint = _sentence(detail, path, models)
        if detail["type"] == "value_error":
            mark = _signal_mark(node, message, mark)
        findings.error(mark, message, hint, readable(root, path))


def readable(root: Node, path: Sequence[str | int]) -> str:
    """machines[cnc-1].read[0].signals[load].every: list items by their id or name where they have one."""
    text, node = "", root
    for step in path:
        child = _child(node, step)
        if isinstance(step, int):
            text += f"[{text_at(child, 'id') or text_at(child, 'name') or step}]"
        else:
            text += f".{step}" if text else step
        node = child if child is not None else node
    return text


def _walk(root: Node, loc: Sequence[int | str]) -> tuple[list[str | int], Mark, Node]:
    """The path within the tree, where its last key is written, and the node there."""
    node, mark, path = root, root.mark, list[str | int]()
    for step in loc:
        child = _child(node, step)
        if child is None:
            continue
        mark = node.marks[step] if isinstance(node, Keys) and isinstance(step, str) else child.mark
        node = child
        path.append(step)
    return path, mark, node


def _child(node: Node, step: int | str) -> Node | None:
    if isinstance(node, Keys) and isinstance(step, str):
        return node.entries.get(step)
    if isinstance(node, Items) and isinstance(step, int) and 0 <= step < len(node.items):
        return node.items[step]
    return None


def _signal_mark(node: Node, message: str, mark: Mark) -> Mark:
    """A read entry's validator names the signal it means: the place of that signal is the better one."""
    match = _SIGNAL.search(message)
    named = (item for item in items_at(node, "signals") if match and text_at(item, "name") == match[1])
    found = next(named, None)
    return mark if found is None else found.mark


def _sentence(detail: Any, path: Sequence[str | int], models: Models) -> tuple[str, str]:
    kind, ctx = str(detail["type"]), detail.get("ctx", {})
    label = _label(path)
    if kind == "missing":
        label = label if path and isinstance(path[-1], str) else ""
        return _missing(str(detail["loc"][-1]), label)
    if kind == "extra_forbidden":
        return f"unknown key {path[-1]!r}", did_you_mean(str(path[-1]), _known(models.get(tuple(path[:-1]))))
    if kind == "union_tag_invalid":
        known = re.findall(r"'([^']+)'", str(ctx["expected_tags"]))
        return f"unknown type {ctx['tag']!r}", did_you_mean(str(ctx["tag"]), known)
    if kind == "union_tag_not_found":
        return f"{label}: type is missing", "add type: with the kind it is"
    if kind == "value_error":
        return _of_validator(detail, label)
    return _of_kind(kind, ctx, detail, label)


def _missing(key: str, label: str) -> tuple[str, str]:
    if key == "version":
        return "version is missing", "begin the file with version: 1"
    return (f"{label}: {key} is missing" if label else f"{key} is missing"), f"add {key}:"


def _of_validator(detail: Any, label: str) -> tuple[str, str]:
    message, separator, hint = str(detail["msg"]).removeprefix("Value error, ").partition(": write ")
    return f"{label}: {message}" if label else message, f"write {hint}" if separator else ""


def _of_kind(kind: str, ctx: Any, detail: Any, label: str) -> tuple[str, str]:
    given = detail.get("input")
    if given is None:
        return f"{label} is empty", "give it a value, or remove the key"
    if kind == "string_type":
        hint = "put it in quotes" if isinstance(given, bool | int | float) else ""
        return f"{label}: must be text", hint
    if kind in ("model_type", "dict_type", "mapping_type", "model_attributes_type"):
        hint = (
            "write off (without quotes) to turn it off" if given is False else "write key: value beneath it"
        )
        return f"{label}: must be a group of keys", hint
    if kind in ("list_type", "tuple_type", "sequence_type", "sequence_str"):
        return f"{label}: must be a list", "begin each entry with - , or write [a, b]"
    if kind == "literal_error":
        return _of_choice(str(ctx.get("expected", "")), given, label)
    if kind == "string_pattern_mismatch":
        return (
            f"{label}: only letters, digits and . _ - are possible, at most 64, beginning with a letter or digit",
            "",
        )
    return f"{label}: {_lowered(str(detail['msg']))}", ""


def _of_choice(expected: str, given: Any, label: str) -> tuple[str, str]:
    known = re.findall(r"'([^']*)'", expected)
    hint = did_you_mean(given, known) if isinstance(given, str) and known else ""
    return f"{label}: must be {expected.replace(chr(39), '')}", hint


def _label(path: Sequence[str | int]) -> str:
    """The last key, with the index after it: `url`, `range[1]`."""
    keys = [index for index, step in enumerate(path) if isinstance(step, str)]
    if not keys:
        return ""
    tail = path[keys[-1] :]
    return f"{tail[0]}{''.join(f'[{index}]' for index in tail[1:])}"


def _known(model: type[BaseModel] | None) -> Iterable[str]:
    return () if model is None else (*model.model_fields, *_EXTRA_KEYS.get(model.__name__, ()))


def _lowered(message: str) -> str:
    return message.replace("Input should be", "must be").rstrip(".")
