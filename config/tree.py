"""The configuration as a tree of plain nodes that know their place in the file.

ruamel's own round-trip objects know their places too, but lose them as soon as a value is copied into another; here a
value that was merged from another file, expanded from `${env:…}` or read from a CSV cell still says where it was written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from config.problems import Mark


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value. `expanded`: it (partly) came from `${…}`, so it stands nowhere in a file. `lost`: what a `${…}` names was
    not found, and that was said. Never shown by repr.
    """

    value: str | int | float | bool | None = field(repr=False)
    mark: Mark
    expanded: bool = False
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Items:
    items: tuple[Node, ...]
    mark: Mark


@dataclass(frozen=True, slots=True)
class Keys:
    """A mapping: by key its value, and by key the place of the key itself."""

    entries: dict[str, Node]
    marks: dict[str, Mark]
    mark: Mark

    def without(self, *keys: str) -> Keys:
        return Keys({k: v for k, v in self.entries.items() if k not in keys}, self.marks, self.mark)

    def having(self, key: str, node: Node, mark: Mark) -> Keys:
        return Keys({**self.entries, key: node}, {**self.marks, key: mark}, self.mark)


Node = Scalar | Items | Keys


def plain(node: Node) -> Any:
    """The node as dicts, lists and values, for validation."""
    if isinstance(node, Keys):
        return {key: plain(child) for key, child in node.entries.items()}
    return [plain(child) for child in node.items] if isinstance(node, Items) else node.value


def text_at(node: Node | None, key: str) -> str | None:
    """The text under a key, if the node is a mapping that has one there."""
    child = node.entries.get(key) if isinstance(node, Keys) else None
    return child.value if isinstance(child, Scalar) and isinstance(child.value, str) else None


def items_at(node: Node | None, key: str) -> tuple[Node, ...]:
    child = node.entries.get(key) if isinstance(node, Keys) else None
    return child.items if isinstance(child, Items) else ()


def keys_at(node: Node | None, key: str) -> Keys | None:
    child = node.entries.get(key) if isinstance(node, Keys) else None
    return child if isinstance(child, Keys) else None


def mark_at(node: Node, key: str) -> Mark:
    """Where a key is written, else where the mapping begins that lacks it."""
    return node.marks.get(key, node.mark) if isinstance(node, Keys) else node.mark


def map_scalars(node: Node, change: Callable[[Scalar], Scalar]) -> Node:
    """The same tree with every scalar value (never a key) replaced."""
    if isinstance(node, Keys):
        return Keys({k: map_scalars(v, change) for k, v in node.entries.items()}, node.marks, node.mark)
    if isinstance(node, Items):
        return Items(tuple(map_scalars(child, change) for child in node.items), node.mark)
    return change(node)


def scalars(node: Node) -> Iterator[Scalar]:
    if isinstance(node, Scalar):
        yield node
        return
    for child in node.entries.values() if isinstance(node, Keys) else node.items:
        yield from scalars(child)
