"""Additions to a YAML text that leave every byte of it where it is: comments, order, quotes and blank lines included.

Not ruamel's round trip: it writes the whole file anew (indentation, folded lines) and hangs a comment to what stood before
it, so that a comment above `sinks:` ends up in the middle of the machines. Here the parser only tells the places, and text
is inserted at them: in block style below what is there, in flow style before the closing bracket.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from adapters.discovery import Reference
from config.yaml_source import resolve

_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]*")


class Unwritable(Exception):
    """The file cannot be extended; the message says why, and nothing was written."""


class Group(dict[str, Any]):
    """A group that is written in lines although it would fit into one."""


def scalar(value: Any) -> str:
    """A value as YAML 1.2: plain where that is unmistakable, else in double quotes as JSON (which YAML contains)."""
    if not isinstance(value, str):
        return json.dumps(value)
    text = str(value)
    if not isinstance(value, Reference):
        text = text.replace("${", "$${")  # words of a stranger never look anything up
    if _PLAIN.fullmatch(text) and resolve(text) == text:
        return text
    return "".join(map(_escaped, json.dumps(text, ensure_ascii=False)))


def _escaped(char: str) -> str:
    """Not as json has it, in two halves: what lies beyond 16 bits is one character in YAML."""
    return char if char.isprintable() else f"\\U{ord(char):08x}"


def flow(value: Any) -> str:
    """Data in one line: {name: load, every: 250ms}."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {flow(cell)}" for key, cell in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value)


def block(value: Any) -> list[str]:
    """Data in lines: groups of mere words stay in one line, everything else gets lines of its own."""
    if isinstance(value, Mapping) and (isinstance(value, Group) or not _short(value)):
        return [line for key, cell in value.items() for line in _pair(key, cell)]
    if isinstance(value, list | tuple) and value:
        return [line for cell in value for line in _dashed(cell)]
    return [flow(value)]


def _short(value: Mapping[str, Any]) -> bool:
    return not any(isinstance(cell, Mapping | list | tuple) for cell in value.values())


def _pair(key: str, value: Any) -> Iterator[str]:
    lines = block(value)
    if lines == [flow(value)]:
        yield f"{scalar(key)}: {lines[0]}"
        return
    yield f"{scalar(key)}:"
    yield from (f"  {line}" for line in lines)


def _dashed(value: Any) -> Iterator[str]:
    first, *rest = block(value)
    yield f"- {first}"
    yield from (f"  {line}" for line in rest)


