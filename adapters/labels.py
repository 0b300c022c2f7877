"""What machines and the configuration call signals, for people's eyes: display name, description, range.

Not in the registry, where units are: a unit belongs to a value for ever, and these words do not. They may change with the
language of the server's next start, so they are never a tag, never part of an identity, and nothing is stored of them; a
range from a machine is for the eye, and no value is judged by it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

LONGEST_LABEL: Final = 200
LONGEST_DESCRIPTION: Final = 300
MOST_SIGNALS: Final = 100_000
MOST_CHARACTERS: Final = 4_000_000
"""Of all labels and descriptions together: who says more is not listened to any further."""

Range = tuple[float | None, float | None]
Key = tuple[str, str]
NO_RANGE: Final[Range] = (None, None)
_PART: Final = re.compile(r"[.\[]")


@dataclass(frozen=True, slots=True)
class Label:
    """range: lowest and highest value, None where it is open. parts: fields or elements of it have no label of their own.

    chosen: somebody wrote the label; otherwise a machine says it, and may say the same of several signals.
    """

    label: str = ""
    description: str = ""
    range: Range = NO_RANGE
    parts: bool = False
    chosen: bool = False

    @property
    def size(self) -> int:
        return len(self.label) + len(self.description)


NOTHING: Final = Label()


@dataclass(slots=True)
class Labels:
    """By machine and signal. configured: wins, word by word. version: changes when anything here does."""

    configured: Mapping[Key, Label] = field(default_factory=dict)
    version: int = 0
    _told: dict[Key, Label] = field(default_factory=dict)
    _size: int = 0

    def configure(self, configured: Mapping[Key, Label]) -> None:
        """Another configuration. What machines have told stays."""
        if configured != self.configured:
            self.configured = configured
            self.version += 1

    def tell(self, machine: str, signal: str, said: Label) -> None:
        """What the machine calls it, from now on; cut to what people read, and without control characters."""
        key = machine, signal
        before = self._told.get(key, NOTHING)
        now = replace(said, label=words(said.label, LONGEST_LABEL), description=words(said.description))
        grown = self._size + now.size - before.size
        full = key not in self._told and len(self._told) >= MOST_SIGNALS
        if now == self._told.get(key) or full or (now.size > before.size and grown > MOST_CHARACTERS):
            return
        self._told[key], self._size = now, grown
        self.version += 1

    def of(self, machine: str, signal: str) -> Label:
        """What is known of this signal; of a field or an element, what is known of the whole."""
        own, told = self.configured.get((machine, signal), NOTHING), self._heard(machine, signal)
        return Label(
            own.label or told.label,
            told.description,
            told.range if own.range == NO_RANGE else own.range,
            chosen=bool(own.label) or told.chosen,
        )

    def _heard(self, machine: str, signal: str) -> Label:
        told = self._told.get((machine, signal))
        if told is not None:
            return told
        for place in reversed([match.start() for match in _PART.finditer(signal)]):
            whole = self._told.get((machine, signal[:place]))
            if whole is not None and whole.parts:
                return _part(self.of(machine, signal[:place]), signal[place:])
        return NOTHING


def _part(whole: Label, rest: str) -> Label:
    """A range is about the whole's numbers: an element is one of them, and a field may be anything."""
    element = rest.startswith("[")
    below = rest.removeprefix(".").replace(".", " · ")
    label = f"{whole.label}{' ' if element else ' · '}{below}" if whole.label else ""
    return replace(whole, label=label, range=whole.range if element and "." not in rest else NO_RANGE)


def words(text: str, longest: int = LONGEST_DESCRIPTION) -> str:
    """On one line, without what cannot be seen; a cut is visible."""
    seen = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * longest]).split())
    return seen if len(seen) <= longest else seen[: longest - 1].rstrip() + "…"
