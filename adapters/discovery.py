"""What a look at a machine brings home, in words that every adapter shares: a report, and a proposal for a configuration.

The adapters know protocols and the configuration knows YAML; neither imports the other, so what is to be written travels as
plain data. Nothing here touches the network, and nothing imports a protocol library.
"""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

_LONGEST = 120  # characters of a name that people read; the settings allow 200
_ID_LONGEST = 64
_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, and how much there is (0: nobody knows)."""


def silent(_what: str, _done: int, _most: int) -> None:
    """Progress for those who do not watch."""


class Reference(str):
    """`${env:…}` or `${file:…}`, meant as one: the only form in which a secret reaches a file."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ProposedRead:
    """A read entry: its own keys without `source` and `signals` (such as topic and payload), and its signals.

    Without signals it is one that adopts what it finds (`adopt: true` among its keys).
    """

    keys: Mapping[str, Any]
    signals: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class ProposedMachine:
    """id: fit for Machine.id. label: what the machine calls itself, if that differs."""

    id: str
    label: str
    reads: tuple[ProposedRead, ...]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What was found and is not proposed, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a configuration could say. source: the keys of the source. namespaces: URIs by the number that `ns=` means now."""

    name: str
    source: Mapping[str, Any]
    machines: tuple[ProposedMachine, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    namespaces: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        return sum(len(read.signals) or 1 for machine in self.machines for read in machine.reads)


@dataclass(slots=True)
class Branch:
    """A line of the tree for people. kind: machine, folder, signal (taken), left (not taken), fact."""

    name: str
    words: str = ""
    kind: str = "folder"
    children: list[Branch] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """What was found. facts: for people, in order. data: everything, for `--json`."""

    facts: dict[str, str]
    warnings: list[str]
    tree: list[Branch]
    proposal: Proposal
    data: dict[str, Any]


def signal_name(parts: Sequence[str]) -> str:
    """A readable name from the names on the way to a value: Spindle, ActSpeed -> spindle_act_speed."""
    words: list[str] = []
    for part in map(_snake, parts):
        if part and words and (part == words[-1] or part.startswith(f"{words[-1]}_")):
            words.pop()
        if part:
            words.append(part)
    return "_".join(words)[-_LONGEST:].strip("_") or "value"


def _snake(text: str) -> str:
    whole = unicodedata.normalize("NFC", _WORD.sub("_", text))
    kept = "".join(char.lower() if char.isalnum() else "_" for char in whole)
    return re.sub(r"_+", "_", kept).strip("_")


def machine_id(text: str) -> str:
    """An id as Machine.id wants it: ASCII letters, digits and - . _, such as dmu-50 for "DMU 50"."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    made = re.sub(r"[^A-Za-z0-9._]+", "-", plain).lower().strip("-._")[:_ID_LONGEST].strip("-._")
    return made if made and made != "collector" else f"{made or 'machine'}-1"


def unique(wanted: str, taken: Iterable[str], join: str = "_") -> str:
    """The name, or with the first free number behind it."""
    known = set(taken)
    if wanted not in known:
        return wanted
    numbers = (f"{wanted}{join}{number}" for number in range(2, len(known) + 3))
    return next(name for name in numbers if name not in known)


def names(paths: Sequence[Sequence[str]]) -> list[str]:
    """A name for each path: the last three parts where that is enough to tell them apart, else all of them, else a number."""
    short = [signal_name(path[-3:]) for path in paths]
    counted = Counter(short)
    made: dict[str, None] = {}
    for path, name in zip(paths, short, strict=True):
        made[unique(signal_name(path) if counted[name] > 1 else name, made)] = None
    return list(made)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What to look at. nodes, depth, seconds: bounds of the look. watch: s to observe changes.

    under: path whose inside alone is proposed. select: pattern over paths (* also goes across /). machine: id of the one
    machine that everything belongs to; empty: as found.
    """

    nodes: int = 20_000
    depth: int = 24
    seconds: float = 120.0
    watch: float = 5.0
    under: str = ""
    select: str = ""
    machine: str = ""

    def wants(self, path: Sequence[str]) -> bool:
        """Whether a value at this path may be proposed."""
        text, under = "/".join(path), self.under.strip("/")
        inside = not under or f"{text.lstrip('/')}/".startswith(f"{under}/")  # topics may begin with a slash
        return inside and (not self.select or fnmatch.fnmatchcase(text, self.select))


def every_text(seconds: float) -> str:
    """A duration as a configuration writes it."""
    return f"{seconds:g}s" if seconds >= 1 else f"{round(seconds * 1000)}ms"
