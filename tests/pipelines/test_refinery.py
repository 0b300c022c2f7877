"""Refining against a model that takes one value at a time; nothing disappears uncounted."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import quality as q
from pipelines.batch import Batch, Flag, Kind, Point, batch_of
from pipelines.identity import Identity
from pipelines.refinery import refinery
from pipelines.registry import Registry
from pipelines.rings import RING
from pipelines.stage import Reason, Refine, Refined, Remark, Treatment, Treatments
from tests.pipelines.model import DAY, Model, rows_of, visible
from tests.pipelines.strategies import FLOATS, INT64, TEXTS, WAVES, T

SECOND = 10**9
SMALL = {
    Kind.NUMBER: st.sampled_from([0.0, -0.0, 1.0, 1.5, 2.0, 99.0, float("nan"), float("inf"), 1e308, 2.0**63])
    | FLOATS,
    Kind.INTEGER: st.sampled_from([0, 1, 2, -1, 99, 2**63 - 1, -(2**63)]) | INT64,
    Kind.UNSIGNED: st.sampled_from([0, 1, 2, 2**63, 2**64 - 1]),
    Kind.FLAG: st.booleans(),
    Kind.TEXT: st.sampled_from(
        [
            "1",
            "0",
            " 1.5 ",
            "on",
            "OFF",
            "True",
            "nan",
            "-inf",
            "1e999",
            "1,5",
            "1_0",
            "٣",
            "-7",
            "5.0",
            "9" * 30,
            "9" * 5000,
        ]
    )
    | TEXTS,
    Kind.WAVEFORM: WAVES,
}
treatments = st.builds(
    Treatment,
    scale=st.sampled_from([1.0, 1.0, 0.1, 2.0, 1e300]),
    offset=st.sampled_from([0.0, 0.0, -1.0]),
    low=st.sampled_from([None, 0.0]),
    high=st.sampled_from([None, 50.0]),
    deadband=st.sampled_from([0.0, 0.0, 1.0]),
    min_interval=st.sampled_from([0, 0, 2 * SECOND]),
    keep_retained=st.booleans(),
    time=st.sampled_from(["source", "source", "server", "receive"]),
)
stamps = st.one_of(
    st.integers(0, 3).map(lambda s: T + s * SECOND),
    st.sampled_from(
        [0, -1, T + DAY, T + DAY + 1, 2**62, 2**62 + 1, 2**63 - 1, -(2**63), 631_152_000 * SECOND]
    ),
)


def a_bench(kinds: list[Kind], how: list[Treatment]) -> tuple[Registry, Treatments]:
    registry = Registry(Point("m", str(n), kind) for n, kind in enumerate(kinds))
    return registry, Treatments({("m", str(n)): treatment for n, treatment in enumerate(how)})


@st.composite
def a_batch(draw: st.DrawFn, points: int, received: int) -> Batch:
    kind = draw(st.sampled_from(Kind))
    n = draw(st.integers(1, 12))

    def column(cell: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(cell, min_size=n, max_size=n))

    return batch_of(
        kind,
        column(st.integers(0, points - 1)),
        column(stamps),
        column(SMALL[kind]),
        received=received,
        quality=column(st.sampled_from([q.GOOD, q.GOOD, q.UNCERTAIN, q.BAD, q.GOOD | q.OVERFLOW])),
        flags=column(st.sampled_from([0, 0, Flag.RETAINED, Flag.NO_VALUE, Flag.TIME_SUBSTITUTED])),
        server_at=(draw(st.booleans()) and column(stamps)) or None,
    )


@given(st.data())
def test_refining_does_what_the_model_does_and_counts_everything(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(Kind), min_size=1, max_size=4))
    registry, treated = a_bench(kinds, [data.draw(treatments) for _ in kinds])
    refine, identity, model = refinery(registry, treated), Identity(), Model(registry, treated)
    received = data.draw(st.sampled_from([T, 1_000]))
    for call in range(data.draw(st.integers(1, 3))):
        batches = [
            data.draw(a_batch(len(kinds), received + call + n)) for n in range(data.draw(st.integers(1, 2)))
        ]
        model.counts.clear()
        expected = [row for batch in batches for row in model.refine(batch)]
        refined = refine(batches, identity)
        identity.learn(refined.learned)
        found = [row for batch in refined.batches for row in rows_of(batch)]
        assert sum(map(len, batches)) == len(found) + sum(refined.counts.values())
        for point in range(len(kinds)):  # order is promised per point
            if model.times(point) > RING:
                return  # the model never forgets, and the memory may from here on
            assert [visible(row) for row in found if row.point == point] == [
                visible(row) for row in expected if row.point == point
            ]
        assert dict([*refined.counts.items(), *refined.remarks.items()]) == +model.counts


def one(
    kind: Kind, values: list[Any], treatment: Treatment, wire: Kind | None = None, **more: Any
) -> Refined:
    registry, treated = a_bench([kind], [treatment])
    at = more.pop("at", [T + n * SECOND for n in range(len(values))])
    batch = batch_of(wire or kind, [0] * len(values), at, values, received=T, **more)
    return refinery(registry, treated)([batch], Identity())


def test_an_untouched_batch_is_the_same_object() -> None:
    registry, treated = a_bench([Kind.NUMBER], [Treatment()])
    batch = batch_of(Kind.NUMBER, [0], T, [1.0], received=T)
    assert refinery(registry, treated)([batch], Identity()).batches[0] is batch


def test_large_integers_stay_exact_without_a_scale() -> None:
    assert one(Kind.INTEGER, [2**63 - 1], Treatment()).batches[0].values.tolist() == [2**63 - 1]


def test_scale_comes_before_the_cast_to_whole_numbers() -> None:
    refined = one(Kind.INTEGER, [2.5, 2.6], Treatment(scale=2.0), Kind.NUMBER)
    assert refined.batches[0].values.tolist() == [5, 0]
    assert refined.remarks == {Remark.UNCASTABLE: 1}
    assert refined.batches[0].quality.tolist() == [q.GOOD, q.BAD_TYPE_MISMATCH]


def test_a_range_is_inclusive_and_outside_it_the_value_stays() -> None:
    refined = one(Kind.NUMBER, [0.0, 10.0, 10.5], Treatment(low=0, high=10))
    assert refined.batches[0].values.tolist() == [0.0, 10.0, 10.5]
    assert refined.batches[0].quality.tolist() == [0, 0, q.UNCERTAIN_LIMITS_EXCEEDED]


def test_a_deadband_compares_with_the_last_value_let_through() -> None:
    refined = one(Kind.NUMBER, [0.0, 0.6, 1.0, 1.2, 1.9, 2.3], Treatment(deadband=1.0))
    assert refined.batches[0].values.tolist() == [0.0, 1.2, 2.3]
    assert refined.counts == {Reason.DEADBAND: 3}


def test_a_value_of_the_past_is_no_measure_of_the_present() -> None:
    """What a history brings back, behind newer values, must not hide the change that follows it."""
    registry, treated = a_bench([Kind.NUMBER], [Treatment(deadband=1.0)])
    refine = refinery(registry, treated)
    now = batch_of(Kind.NUMBER, [0], T + 100, [10.0], received=T)
    past = batch_of(Kind.NUMBER, [0, 0], [T + 50, T + 60], [20.0, 20.0], received=T, flags=Flag.HISTORICAL)
    then = batch_of(Kind.NUMBER, [0], T + 101, [20.0], received=T)
    kept = [refine([batch], Identity()).batches for batch in (now, past, then)]
    assert [[batch.values.tolist() for batch in batches] for batches in kept] == [
        [[10.0]],
        [[20.0, 20.0]],
        [[20.0]],
    ]


def test_a_session_begins_with_a_value_and_a_change_of_quality_always_passes() -> None:
    refined = one(
        Kind.NUMBER, [1.0, 1.0, 1.0], Treatment(deadband=9.0, min_interval=DAY), quality=[0, q.BAD, 0]
    )
    assert len(refined.batches[0]) == 3


def test_stand_in_times_are_distinct_and_rise_also_over_batches() -> None:
    registry, treated = a_bench([Kind.NUMBER] * 2, [Treatment()] * 2)
    refine = refinery(registry, treated)
    first = batch_of(Kind.NUMBER, [0, 1, 0, 0], 0, [5.0] * 4, received=T)
    second = batch_of(Kind.NUMBER, [0, 1], 0, [5.0] * 2, received=T + 1)
    refined = refine([first, second], Identity())
    assert [batch.at.tolist() for batch in refined.batches] == [[T, T, T + 1, T + 2], [T + 3, T + 1]]
    assert refined.counts == {}
    assert refined.remarks == {Remark.TIME_SUBSTITUTED: 6}


def test_the_same_time_and_another_value_is_moved_and_says_from_where() -> None:
    refined = one(Kind.NUMBER, [1.0, 2.0, 1.0], Treatment(), at=T)
    (batch,) = refined.batches
    assert (batch.at.tolist(), batch.flags.tolist()) == ([T, T + 1], [0, Flag.SHIFTED])
    assert batch.moved is not None
    assert (batch.at - batch.moved).tolist() == [T, T]
    assert (refined.counts, refined.remarks) == ({Reason.DUPLICATE: 1}, {Remark.SHIFTED: 1})


def test_refining_again_before_the_append_gives_the_same_keys() -> None:
    registry, treated = a_bench([Kind.NUMBER], [Treatment()])
    batch = batch_of(Kind.NUMBER, [0, 0], T, [1.0, 2.0], received=T)
    identity = Identity()
    runs = [refinery(registry, treated)([batch], identity).batches[0].at.tolist() for _ in range(2)]
    assert runs[0] == runs[1]


def test_points_that_appear_during_a_session_are_treated_and_unknown_ones_are_an_error() -> None:
    registry, treated = a_bench([Kind.NUMBER], [Treatment(), Treatment(scale=2.0)])
    refine: Refine = refinery(registry, treated)
    refine([batch_of(Kind.NUMBER, [0], T, [1.0], received=T)], Identity())
    later = batch_of(Kind.NUMBER, [1], T, [1.0], received=T)
    with pytest.raises(IndexError):
        refine([later], Identity())
    registry.intern(Point("m", "1", Kind.NUMBER))
    assert refine([later], Identity()).batches[0].values.tolist() == [2.0]


def test_nothing_in_is_nothing_out() -> None:
    registry, treated = a_bench([Kind.NUMBER], [Treatment()])
    refined = refinery(registry, treated)([], Identity())
    assert (refined.batches, Counter(refined.counts), len(refined.learned)) == ([], Counter(), 0)


def test_a_waveform_with_a_hole_keeps_its_samples_under_a_bad_quality() -> None:
    refined = one(Kind.WAVEFORM, [np.array([1.0, np.nan])], Treatment())
    assert refined.batches[0].has_value.all()
    assert refined.batches[0].quality.tolist() == [q.BAD_OUT_OF_RANGE]
