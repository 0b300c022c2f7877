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
_AGAIN: Final = 3  # messages in a row, published later than any before, under numbers that we have had


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
        if (
            number == 0
        ):  # some servers send 0 in keep-alives; a notification 0 should not be, but holds values
            return Judged(Verdict.KEEP_ALIVE if keep_alive else Verdict.NEXT)
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


class Anew:
    """Whether a server has begun to count again without a word (a subscription that moved to another machine): everything that
    it says from then on would be a duplicate, and nobody would hear of it.

    A real duplicate is what was published before. Where the server says no times, only many of them in a row are suspicious.
    """

    def __init__(self) -> None:
        self._newest, self._last, self._run = 0, 0, 0

    def taken(self, published: int) -> None:
        """A message in its turn. published: its PublishTime, in ticks."""
        self._newest, self._run = max(self._newest, published), 0

    def duplicate(self, number: int, published: int) -> bool:
        """One more under a number that we have had: is it too much?"""
        fresh = published > self._newest or not published
        follows = self._run > 0 and number == after(self._last)
        self._last, self._run = number, (self._run + 1 if follows else 1) if fresh else 0
        return self._run >= (_AGAIN if published else MOST_REPUBLISHED)
