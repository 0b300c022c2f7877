"""What signals are called, for the page: made again only when a word has changed or a signal has come.

Many servers say little: five axes have a "Position" each, and a spindle a "Speed". Such a display name would be less than
the signal's own name, so it does not take its place; what somebody wrote into the configuration always does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from adapters.labels import Label, Labels
from collector.page.words import clip
from collector.signals import NO_WORDS, words_of

Json = dict[str, Any]
Signal = tuple[str, str]


class Words:
    """Of the signals that are shown. One object for as long as nothing has changed."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._made: tuple[int, Sequence[int]] = (-1, ())
        self._words: Json = {}

    def of(self, signals: Sequence[Signal], slots: Sequence[int]) -> Json:
        """By slot (as text: keys of JSON are), of those that have any."""
        made = (self._labels.version, slots)
        if made != self._made:
            self._made, self._words = made, self._make([(slot, *signals[slot]) for slot in slots])
        return self._words

    def _make(self, shown: Sequence[tuple[int, str, str]]) -> Json:
        said = [(slot, machine, name, self._labels.of(machine, name)) for slot, machine, name in shown]
        shared = Counter((machine, label.label) for _, machine, _, label in said)
        fit = ((slot, _fit(label, name, shared[machine, label.label])) for slot, machine, name, label in said)
        words = ((slot, words_of(label)) for slot, label in fit)
        return {str(slot): _bounded(one) for slot, one in words if one != NO_WORDS}


def _fit(label: Label, name: str, bearers: int) -> Label:
    """As it can stand for the signal's name."""
    if label.chosen or not label.label:
        return label
    if bearers > 1:
        both = f"{label.label}: {label.description}" if label.description else label.label
        return replace(label, label="", description=both)
    said, own = _folded(label.label), _folded(name)
    return replace(label, label="") if said != own and said in own else label


def _folded(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def _bounded(words: Json) -> Json:
    """The configuration's words are as long as somebody wrote them."""
    return words | {"label": clip(words["label"]), "description": clip(words["description"])}
