"""Which notifications came, which are missing, and which may be acknowledged: book-keeping without any I/O.

Sequence numbers count the notifications of a subscription from 1 and go from 4294967295 to 1, never through 0
(OPC 10000-4, 5.14.1.1 and 7.26). A keep-alive carries the number of the *next* notification and consumes none.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple

_LAST: Final = 0xFFFFFFFF
MOST_REPUBLISHED: Final = 100


class Verdict(Enum):
    NEXT = "next"
    KEEP_ALIVE = "keep-alive"
    DUPLICATE = "duplicate"


class Judged(NamedTuple):
    """What a message is, and how many notifications are missing before it, the first of them being `first`."""

    verdict: Verdict
    first: int = 0
    missing: int = 0


def after(number: int, steps: int = 1) -> int:
    """The sequence number `steps` later."""
    return (number - 1 + steps) % _LAST + 1


def distance(first: int, second: int) -> int:
    """Steps from `first` to `second`, negative when it lies behind (the shorter way round)."""
    steps = (second - first) % _LAST
    return steps if steps < _LAST // 2 else steps - _LAST


class SequenceBook:
    """The number that is expected next."""

    def __init__(self, expected: int = 1) -> None:
        self.expected = expected

    def judge(self, number: int, keep_alive: bool) -> Judged:
        """Note that a message with this number has come."""
        if number == 0:  # some servers send 0 in keep-alives; there is no notification 0
            return Judged(Verdict.KEEP_ALIVE if keep_alive else Verdict.DUPLICATE)
        steps = distance(self.expected, number)
        first = self.expected
        if steps < 0:
            return Judged(Verdict.KEEP_ALIVE if keep_alive else Verdict.DUPLICATE)
        self.expected = number if keep_alive else after(number)
        return Judged(Verdict.KEEP_ALIVE if keep_alive else Verdict.NEXT, first, steps)


def to_republish(first: int, missing: int, available: Sequence[int]) -> list[int]:
    """The missing numbers that the server still has, in order and at most `MOST_REPUBLISHED` of them."""
    there = [number for number in available if number and 0 <= distance(first, number) < missing]
    return sorted(set(there), key=lambda number: distance(first, number))[:MOST_REPUBLISHED]
