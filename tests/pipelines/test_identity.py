"""The identity rule against a plain dictionary, and its laws: distinct samples keep distinct keys, also redelivered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import quality as q
from pipelines.batch import Batch, Flag, Kind, batch_of
from pipelines.crowd import Limits
from pipelines.identity import Assigned, Identity, Learned, SnapshotError

Row = tuple[int, int, float]  # point, time, value
T = 1_700_000_000_000_000_000


class Model:
    """The rule as one would say it, with a memory that never forgets."""

    def __init__(self) -> None:
        self.groups: dict[tuple[int, int], dict[float, int]] = {}
        self.taken: set[tuple[int, int]] = set()

    def take(self, row: Row) -> tuple[int, bool]:
        point, time, value = row
        group = self.groups.setdefault((point, time), {})
        if value in group:
            return group[value], False
        key = max(group.values()) + 1 if group else time
        while (point, key) in self.taken:
            key += 1
        group[value] = key
        self.taken.add((point, key))
        return key, True


def as_batch(rows: Sequence[Row]) -> Batch:
    points, at, values = zip(*rows, strict=True)
    return batch_of(Kind.NUMBER, points, [T + t for t in at], values, received=0)


def stored(batch: Batch, assigned: Assigned) -> Batch:
    """What refining would journal of this batch."""
    return replace(batch, at=assigned.at, moved=assigned.at - batch.at).take(assigned.keep)


def run(
    rows: Sequence[Row], cuts: Sequence[int], identity: Identity
) -> tuple[list[tuple[int, bool]], list[Batch]]:
    """Assign and learn in chunks; (key, kept) per row, and the stored batches."""
    keys: list[tuple[int, bool]] = []
    batches: list[Batch] = []
    edges = [0, *sorted({cut % (len(rows) + 1) for cut in cuts}), len(rows)]
    for start, end in pairwise(edges):
        if start == end:
            continue
        batch = as_batch(rows[start:end])
        before = identity.snapshot()
        assigned = identity.assign(batch)
        assert identity.snapshot() == before, "assign changed the memory"
        identity.learn(assigned.learned)
        keys += zip((assigned.at - T).tolist(), assigned.keep.tolist(), strict=True)
        if assigned.keep.any():
            batches.append(stored(batch, assigned))
    return keys, batches


few = st.tuples(
    st.integers(0, 2), st.integers(0, 6), st.sampled_from([0.0, 1.0, 2.0])
)  # at most 7 times per point
few_rows = st.lists(few, min_size=1, max_size=60)
wide = st.tuples(st.integers(0, 3), st.integers(0, 40), st.sampled_from([0.0, 1.0, 2.0]))
calm = st.tuples(st.integers(0, 1), st.integers(0, 20), st.sampled_from([0.0] * 30 + [1.0]))
wide_rows = st.lists(wide, min_size=1, max_size=150) | st.lists(calm, min_size=20, max_size=150)
cuts = st.lists(st.integers(0, 150), max_size=6)
tight = Limits(groups=3, group_values=4, point_values=6, total_values=9)
roomy = Limits(groups=3, group_values=4, point_values=6)


@given(few_rows, cuts)
def test_keys_are_those_of_the_model(rows: list[Row], chunks: list[int]) -> None:
    model = Model()
    assert run(rows, chunks, Identity())[0] == [model.take(row) for row in rows]


@given(few_rows, cuts)
def test_distinct_samples_have_distinct_keys_and_equal_samples_one(
    rows: list[Row], chunks: list[int]
) -> None:
    keys, _ = run(rows, chunks, Identity())
    by_sample: dict[Row, set[int]] = {}
    for row, (key, _kept) in zip(rows, keys, strict=True):
        by_sample.setdefault(row, set()).add(key)
    assert all(len(found) == 1 for found in by_sample.values())
    assert len({(row[0], *found) for row, found in by_sample.items()}) == len(set(rows))
    assert sum(kept for _, kept in keys) == len(set(rows))


@given(few_rows, cuts, st.integers(0, 60), cuts)
def test_redelivery_of_any_suffix_is_all_duplicates_under_the_same_keys(
    rows: list[Row], chunks: list[int], start: int, again: list[int]
) -> None:
    identity = Identity()
    keys, _ = run(rows, chunks, identity)
    suffix = rows[start % len(rows) :]
    repeated, batches = run(suffix, again, identity)
    assert [key for key, _ in repeated] == [key for key, _ in keys[start % len(rows) :]]
    assert batches == []


@given(wide_rows, cuts, st.integers(0, 150))
def test_redelivery_after_newer_times_gives_the_same_keys(
    rows: list[Row], chunks: list[int], start: int
) -> None:
    """Times rise per point, as from a machine: groups are remembered, single values pass again under their own key."""
    rows = sorted(rows, key=lambda row: row[1])
    identity = Identity()
    keys, _ = run(rows, chunks, identity)
    repeated, _ = run(rows[start % len(rows) :], (), identity)
    assert [key for key, _ in repeated] == [key for key, _ in keys[start % len(rows) :]]


@given(wide_rows, cuts, cuts, st.sampled_from([None, roomy]))
def test_chunking_of_the_same_input_does_not_matter(
    rows: list[Row], one: list[int], other: list[int], limits: Limits | None
) -> None:
    """Also when the memory overflows: forgetting happens row by row."""
    first, second = Identity(limits), Identity(limits)
    assert run(rows, one, first)[0] == run(rows, other, second)[0]
    assert first == second


@given(wide_rows, cuts, cuts, st.sampled_from([None, roomy, tight]))
def test_replay_of_what_was_stored_equals_what_was_learned(
    rows: list[Row], chunks: list[int], split: list[int], limits: Limits | None
) -> None:
    identity = Identity(limits)
    _, batches = run(rows, chunks, identity)
    at_once, in_parts = Identity(limits), Identity(limits)
    at_once.replay(batches)
    cut = (split[0] if split else 0) % (len(batches) + 1)
    in_parts.replay(batches[:cut])
    in_parts.replay(batches[cut:])
    assert at_once == in_parts == identity


@given(wide_rows, cuts, wide_rows)
def test_a_restored_snapshot_goes_on_like_the_original(
    rows: list[Row], chunks: list[int], more: list[Row]
) -> None:
    identity = Identity()
    run(rows, chunks, identity)
    restored = Identity.restore(identity.snapshot())
    assert restored == identity
    assert run(more, (), restored)[0] == run(more, (), identity)[0]
    assert restored == identity


@given(wide_rows, st.data())
def test_a_damaged_snapshot_is_refused(rows: list[Row], data: st.DataObject) -> None:
    identity = Identity()
    run(rows, (), identity)
    blob = bytearray(identity.snapshot())
    place = data.draw(st.integers(0, len(blob) - 1))
    blob[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SnapshotError):
        Identity.restore(bytes(blob))
    with pytest.raises(SnapshotError):
        Identity.restore(identity.snapshot()[:place])


def test_an_empty_memory_survives_a_snapshot() -> None:
    assert Identity.restore(Identity().snapshot()) == Identity()


def test_three_values_at_one_time_take_consecutive_nanoseconds() -> None:
    """B8: all are kept, in their order."""
    keys, _ = run([(0, 0, 1.0), (0, 0, 2.0), (0, 0, 1.0), (0, 0, 3.0)], (), Identity())
    assert keys == [(0, True), (1, True), (0, False), (2, True)]


def test_a_real_time_that_a_shifted_value_took_moves_on_and_is_recognised_again() -> None:
    rows = [(0, 0, 1.0), (0, 0, 2.0), (0, 1, 2.0), (0, 1, 2.0), (0, 0, 3.0)]
    assert run(rows, [3], Identity())[0] == [(0, True), (1, True), (2, True), (2, False), (3, True)]


def test_a_clock_that_stands_still_never_reuses_a_key() -> None:
    rows = [(0, 0, float(n)) for n in range(3000)]
    identity = Identity()
    keys, _ = run(rows, [500, 1000, 2999], identity)
    assert [key for key, _ in keys] == list(range(3000))
    assert len(identity.snapshot()) < 20_000


def test_bits_are_compared_and_a_change_of_quality_is_not_a_duplicate() -> None:
    batch = batch_of(
        Kind.NUMBER,
        [0] * 7,
        T,
        [0.0, -0.0, 0.0, 0.0, 0.0, 0.0, 7.0],
        received=0,
        quality=[
            q.GOOD,
            q.GOOD,
            q.UNCERTAIN,
            q.GOOD | q.OVERFLOW,
            q.BAD_NO_DATA,
            q.BAD_NO_DATA,
            q.BAD_NO_DATA,
        ],
        flags=[0, 0, 0, Flag.HISTORICAL, Flag.NO_VALUE, 0, Flag.NO_VALUE],
    )
    assert Identity().assign(batch).keep.tolist() == [True, True, True, False, True, True, False]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Kind.TEXT, ["a", "b", "a", "\ud800"]),
        (Kind.FLAG, [True, False, True, False]),
        (Kind.UNSIGNED, [2**64 - 1, 0, 2**64 - 1, 0]),
        (Kind.INTEGER, [-1, 1, -1, 1]),
        (Kind.WAVEFORM, [np.array([1.0]), np.array([1.0, 2.0]), np.array([1.0]), np.zeros(0)]),
    ],
)
def test_every_kind_has_prints(kind: Kind, values: list[object]) -> None:
    assigned = Identity().assign(batch_of(kind, [3] * 4, T, values, received=0))
    assert assigned.keep.tolist()[:3] == [True, True, False]


def test_prints_are_the_same_in_every_process_and_release() -> None:
    """They are stored in snapshots: these numbers may never change."""
    numbers = Identity().assign(as_batch([(0, 0, 1.5)])).learned.prints.tolist()
    texts = Identity().assign(batch_of(Kind.TEXT, [0], T, ["µm"], received=0)).learned.prints.tolist()
    assert (numbers, texts) == (
        [10968412926792260316],
        [12294618177163063347],
    )  # SplitMix64 and BLAKE2b by hand


def test_merged_parts_are_learned_as_one() -> None:
    parts = [Identity().assign(as_batch([(point, 0, 1.0)])).learned for point in range(3)]
    one, other = Identity(), Identity()
    one.learn(Learned.merge(parts))
    for part in parts:
        other.learn(part)
    assert one == other
    assert len(Learned.merge([])) == 0
    other.learn(Learned())
    assert one == other


def test_a_time_pushed_out_of_the_ring_within_one_batch_is_forgotten_as_in_many() -> None:
    rows = [(0, 100 - n, 0.0) for n in range(10)] + [(0, 99, 0.0)]
    whole, _ = run(rows, (), Identity())
    assert whole == run(rows, range(12), Identity())[0]
    assert whole[-1] == (99, True)


def test_the_seven_times_before_the_newest_are_remembered() -> None:
    """Also after many turns of the ring."""
    for turns in range(20, 40):
        identity = Identity()
        run([(0, n, 0.0) for n in range(turns)], (), identity)
        late, _ = run([(0, turns - 7, 1.0), (0, turns - 8, 0.0)], [1], identity)
        assert late == [(turns, True), (turns - 8, True)]


def test_the_memory_of_all_points_together_is_bounded() -> None:
    rows = [(point, 0, float(n)) for point in range(50) for n in range(4)]
    identity = Identity(Limits(total_values=20))
    run(rows, (), identity)
    small = Identity(Limits(total_values=20))
    run(rows[-20:], (), small)
    assert len(identity.snapshot()) - len(small.snapshot()) == 45 * 152  # only the rings of 45 more points


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7])
def test_what_was_judged_by_an_older_memory_is_judged_again(rows: int) -> None:
    """Learning trusts what assigning found only while nothing was learned in between."""
    points = np.tile(np.array([3, 0, 2], np.int32), rows)
    at = np.repeat(1000 + np.arange(rows), 3)
    marks = np.arange(len(points), dtype=np.uint64)
    memory, wanted = Identity(), Identity()
    first, second = memory.assign_rows(points, at, marks), memory.assign_rows(points, at, marks)
    assert first.learned.plain is second.learned.plain is memory.state
    wanted.learn(replace(first.learned, plain=None))
    memory.learn(first.learned)
    assert memory == wanted
    memory.learn(second.learned)
    assert memory == wanted
    assert not memory.assign_rows(points, at, marks).keep.any()
