"""Numbers and names as people read them."""

from __future__ import annotations

import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.cli.common import time_of
from collector.words import duration_words, printable, size_words, time_words, with_remedy


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.42, "0.4 s"), (12, "12 s"), (252, "4 min 12 s"), (3600, "1 h"), (90_061, "1 d 1 h"), (-3, "0.0 s")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 B"), (999, "999 B"), (3_400_000, "3.4 MB"), (2e15, "2000.0 TB")]
)
def test_sizes(count: float, words: str) -> None:
    assert size_words(count) == words


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_time_has_words(ns: int) -> None:
    assert time_words(ns)


def test_a_time_keeps_its_nanoseconds() -> None:
    assert time_words(1_795_223_754_801_000_001) == "2026-11-21T01:15:54.801000001Z"


@given(st.text())
def test_what_is_printed_obeys_nobody(text: str) -> None:
    assert all(char.isprintable() for char in printable(text))


@pytest.mark.parametrize(
    ("said", "remedy", "line"),
    [
        ("connection refused", "check its port", "connection refused - check its port"),
        ("The disk is full.", "Free some space.", "The disk is full. Free some space."),
        ("connection refused", "", "connection refused"),
    ],
)
def test_what_happened_and_what_to_do_are_kept_apart(said: str, remedy: str, line: str) -> None:
    assert with_remedy(said, remedy) == line


def test_times_that_cannot_be_stored_are_the_first_and_the_last() -> None:
    assert time_of("1970-01-01T00:00:01.000002Z") == 1_000_002_000
    for text, bound in (
        ("1600-01-01", -(2**63)),
        ("2999-01-01", 2**63),
        ("9999-12-31T23:59:59-12:00", 2**63),
    ):
        assert abs(time_of(text) - bound) == 10**9
        assert time_words(time_of(text))


@pytest.mark.parametrize("text", ["yesterday", "", "0001-01-01", "2026-13-01"])
def test_what_is_no_time_is_said(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a time such as"):
        time_of(text)
