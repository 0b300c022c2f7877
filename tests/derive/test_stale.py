"""Staleness: told once, at the right time, by data and ticks alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipelines import quality as q
from pipelines.batch import Batch, Flag, Kind, Point, batch_of
from pipelines.derivation import TICK
from pipelines.derivations.stale import Stale
from pipelines.registry import Registry
from tests.derive.strategies import START, S, seen

HOUR = 3600


class Bench:
    """One signal that is stale after 5 s."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.point = self.registry.intern(Point("m1", "load", Kind.NUMBER, "P1"))
        self.tick_point = self.registry.intern(Point(*TICK, Kind.INTEGER))
        self.stale = Stale(self.registry, {("m1", "load"): 5 * S})
        self.made: list[Batch] = []

    def value(self, received: int, at: int | None = None, *, flags: int = 0) -> None:
        self._feed(self.point, Kind.NUMBER, 1.0, received if at is None else at, received, flags=flags)

    def tick(self, now: int) -> None:
        self._feed(self.tick_point, Kind.INTEGER, 1, now, now)

    def _feed(self, point: int, kind: Kind, value: Any, at: int, received: int, *, flags: int = 0) -> None:
        row = batch_of(kind, [point], START + at * S, [value], received=START + received * S, flags=flags)
        self.made += self.stale.feed([row]).batches

    @property
    def told(self) -> list[int]:
        """Seconds."""
        return [(row[0] - START) // S for row in seen(self.registry, self.made).get(("m1", "load"), [])]


def test_it_is_told_once_without_a_value_at_the_moment_from_which_nobody_knew() -> None:
    bench = Bench()
    bench.value(10)
    for now in (12, 14, 15, 16, 30):
        bench.tick(now)
    assert bench.told == [15]
    (batch,) = bench.made
    assert batch.quality.tolist() == [q.BAD_NO_DATA]
    assert batch.flags.tolist() == [Flag.NO_VALUE | Flag.DERIVED]
    assert np.array_equal(batch.points, [bench.point])


def test_it_becomes_fresh_with_the_next_value_and_stale_again() -> None:
    bench = Bench()
    bench.value(10)
    bench.tick(20)
    bench.value(21)
    bench.tick(22)
    bench.tick(40)
    assert bench.told == [15, 26]


def test_what_never_came_is_not_stale() -> None:
    bench = Bench()
    bench.tick(1000)
    assert bench.told == []


def test_a_signal_that_lost_its_value_needs_no_second_word() -> None:
    bench = Bench()
    bench.value(10)
    bench.value(11, flags=Flag.NO_VALUE)
    bench.tick(100)
    assert bench.told == []


def test_a_machine_whose_clock_is_an_hour_off_is_judged_by_ours() -> None:
    for off in (HOUR, -HOUR):
        bench = Bench()
        bench.value(10, 10 + off)
        bench.tick(14)
        assert bench.told == []
        bench.tick(15)
        assert bench.told == [15 + off]


def test_a_silence_between_two_ticks_is_told_by_the_value_that_ends_it() -> None:
    bench = Bench()
    bench.value(10)
    bench.value(17)
    assert bench.told == [15]


def test_what_comes_late_in_a_heap_was_not_silent() -> None:
    bench = Bench()
    for at in range(10, 20):
        bench.value(10 if at == 10 else 30, at)
    assert bench.told == []


def test_backfill_makes_nothing_fresh() -> None:
    bench = Bench()
    bench.value(10)
    bench.tick(20)
    bench.value(21, 3, flags=Flag.HISTORICAL)
    bench.tick(100)
    assert bench.told == [15]
