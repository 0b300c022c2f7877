"""Browse paths, patterns of them, and the names of what they find: only words, no network, so that a check offline knows them.

A path is browse names with `/` between them. A name may say its namespace (`nsu=<uri>;Name`, `nsu=<uri>:Name`, `2:Name`; the forms
of OPC 10000-6, 5.1.12, and 10000-4, A.2); without, any namespace fits. `*` stands for any part of one name, `**` for any
number of levels. `&` before `/`, `*`, `:` or `&` takes their meaning away (OPC 10000-4, A.2).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

MOST_IDS: Final = 1000
LONGEST_NAME: Final = 200
_HOLE: Final = re.compile(r"\{(\d{1,2})\}")
_RANGE: Final = re.compile(r"\{\s*(\d{1,9})\s*\.\.\s*(\d{1,9})\s*\}")
_WITH_URI: Final = re.compile(r"nsu=(?:([^;]+);|([a-z][a-z0-9+.-]*://[^:;]*):|((?:[^/;&]|&.)+):)")
_WITH_INDEX: Final = re.compile(r"(\d{1,5}):")
_RESERVED: Final = "/*:&"


@dataclass(frozen=True, slots=True)
class Step:
    """One element. name: literal, or None where `matches` decides; deep: any number of levels. uri, index: its namespace, if said."""

    written: str
    name: str | None
    uri: str | None = None
    index: int | None = None
    deep: bool = False
    pattern: re.Pattern[str] | None = None

    @property
    def spaced(self) -> bool:
        return self.uri is not None or self.index is not None

    def captured(self, name: str) -> tuple[str, ...] | None:
        """What the wildcards stand for in this name; None when it does not match."""
        if self.pattern is None:
            return () if name == self.name else None
        match = self.pattern.fullmatch(name)
        return None if match is None else match.groups()


@dataclass(frozen=True, slots=True)
class BrowsePath:
    """Steps from a root. `wildcards` are counted from the left, `**` as one."""

    steps: tuple[Step, ...]

    @property
    def wildcards(self) -> int:
        return sum(1 if step.deep else step.pattern.groups if step.pattern else 0 for step in self.steps)

    @property
    def translatable(self) -> bool:
        """Whether TranslateBrowsePathsToNodeIds can take it: it needs every namespace, and no pattern."""
        return all(step.name is not None and step.spaced for step in self.steps)


def parse_path(text: str) -> BrowsePath:
    """Raises ValueError with what is wrong."""
    steps = tuple(_steps(text.strip().removeprefix("/")))
    if not steps:
        raise ValueError(
            "a path is browse names with / between them, such as Machines/CNC1/Monitoring/SpindleLoad"
        )
    if sum(step.deep for step in steps) > 1:
        raise ValueError(f"{text!r}: one ** is enough")
    return BrowsePath(steps)


def _steps(rest: str) -> Iterator[Step]:
    while rest:
        said, uri, index = rest, None, None
        if (spaced := _WITH_URI.match(rest)) is not None:
            uri = next(group for group in spaced.groups() if group is not None)
        elif (spaced := _WITH_INDEX.match(rest)) is not None:
            index = int(spaced[1])
        rest = rest[spaced.end() :] if spaced else rest
        tokens, rest = _element(rest)
        if not tokens:
            raise ValueError(f"{said!r}: a name is missing (two / in a row, or a / at the end)")
        yield _step("".join(text for text, _ in tokens), tokens, uri, index)


def _element(text: str) -> tuple[list[tuple[str, bool]], str]:
    """The characters up to the next `/`, each with whether it is a wildcard; and what follows."""
    tokens: list[tuple[str, bool]] = []
    at = 0
    while at < len(text) and text[at] != "/":
        if text[at] == "&" and at + 1 < len(text) and text[at + 1] in _RESERVED:
            at += 1
            tokens.append((text[at], False))
        else:
            tokens.append((text[at], text[at] == "*"))
        at += 1
    if at == len(text) - 1:
        raise ValueError(f"{text!r}: a name is missing behind the last /")
    return tokens, text[at + 1 :]


def _step(written: str, tokens: Sequence[tuple[str, bool]], uri: str | None, index: int | None) -> Step:
    if not any(wild for _, wild in tokens):
        return Step(written, written, uri, index)
    if tokens == [("*", True), ("*", True)]:
        if uri is not None or index is not None:
            raise ValueError("** stands for levels and has no namespace")
        return Step(written, None, deep=True)
    body = "".join("(.*)" if wild else re.escape(text) for text, wild in tokens)
    if "(.*)(.*)" in body:
        raise ValueError(f"{written!r}: ** stands alone between two /")
    return Step(written, None, uri, index, pattern=re.compile(body, re.DOTALL))


def escaped(name: str) -> str:
    """A browse name as an element of a path."""
    return re.sub(r"([/*:&])", r"&\1", name)


def holes(text: str) -> set[int]:
    """The numbers of the `{1}` in a name."""
    return {int(number) for number in _HOLE.findall(text)}


def named(rule: str, captured: Sequence[str]) -> str:
    """The name by the rule: {1} is what the first wildcard stands for."""
    return _HOLE.sub(lambda match: captured[int(match[1]) - 1], rule)


def unusable(name: str) -> str:
    """What is wrong with a name that was made, empty if nothing is."""
    if not name.strip():
        return "the name is empty"
    if len(name) > LONGEST_NAME:
        return f"the name has {len(name)} characters, and {LONGEST_NAME} are allowed"
    return "" if name.isprintable() else "the name has control characters"


def check_rule(rule: str, wildcards: int, what: str) -> None:
    """Raises ValueError when a rule cannot name what is found."""
    used = holes(rule)
    if wildcards and not used:
        raise ValueError(
            f"{what} stands for many signals and {rule!r} is one name: write {{1}} into it, which is what the first wildcard stands for"
        )
    if used and (0 in used or max(used) > wildcards):
        raise ValueError(f"name {rule!r}: {what} has {wildcards or 'no'} wildcards, counted from {{1}}")


def id_ranges(node: str) -> int:
    """How many ranges such as {1..5} a NodeId has."""
    return len(_RANGE.findall(node))


def expanded(node: str) -> list[tuple[str, tuple[str, ...]]]:
    """Every NodeId that one with ranges stands for, with the numbers in it. Raises ValueError when there are too many."""
    ranges = [_numbers(*match) for match in _RANGE.findall(node)]
    if prod(len(numbers) for numbers in ranges) > MOST_IDS:
        raise ValueError(f"{node!r} stands for more than {MOST_IDS} nodes: split it, or check the range")
    parts = _RANGE.split(node)[::3]
    made = []
    for numbers in itertools.product(*ranges):
        text = "".join(part + number for part, number in itertools.zip_longest(parts, numbers, fillvalue=""))
        made.append((text, tuple(numbers)))
    return made


def _numbers(first: str, last: str) -> list[str]:
    """As `for_each` has them: both ends included, zeros in front kept."""
    if int(last) < int(first):
        raise ValueError(f"{{{first}..{last}}}: the range is empty")
    width = len(first) if first.startswith("0") and len(first) > 1 else 0
    return [str(n).zfill(width) for n in range(int(first), min(int(last), int(first) + MOST_IDS) + 1)]


def treated_names(rule: str) -> str:
    """A regular expression of the names that a rule makes, and of the elements of what it names."""
    parts = [re.escape(part) for part in _HOLE.split(rule)[::2]]
    return ".+".join(parts) + r"(\[[0-9,]+\])?"
