"""What every payload decoder gives back, whatever it reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipelines import quality as q
from pipelines.batch import Kind

MOST = 10_000  # values of one message: ten thousand signals in it are a mistake, a hundred thousand would hold the event loop
REASONS = 20  # different reasons of one message: each is a record with the bytes
TOO_MUCH = (
    f"more than {MOST} values in one message: have the sender divide it, or list the signals that are wanted"
)


class Series(NamedTuple):
    """A key with what the wire says of the signal itself: its unit, and tags by which it is one of several."""

    key: int | str
    unit: str = ""
    tags: tuple[tuple[str, str], ...] = ()


class Row(NamedTuple):
    """One value. key: the configured signal's number, or the name that the wire gives. at: None where the wire has no time.

    kind: of the value as it came; None says that there is no value (null, UNAVAILABLE).
    """

    key: int | str | Series
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


class Out:
    """What a decoder has found so far. seen: counted by who meets the values, not from what became of them."""

    __slots__ = ("_refused", "rows", "seen")

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.seen = 0
        self._refused: dict[str, int] = {}

    def refuse(self, reason: str, values: int = 1) -> None:
        """Notes values that were seen and cannot be read; few reasons, however many a stranger thinks of."""
        if reason not in self._refused and len(self._refused) >= REASONS:
            reason = f"more than {REASONS} different reasons: the others are not listed"
        self._refused[reason] = self._refused.get(reason, 0) + values

    def decoded(self) -> Decoded:
        if self.seen > MOST:
            return refusal(TOO_MUCH)
        return Decoded(self.seen, self.rows, tuple(Refused(*item) for item in self._refused.items()))


Decode = Callable[[bytes], Decoded]


def refusal(reason: str) -> Decoded:
    """A whole message that cannot be read stands for one value."""
    return Decoded(1, (), (Refused(reason),))
