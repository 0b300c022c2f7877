"""What is wrong with a configuration, said so that a machinist can mend it: where, what, and what to do.

Problems are collected, never raised: a user who has made five mistakes should hear of five, not of the first one five times.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Level = Literal["error", "warning"]
_SHORTEST_SCRUBBED = 4


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file. line and column count from 1; `name` is the column's header where the file is a CSV table."""

    file: str
    line: int = 1
    column: int = 1
    name: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.name or self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. `path` is where in the configuration (machines[cnc-1].read[0]), `hint` what to do about it."""

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""
    level: Level = "error"
    column_name: str = ""

    @property
    def where(self) -> str:
        """file:line:column, as editors and terminals make it clickable; a CSV table's column goes by its name."""
        return str(Mark(self.file, self.line, self.column, self.column_name))


class Findings:
    """Collects problems while a configuration is read; the same words about the same place are kept once."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int, int, str], Problem] = {}

    def error(self, mark: Mark, message: str, hint: str = "", path: str = "") -> None:
        self._add(mark, message, hint, path, "error")

    def warning(self, mark: Mark, message: str, hint: str = "", path: str = "") -> None:
        self._add(mark, message, hint, path, "warning")

    def _add(self, mark: Mark, message: str, hint: str, path: str, level: Level) -> None:
        problem = Problem(mark.file, mark.line, mark.column, path, message, hint, level, mark.name)
        self._found.setdefault((mark.file, mark.line, mark.column, message), problem)

    def __len__(self) -> int:
        return len(self._found)

    @property
    def failed(self) -> bool:
        return any(p.level == "error" for p in self._found.values())

    def sorted(self, secrets: Iterable[str] = ()) -> tuple[Problem, ...]:
        """By file, line and column; texts that came out of the environment or a secret file are blotted out."""
        longest_first = sorted(
            (s for s in set(secrets) if len(s) >= _SHORTEST_SCRUBBED), key=len, reverse=True
        )
        clean = [_scrubbed(p, longest_first) for p in self._found.values()]
        return tuple(sorted(clean, key=lambda p: (p.file, p.line, p.column, p.level, p.message)))


def _scrubbed(problem: Problem, secrets: Sequence[str]) -> Problem:
    message, hint, path = problem.message, problem.hint, problem.path
    for secret in secrets:
        message, hint, path = (text.replace(secret, "***") for text in (message, hint, path))
    return replace(problem, message=message, hint=hint, path=path)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest known words as a question, or all of them when none is near and they are few."""
    candidates = sorted(known)
    near = difflib.get_close_matches(word.lower(), [c.lower() for c in candidates], n=2, cutoff=0.6)
    meant = [c for c in candidates if c.lower() in near]
    if meant:
        return f"did you mean {' or '.join(meant)}?"
    return f"known here: {', '.join(candidates)}" if 0 < len(candidates) <= 30 else ""


def render(problems: Sequence[Problem]) -> str:
    """All problems for the terminal, one per line with its hint indented beneath, and a summary as the last line."""
    lines: list[str] = []
    for problem in problems:
        lines.append(f"{problem.where}: {problem.level}: {printable(problem.message)}")
        lines.extend([f"    {printable(problem.hint)}"] if problem.hint else [])
    return "\n".join([*lines, _summary(problems)])


def _summary(problems: Sequence[Problem]) -> str:
    errors = sum(p.level == "error" for p in problems)
    warnings = len(problems) - errors
    counts = [_counted(errors, "error")] * (errors > 0) + [_counted(warnings, "warning")] * (warnings > 0)
    return " and ".join(counts) if counts else "no problems found"


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def printable(text: str) -> str:
    """Text from a file for the terminal: control characters are shown, not obeyed."""
    return "".join(c if c.isprintable() or c == " " else f"\\x{ord(c):02x}" for c in text)
