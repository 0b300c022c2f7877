"""YAML 1.2 to a tree with places, from the parser's events.

Not ruamel's loaders: from the events we can bound depth, refuse what a configuration has no use for (tags, several
documents, not-a-number) and name the line, and resolve plain words by the YAML 1.2 core schema (section 10.3.2), where
`no`, `on` and `off` are words and 010 is ten. Aliases work, bounded, so that no file of ten lines fills the memory.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)

from config.problems import Findings, Mark
from config.tree import Items, Keys, Node, Scalar

_LARGEST = 16 * 2**20
_DEEPEST = 32
_MOST_NODES = 2_000_000
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_SURROGATE = re.compile("[\ud800-\udfff]")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_STRING = "tag:yaml.org,2002:str"


class _Stop(Exception):
    """The rest of the file cannot be understood."""

    def __init__(self, mark: Mark, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.mark, self.message, self.hint = mark, message, hint


def read_text(path: Path, shown: str, findings: Findings) -> str | None:
    """The file as text (UTF-8, a BOM is skipped, line ends as they are), or None and a problem."""
    try:
        if path.stat().st_size > _LARGEST:
            findings.error(Mark(shown), "the file is larger than 16 MB", "put long signal lists in CSV files")
            return None
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        hint = "save it as UTF-8 (Excel: 'CSV UTF-8'; Notepad: encoding UTF-8)"
        findings.error(Mark(shown, line), "the file is not UTF-8 text", hint)
    except OSError as error:
        findings.error(Mark(shown), f"cannot be read: {(error.strerror or str(error)).lower()}")
    return None


def resolve(text: str) -> str | int | float | bool | None:
    """A plain (unquoted) word as its value, by the YAML 1.2 core schema; numbers out of reach stay text."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text) and len(text) <= 40:
        return int(text, 10 if text[:2] not in ("0o", "0x") else 0)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


def parse(text: str, shown: str, findings: Findings) -> Node | None:
    """The one document of a file, or None and the problems that prevent it."""
    builder = _Builder(shown, findings)
    try:
        return builder.document(YAML(typ="rt", pure=True).parse(text))
    except _Stop as stop:
        findings.error(stop.mark, stop.message, stop.hint)
    except YAMLError as error:
        _report(error, text, shown, findings)
    except (ValueError, OverflowError, AttributeError, IndexError, AssertionError):
        # The library trips over some malformed input (bad escapes, odd directives) instead of reporting it.
        findings.error(Mark(shown), "this is not YAML", "compare it with config/examples/minimal.yaml")
    return None


