"""One machine entry written for many: `for_each: {n: 1..12}` and `{n}` in its texts.

Only whole names of its own variables are replaced: `{1}` of a browse path and `{signal}` of a topic pass untouched.
Keys are never changed, and nothing is computed: who needs more than a list writes the list.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod

from config.problems import Findings, Mark
from config.tree import Items, Keys, Node, Scalar, map_scalars, mark_at

MOST = 1000
_RANGE = re.compile(r"\s*(\d{1,9})\s*\.\.\s*(\d{1,9})\s*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EXAMPLE = "write for_each: {n: 1..12} or for_each: {name: [left, right]}"

Values = Mapping[str, str]


def expanded(machine: Node, findings: Findings) -> Iterator[tuple[Node, Values]]:
    """The machines that an entry stands for, each with the values of its variables; itself without `for_each`."""
    if not isinstance(machine, Keys) or "for_each" not in machine.entries:
        yield machine, {}
        return
    mark = mark_at(machine, "for_each")
    choices = _choices(machine.entries["for_each"], mark, findings)
    body = machine.without("for_each")
    if choices is None or _too_many(choices, mark, findings):
        return
    for combination in itertools.product(*choices.values()):
        values = dict(zip(choices, combination, strict=True))
        yield substituted(body, values), values


def substituted(node: Node, values: Values) -> Node:
    """The tree with `{name}` replaced in every text, for the names given."""
    if not values:
        return node
    pattern = re.compile("|".join(re.escape(f"{{{name}}}") for name in values))

    def change(scalar: Scalar) -> Scalar:
        if not isinstance(scalar.value, str) or "{" not in scalar.value:
            return scalar
        return replace(scalar, value=pattern.sub(lambda match: values[match[0][1:-1]], scalar.value))

    return map_scalars(node, change)


def _choices(node: Node, mark: Mark, findings: Findings) -> dict[str, list[str]] | None:
    if not isinstance(node, Keys) or not node.entries:
        findings.error(mark, "for_each needs variables and their values", _EXAMPLE)
        return None
    found = {name: _values(name, child, node.marks[name], findings) for name, child in node.entries.items()}
    complete = {name: values for name, values in found.items() if values}
    return complete if len(complete) == len(found) else None


def _values(name: str, node: Node, mark: Mark, findings: Findings) -> list[str]:
    if not _VARIABLE.fullmatch(name):
        findings.error(mark, f"for_each: {name!r} cannot be a variable", "a name has letters, digits and _")
        return []
    values = _listed(node) if isinstance(node, Items) else _counted(node)
    if not values:
        findings.error(mark, f"for_each: {name} needs a range or a list of plain values", _EXAMPLE)
    return values


def _listed(node: Items) -> list[str]:
    words = [
        str(c.value) for c in node.items if isinstance(c, Scalar) and isinstance(c.value, str | int | float)
    ]
    return words if len(words) == len(node.items) else []


def _counted(node: Node) -> list[str]:
    match = _RANGE.fullmatch(node.value) if isinstance(node, Scalar) and isinstance(node.value, str) else None
    if match is None:
        return []
    first, last = int(match[1]), int(match[2])
    width = len(match[1]) if match[1].startswith("0") and len(match[1]) > 1 else 0
    return [str(n).zfill(width) for n in range(first, min(last, first + MOST) + 1)]


def _too_many(choices: Mapping[str, list[str]], mark: Mark, findings: Findings) -> bool:
    if prod(len(values) for values in choices.values()) <= MOST:
        return False
    findings.error(mark, f"for_each makes more than {MOST} machines", "split the file, or check the range")
    return True
