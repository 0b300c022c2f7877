"""What every payload decoder gives back, whatever it reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipelines import quality as q
from pipelines.batch import Kind


class Row(NamedTuple):
    """One value. key: the configured signal's number, or the name that the wire gives. at: None where the wire has no time.

    kind: of the value as it came; None says that there is no value (null, UNAVAILABLE).
    """

    key: int | str
    kind: Kind | None
    value: Any
    at: int | None = None
    quality: int = q.GOOD


class Refused(NamedTuple):
    """Values that could not be read, and why."""

    reason: str
    values: int = 1


@dataclass(frozen=True, slots=True)
class Decoded:
    """seen: how many values the decoder met, counted where it met them; seen = rows + refused values, always."""

    seen: int
    rows: Sequence[Row] = ()
    refused: Sequence[Refused] = ()


Decode = Callable[[bytes], Decoded]


def refusal(reason: str) -> Decoded:
    """A whole message that cannot be read stands for one value."""
    return Decoded(1, (), (Refused(reason),))