@dataclass(slots=True)
class _Builder:
    file: str
    findings: Findings
    anchors: dict[str, tuple[Node, int, int]] = field(default_factory=dict)  # node, how many nodes, how deep
    nodes: int = 0

    def document(self, events: Iterator[Any]) -> Node | None:
        root: Node | None = None
        for event in events:
            if isinstance(event, DocumentStartEvent) and root is not None:
                raise _Stop(self._mark(event), "a second document begins here (---)", "remove the line")
            if isinstance(event, NodeEvent):
                root = self._node(event, events, 0)
        return None if isinstance(root, Scalar) and root.value is None else root

    def _node(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        mark = self._mark(event)
        self._bound(mark, depth, 1)
        if isinstance(event, AliasEvent):
            return self._alias(event, mark, depth)
        before = self.nodes
        node = self._fresh(event, events, depth, mark)
        if event.anchor is not None:
            self.anchors[event.anchor] = (node, self.nodes - before, _depth(node))
        return node

    def _fresh(self, event: Any, events: Iterator[Any], depth: int, mark: Mark) -> Node:
        if event.tag is not None and not (isinstance(event, ScalarEvent) and str(event.tag) == _STRING):
            message = f"the YAML tag {event.tag} has no meaning here"
            raise _Stop(mark, message, "remove it; text that begins with ! needs quotes")
        if isinstance(event, ScalarEvent):
            return self._scalar(event, mark)
        if isinstance(event, SequenceStartEvent):
            return Items(tuple(self._children(events, depth + 1)), mark)
        return self._mapping(events, depth + 1, mark)

    def _children(self, events: Iterator[Any], depth: int) -> Iterator[Node]:
        for event in events:
            if isinstance(event, CollectionEndEvent):
                return
            yield self._node(event, events, depth)

    def _mapping(self, events: Iterator[Any], depth: int, mark: Mark) -> Keys:
        keys = Keys({}, {}, mark)
        for event in events:
            if isinstance(event, CollectionEndEvent):
                break
            key, place = self._key(event)
            child = self._node(next(events), events, depth)
            self._put(keys, key, place, child)
        return keys

    def _put(self, keys: Keys, key: str, place: Mark, child: Node) -> None:
        if key in keys.entries:
            first = keys.marks[key].line
            self.findings.error(
                place, f"{key} is given twice: first in line {first}", "remove one of the two"
            )
            return
        keys.entries[key] = child
        keys.marks[key] = place

    def _key(self, event: Any) -> tuple[str, Mark]:
        mark = self._mark(event)
        if not isinstance(event, ScalarEvent):
            raise _Stop(
                mark, "a key must be one word, not a list or a group", "text with { or [ needs quotes"
            )
        if event.value == "<<" and event.implicit[0]:
            raise _Stop(mark, "merge keys (<<) are not part of YAML 1.2", "repeat the keys, or use for_each")
        return _whole(str(event.value), mark), mark

    def _scalar(self, event: Any, mark: Mark) -> Scalar:
        text = _whole(str(event.value), mark)
        if not event.implicit[0]:
            return Scalar(text, mark)
        if _NOT_FINITE.fullmatch(text) or (_FLOAT.fullmatch(text) and not math.isfinite(float(text))):
            self.findings.error(mark, f"{text[:40]} is not a number that can be used", "text needs quotes")
        return Scalar(resolve(text), mark)

    def _alias(self, event: Any, mark: Mark, depth: int) -> Node:
        if event.anchor not in self.anchors:
            message = f"*{event.anchor} refers to nothing above it"
            raise _Stop(mark, message, "text that begins with * needs quotes")
        node, nodes, deep = self.anchors[event.anchor]
        self._bound(mark, depth + deep, nodes)
        return node

    def _bound(self, mark: Mark, depth: int, nodes: int) -> None:
        self.nodes += nodes
        if depth > _DEEPEST:
            raise _Stop(mark, f"nested more than {_DEEPEST} deep")
        if self.nodes > _MOST_NODES:
            raise _Stop(mark, "the file grows beyond measure through its aliases (*name)", "write it out")

    def _mark(self, event: Any) -> Mark:
        return Mark(self.file, event.start_mark.line + 1, event.start_mark.column + 1)


def _whole(text: str, mark: Mark) -> str:
    r"""Pairs of \u escapes joined into the character they mean (as JSON has them); half a pair is no character."""
    if text.isascii() or not _SURROGATE.search(text):
        return text
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise _Stop(
            mark, "half a character: \\ud800 to \\udfff come in pairs", "write the character itself"
        ) from None


def _depth(node: Node) -> int:
    """Levels beneath this one; at most _DEEPEST, by construction."""
    if isinstance(node, Scalar):
        return 0
    children = node.entries.values() if isinstance(node, Keys) else node.items
    return 1 + max((_depth(child) for child in children), default=0)


_PLAINLY = (
    ("cannot start any token", "'\\t'", "a tab cannot indent in YAML", "indent with spaces"),
    ("cannot start any token", "", "this character cannot begin a value", "put the value in quotes"),
    (
        "mapping values are not allowed",
        "",
        "a second ': ' in one line",
        "put text that contains ': ' in quotes",
    ),
    ("end of stream while scanning a quoted", "", "a quote is opened and never closed", ""),
    ("unexpected end of stream", "", "a quote is opened and never closed", ""),
    ("could not find expected ':'", "", "a key without its colon", "write key: value"),
    ("expected <block end>", "", "the indentation does not fit the lines above", "align keys of one group"),
    ("expected ',' or", "", "a comma, or the closing bracket, is missing", "text with , { or [ needs quotes"),
    ("but found '<stream end>'", "", "the file ends in the middle: a bracket is not closed", ""),
)


def _report(error: YAMLError, text: str, shown: str, findings: Findings) -> None:
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        findings.error(
            Mark(shown, line), "a character that YAML does not allow", "was it saved as plain text?"
        )
        return
    mark = Mark(shown, error.problem_mark.line + 1, error.problem_mark.column + 1)
    problem = str(error.problem)
    for part, also, message, hint in _PLAINLY:
        if part in problem and also in problem:
            findings.error(mark, message, hint)
            return
    findings.error(mark, f"this is not YAML: {problem[:120]}", "text with special characters needs quotes")
