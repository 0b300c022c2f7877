"""Counters into increments: the rules one by one, and against a model that knows no batches."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import quality as q
from pipelines.batch import Batch, Flag, Kind, Point, batch_of
from pipelines.derivation import TICK
from pipelines.derivations.counter import Counter, Counters, Step, step
from pipelines.registry import KindConflict, Registry
from pipelines.stage import Remark
from tests.derive.strategies import START, S, seen


class Bench:
    """One counter, fed row by row."""

    def __init__(self, width: int | None = None, rework: str = "", kind: Kind = Kind.INTEGER) -> None:
        self.registry = Registry()
        self.kind = kind
        self.point = self.registry.intern(Point("m1", "count", kind, "H87", {"line": "2"}))
        self.tick = self.registry.intern(Point(*TICK, Kind.INTEGER))
        self.counters = Counters(self.registry, [Counter("m1", "count", "made", width, rework)])
        self.made: list[Batch] = []
        self.remarks: list[Remark] = []
        self.now = 0

    def read(
        self,
        *values: Any,
        quality: int = q.GOOD,
        flags: int = 0,
        at: int | None = None,
        point: int | None = None,
    ) -> None:
        for value in values:
            self.now += 1
            self._feed(
                self.point if point is None else point,
                self.kind,
                value,
                at or self.now,
                quality=quality,
                flags=flags,
            )

    def run_since(self, start: int) -> None:
        self._feed(self.tick, Kind.INTEGER, start, self.now)

    def _feed(
        self, point: int, kind: Kind, value: Any, at: int, *, quality: int = q.GOOD, flags: int = 0
    ) -> None:
        row = batch_of(kind, [point], START + at * S, [value], received=START, quality=quality, flags=flags)
        derived = self.counters.feed([row])
        self.made += derived.batches
        self.remarks += derived.remarks

    def of(self, name: str = "made") -> list[Any]:
        return [row[1] for row in seen(self.registry, self.made).get(("m1", name), [])]

    def flags(self, name: str = "made") -> list[Flag]:
        return [Flag(row[3]) for row in seen(self.registry, self.made).get(("m1", name), [])]


def test_a_rise_is_the_increment_and_the_first_reading_is_none() -> None:
    bench = Bench()
    bench.read(100, 101, 101, 105)
    assert bench.of() == [1, 4]
    assert bench.of("made_event") == []
    assert bench.flags() == [Flag.DERIVED, Flag.DERIVED]


def test_the_output_is_of_the_same_machine_with_unit_tags_and_kind() -> None:
    bench = Bench(kind=Kind.NUMBER)
    bench.read(1.5, 2.0)
    point = bench.registry[bench.registry.latest("m1", "made") or 0]
    assert point == Point("m1", "made", Kind.NUMBER, "H87", {"line": "2"})
    assert point.tags == {"line": "2"}
    assert bench.of() == [0.5]


@pytest.mark.parametrize(
    ("old", "new", "width", "made", "event"),
    [
        (65_530, 4, 16, 10, "rollover"),
        (2**32 - 1, 0, 32, 1, "rollover"),
        (2**64 - 1, 0, 64, 1, "rollover"),
        (58_982, 4, 16, 4, "reset"),  # 0.9 x 2^16 = 58982.4: one below
        (58_983, 4, 16, 6557, "rollover"),
        (65_530, 6553, 16, 6559, "rollover"),  # 0.1 x 2^16 = 6553.6
        (65_530, 6554, 16, 6554, "reset"),
        (65_530, 4, None, 4, "reset"),
        (100_000, 4, 16, 4, "reset"),  # wider than declared: no rollover that would be negative
        (50, 0, 16, 0, "reset"),
        (50, -7, None, 0, "reset"),
    ],
)
def test_a_fall_is_a_rollover_or_a_reset(
    old: int, new: int, width: int | None, made: int, event: str
) -> None:
    assert step(old, new, width, rework=False) == Step(made, 0, event)


def test_a_reset_is_told() -> None:
    bench = Bench()
    bench.read(100, 3)
    assert bench.of() == [3]
    assert bench.of("made_event") == ["reset"]


def test_a_correction_goes_to_the_signal_for_rework_and_is_never_subtracted() -> None:
    bench = Bench(rework="reworked")
    bench.read(100, 98, 99, 2)
    assert bench.of() == [1, 2]
    assert bench.of("reworked") == [2]
    assert bench.of("made_event") == ["correction", "reset"]


@pytest.mark.parametrize(
    ("quality", "flags"), [(q.BAD_NO_COMMUNICATION, Flag.NO_VALUE), (q.BAD, 0), (q.UNCERTAIN, 0)]
)
def test_what_was_counted_during_a_gap_counts_and_is_flagged(quality: int, flags: int) -> None:
    bench = Bench()
    bench.read(100)
    bench.read(0, quality=quality, flags=flags)
    bench.read(107, 108)
    assert bench.of() == [7, 1]
    assert bench.flags() == [Flag.DERIVED | Flag.DURING_GAP, Flag.DERIVED]
    assert bench.of("made_event") == ["during_gap"]


def test_an_overflow_at_the_server_is_a_gap() -> None:
    bench = Bench()
    bench.read(100)
    bench.read(103, quality=q.OVERFLOW)
    assert bench.flags() == [Flag.DERIVED | Flag.DURING_GAP]


def test_nothing_made_during_a_gap_is_worth_a_row() -> None:
    bench = Bench()
    bench.read(100)
    bench.read(0, quality=q.BAD, flags=Flag.NO_VALUE)
    bench.read(100)
    assert bench.of() == [0]


def test_a_restart_of_the_collector_is_a_gap() -> None:
    bench = Bench()
    bench.run_since(1)
    bench.read(100)
    bench.run_since(1)
    bench.read(101)
    bench.run_since(2)
    bench.read(105, 106)
    assert bench.of() == [1, 4, 1]
    assert [bool(flags & Flag.DURING_GAP) for flags in bench.flags()] == [False, True, False]


def test_late_rows_are_ignored_and_counted() -> None:
    bench = Bench()
    bench.read(100, 110)
    bench.read(105, at=1)
    bench.read(112)
    assert bench.of() == [10, 2]
    assert bench.remarks == [Remark.LATE]


def test_another_unit_is_another_counter() -> None:
    bench = Bench()
    bench.read(100)
    grams = bench.registry.intern(Point("m1", "count", Kind.INTEGER, "GRM"))
    bench.read(5, point=grams)
    bench.read(9, point=grams)
    assert bench.of() == [4]


def test_a_text_is_no_counter() -> None:
    bench = Bench(kind=Kind.TEXT)
    bench.read("7", "8")
    assert bench.made == []
    assert bench.remarks == [Remark.UNCASTABLE] * 2


def test_an_output_that_is_something_else_already_is_refused() -> None:
    bench = Bench()
    bench.registry.intern(Point("m1", "made", Kind.TEXT))
    bench.read(1)
    with pytest.raises(KindConflict):
        bench.read(2)


def test_an_increment_that_no_number_holds_is_left_out_and_told() -> None:
    bench = Bench()
    bench.read(-(2**63), 2**63 - 1, 2**63 - 1)
    assert bench.of() == []
    assert bench.of("made_event") == ["out_of_range"]


@given(
    st.lists(st.tuples(st.integers(0, 500), st.sampled_from(["count", "reset", "lost", "dup"])), max_size=50)
)
def test_the_sum_is_what_was_made(steps: list[tuple[int, str]]) -> None:
    """The oracle is a machine that knows what it made since it was first read, and a 16-bit register that does not.

    Two things no reader of a register can know: a reset near its top looks like a rollover, and a reset that has outrun
    the old count looks like a rise. The machine does neither.
    """
    bench, made, register, first = Bench(width=16), 0, 64_000, True
    for amount, what in steps:
        if what == "lost":
            bench.read(0, quality=q.BAD_NO_COMMUNICATION, flags=Flag.NO_VALUE)
            continue
        count = amount
        if what == "reset" and 0 < register <= 58_982:
            count = min(amount, register - 1)
            register = 0
        register = (register + count) % 65_536
        made += 0 if first else count
        bench.read(register, *([register] if what == "dup" else []))
        first = False
    assert sum(bench.of()) == made