@dataclass(slots=True)
class Page:
    """A YAML text and what is to be inserted into it. `root` is its top-level mapping."""

    text: str
    root: MappingNode = field(init=False)
    _edits: list[tuple[int, int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.root = _root(self.text)

    @property
    def changed(self) -> bool:
        return bool(self._edits)

    def add_key(self, mapping: Any, key: str, value: Any) -> None:
        """A key that is not there yet. Raises Unwritable for a place that is no group of keys."""
        if not isinstance(mapping, MappingNode):
            raise Unwritable(
                f"line {mapping.start_mark.line + 1}: this is no group of keys: write it as one, then it can be extended"
            )
        _unnamed(mapping)
        if mapping.flow_style:
            self._before_bracket(mapping, f"{scalar(key)}: {flow(value)}")
        else:
            self._below(mapping, list(_pair(key, value)), _column(mapping))

    def add_item(self, sequence: Any, value: Any) -> None:
        if not isinstance(sequence, SequenceNode):
            raise Unwritable(
                f"line {sequence.start_mark.line + 1}: this is no list: write it with a dash per entry, then it can be extended"
            )
        _unnamed(sequence)
        if sequence.flow_style:
            self._before_bracket(sequence, flow(value))
        else:
            self._below(sequence, list(_dashed(value)), sequence.start_mark.column)

    def fill(self, parent: Any, empty: Any, value: Any) -> None:
        """What an empty key (`machines:` and nothing behind it) should hold."""
        if parent.flow_style:
            raise Unwritable(
                f"line {empty.start_mark.line + 1}: a key within brackets that holds nothing: remove it"
            )
        if empty.value:
            raise Unwritable(
                f"line {empty.start_mark.line + 1}: {empty.value} stands where a list or group belongs: remove it"
            )
        self._insert(self._line_end(empty), block(value), _column(parent) + 2)

    def _below(self, node: Any, lines: Sequence[str], column: int) -> None:
        self._insert(self._line_end(node), lines, column)

    def _insert(self, at: int, lines: Sequence[str], column: int) -> None:
        end = "\r\n" if "\r\n" in self.text else "\n"
        begun = at == 0 or self.text[at - 1] == "\n" or any(edit[0] == at for edit in self._edits)
        lead = "" if begun else end
        body = "".join(f"{' ' * column}{line}{end}" for line in lines)
        self._edits.append((at, len(self._edits), lead + body))

    def _before_bracket(self, node: Any, words: str) -> None:
        start = node.start_mark.index + 1
        inside = self.text[start : node.end_mark.index - 1].rstrip()
        if node.value and "#" in inside.rpartition("\n")[2]:
            raise Unwritable(
                f"line {node.end_mark.line + 1}: a # stands in the last line before the closing bracket: "
                "move the comment above it, or write the list with a dash per line"
            )
        at = start + len(inside) if node.value else start
        mine = [edit for edit in self._edits if edit[0] == at]
        comma = ", " if mine or (node.value and not inside.endswith(",")) else ""
        self._edits.append((at, len(self._edits), comma + words))

    def _line_end(self, node: Any) -> int:
        """Where the line after the last one of this node begins."""
        end = len(self.text[: _end(node)].rstrip())
        line = self.text.find("\n", end)
        return len(self.text) if line < 0 else line + 1

    def result(self) -> str:
        """The text with everything that was added."""
        made, last = [], 0
        for at, _, words in sorted(self._edits):
            made += [self.text[last:at], words]
            last = at
        return "".join([*made, self.text[last:]])


def _unnamed(node: Any) -> None:
    """Raises Unwritable for what other places may refer to: an addition would count there, too."""
    if node.anchor:
        raise Unwritable(
            f"line {node.start_mark.line + 1}: &{node.anchor} stands for this in other places, too, and would be extended "
            "in all of them: write it out, then it can be extended"
        )


def _root(text: str) -> MappingNode:
    try:
        root = YAML(typ="rt", pure=True).compose(text)
    except (YAMLError, ValueError) as error:
        raise Unwritable(f"it is not YAML that can be extended ({str(error).splitlines()[0]})") from error
    if not isinstance(root, MappingNode):
        raise Unwritable("it is not a group of keys, as a configuration is")
    return root


def _column(mapping: Any) -> int:
    return int(mapping.value[0][0].start_mark.column if mapping.value else mapping.start_mark.column)


def _end(node: Any) -> int:
    """Behind the last word of a node: a block's own end mark lies behind the comments that follow it."""
    if isinstance(node, ScalarNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return max(_end(part) for part in (last if isinstance(last, tuple) else (last,)))


def child(mapping: Any, key: str) -> Any:
    """The node of a key, or None."""
    pairs = mapping.value if isinstance(mapping, MappingNode) else ()
    return next((value for name, value in pairs if name.value == key), None)


def children(sequence: Any) -> Sequence[Any]:
    return list(sequence.value) if isinstance(sequence, SequenceNode) else []


def word(mapping: Any, key: str) -> str:
    """The text of a key; empty if there is none."""
    found = child(mapping, key)
    return str(found.value) if isinstance(found, ScalarNode) else ""


def is_empty(node: Any) -> bool:
    """A key with nothing behind it."""
    return isinstance(node, ScalarNode) and node.value in ("", "~", "null") and node.style is None
