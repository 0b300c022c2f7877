"""Values without a time of their own: only their order can be compared.

A plain comparison place by place would call everything behind the first lost value altered. So at a difference the shortest
detour is looked for after which both sequences agree again for a few values; a general shortest-difference algorithm would
need memory by the square of what differs.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple

REACH: Final = 48  # values left out or added at one place that are still recognised as such
RUN: Final = 4  # values that must agree again behind a detour
PATIENCE: Final = 2_000  # places without a way back, after which only place by place is compared


class Step(NamedTuple):
    """A difference: places in the sent and in the stored sequence (of the next value where it has none of its own)."""

    sort: Literal["missing", "spurious", "altered"]
    sent: int
    stored: int


def align(sent: Sequence[Any], stored: Sequence[Any]) -> Iterator[Step]:
    """The differences of two sequences, in order."""
    i = j = lost = 0
    while i < len(sent) and j < len(stored):
        if sent[i] == stored[j]:
            i, j = i + 1, j + 1
            continue
        skip, more = _detour(sent, stored, i, j) if lost < PATIENCE else (1, 1)
        lost += (skip, more) == (1, 1)
        yield from _steps(i, j, skip, more)
        i, j = i + skip, j + more
    yield from (Step("missing", place, j) for place in range(i, len(sent)))
    yield from (Step("spurious", i, place) for place in range(j, len(stored)))


def _steps(i: int, j: int, skip: int, more: int) -> Iterator[Step]:
    both = min(skip, more)
    yield from (Step("altered", i + place, j + place) for place in range(both))
    yield from (Step("missing", i + place, j + both) for place in range(both, skip))
    yield from (Step("spurious", i + both, j + place) for place in range(both, more))


def _detour(sent: Sequence[Any], stored: Sequence[Any], i: int, j: int) -> tuple[int, int]:
    """How many values of each side to pass until they agree again; one of each where there is no way back."""
    for distance in range(1, REACH + 1):
        for skip in range(distance + 1):
            if _agree(sent, stored, i + skip, j + distance - skip):
                return skip, distance - skip
    return 1, 1


def _agree(sent: Sequence[Any], stored: Sequence[Any], i: int, j: int) -> bool:
    """The next few values are the same, and neither side ends while the other goes on for less than that."""
    if i > len(sent) or j > len(stored):
        return False
    ahead, there = sent[i : i + RUN], stored[j : j + RUN]
    return ahead == there and (bool(ahead) or (i == len(sent) and j == len(stored)))
