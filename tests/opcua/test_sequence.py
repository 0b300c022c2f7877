"""Sequence numbers and checkpoints, by themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.opcua.checkpoint import Checkpoint, Ticket
from adapters.opcua.sequence import (
    MOST_REPUBLISHED,
    Judged,
    SequenceBook,
    Verdict,
    after,
    distance,
    to_republish,
)

LAST = 0xFFFFFFFF
TICKET = Ticket(
    "opc.tcp://m:4840", "who", "urn:m", "2026-01-01", "ns", "0a", "0b", 60.0, 7, 0.1, 5.0, "w", "bWFya21hcms=", [[0, 9, 1]]
)  # fmt: skip
numbers = st.integers(1, LAST)


def test_numbers_roll_over_to_one() -> None:
    assert after(LAST) == 1
    assert after(LAST - 1) == LAST
    book = SequenceBook(LAST)
    assert book.judge(LAST, keep_alive=False) == Judged(Verdict.NEXT, LAST, 0)
    assert book.judge(1, keep_alive=False) == Judged(Verdict.NEXT, 1, 0)
    assert book.expected == 2


@given(numbers, st.integers(0, 1000))
def test_distance_is_the_inverse_of_after(first: int, steps: int) -> None:
    later = after(first, steps)
    assert 1 <= later <= LAST
    assert distance(first, later) == steps
    assert distance(later, first) == -steps


def test_a_keep_alive_consumes_no_number_however_often() -> None:
    book = SequenceBook()
    for _ in range(3):
        assert book.judge(1, keep_alive=True) == Judged(Verdict.KEEP_ALIVE, 1, 0)
    assert book.judge(1, keep_alive=False).verdict is Verdict.NEXT
    assert book.judge(2, keep_alive=True) == Judged(Verdict.KEEP_ALIVE, 2, 0)
    assert book.judge(2, keep_alive=False) == Judged(Verdict.NEXT, 2, 0)


def test_missing_numbers_are_counted_by_data_and_by_keep_alives() -> None:
    book = SequenceBook(LAST - 1)
    assert book.judge(2, keep_alive=False) == Judged(Verdict.NEXT, LAST - 1, 3)
    assert book.judge(5, keep_alive=True) == Judged(Verdict.KEEP_ALIVE, 3, 2)
    assert book.expected == 5


def test_what_came_before_is_a_duplicate() -> None:
    book = SequenceBook(10)
    assert book.judge(9, keep_alive=False).verdict is Verdict.DUPLICATE
    assert book.judge(0, keep_alive=False) == Judged(Verdict.NEXT), "no number to go by: what is in it counts"
    assert book.judge(0, keep_alive=True) == Judged(Verdict.KEEP_ALIVE)
    assert book.expected == 10


@given(numbers, st.integers(1, 2**30), st.lists(numbers, max_size=300))
def test_republishing_is_bounded_and_in_order(first: int, missing: int, available: list[int]) -> None:
    asked = to_republish(first, missing, available)
    assert len(asked) <= MOST_REPUBLISHED
    assert set(asked) <= set(available)
    steps = [distance(first, number) for number in asked]
    assert steps == sorted(set(steps))
    assert all(0 <= step < missing for step in steps)


def test_republishing_across_the_rollover() -> None:
    assert to_republish(LAST, 3, [2, 7, LAST, 1]) == [LAST, 1, 2]


def test_a_checkpoint_survives_and_another_one_is_nothing() -> None:
    made = Checkpoint(123, 456, "life", told=False, following=8, ticket=TICKET)
    assert Checkpoint.from_bytes(made.to_bytes()) == made
    assert "0a" not in repr(made.ticket), "nobody sees the token of a session"


def test_the_checkpoint_of_the_version_before_still_tells_the_gap() -> None:
    old = b'{"version":1,"newest":5,"received":6,"life":"x","server":"","subscription":3,"sequence":9}'
    assert Checkpoint.from_bytes(old) == Checkpoint(5, 6, "x")


@pytest.mark.parametrize(
    "blob", [None, b"", b"\xff\xfe", b"[1]", b'{"version":2,"newest":1}', b'{"version":1,"other":1}']
)
def test_what_cannot_be_read_is_no_checkpoint(blob: bytes | None) -> None:
    assert Checkpoint.from_bytes(blob) is None
