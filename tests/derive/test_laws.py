"""The laws of a derivation (pipelines/derivation.py), over every derivation there is."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.batch import Batch, Flag
from pipelines.derivation import Circular, Derivation, Derived, Reads, Selection, SnapshotError, in_order
from pipelines.derivations.counter import Counter, Counters
from pipelines.derivations.stale import Stale
from pipelines.registry import Registry
from tests.derive.strategies import SIGNALS, One, S, batches, histories, joined, registry, seen

Build = Callable[[Registry], Derivation]


def counters(known: Registry) -> Derivation:
    listed = [
        Counter("m1", "parts", "parts_made", 16),
        Counter("m1", "pulses", "pulses_made", 64, "pulses_back"),
        Counter("m1", "energy", "energy_used", None, "energy_back"),
        Counter("m1", "label", "labels"),
    ]
    return Counters(known, listed)


def stale(known: Registry) -> Derivation:
    return Stale(known, {("m1", name): 3 * S for name in SIGNALS if name != "other"})


every = pytest.mark.parametrize("build", [counters, stale])


def feed(derivation: Derivation, chunks: Sequence[Sequence[Batch]]) -> tuple[list[Batch], Tally[str]]:
    made: list[Batch] = []
    remarks: Tally[str] = Tally()
    for chunk in chunks:
        derived = derivation.feed(chunk)
        made += derived.batches
        remarks.update(derived.remarks)
    return made, remarks


def cut(parts: Sequence[Batch], edges: Sequence[int]) -> list[list[Batch]]:
    """The same rows in chunks, and within a chunk as few batches as may be."""
    places = sorted({0, len(parts), *(edge % (len(parts) + 1) for edge in edges)})
    return [joined(parts[a:b]) for a, b in pairwise(places)]


@every
@given(rows=histories, edges=st.lists(st.integers(0, 60), max_size=12))
def test_law_1_any_chunking_gives_the_same(build: Build, rows: list[One], edges: list[int]) -> None:
    one, many = registry(), registry()
    whole, pieces = build(one), build(many)
    first = feed(whole, [batches(one, rows)])
    second = feed(pieces, cut(batches(many, rows), edges))
    assert seen(one, first[0]) == seen(many, second[0])
    assert first[1] == second[1]
    assert whole.snapshot() == pieces.snapshot()


@every
@given(rows=histories, place=st.integers(0, 60))
def test_law_2_a_snapshot_changes_nothing(build: Build, rows: list[One], place: int) -> None:
    one, two = registry(), registry()
    straight, before = build(one), build(two)
    expected = feed(straight, [batches(one, rows)])[0]
    found = feed(before, [batches(two, rows[:place])])[0]
    after = build(two)
    after.restore(before.snapshot())
    found += feed(after, [batches(two, rows[place:])])[0]
    assert seen(one, expected) == seen(two, found)
    assert straight.snapshot() == after.snapshot()


@every
@given(rows=histories)
def test_laws_3_and_4_rows_are_derived_and_in_order(build: Build, rows: list[One]) -> None:
    known = registry()
    made, _ = feed(build(known), [batches(known, rows)])
    for found in seen(known, made).values():
        assert all(flags & Flag.DERIVED for _, _, _, flags, _, _ in found)
        times = [at for at, *_ in found]
        assert times == sorted(times)


@every
@pytest.mark.parametrize("blob", [b"", b"{}", b'{"version":99,"readings":[],"signals":[]}', b"\xff"])
def test_a_snapshot_that_does_not_read_back_is_said(build: Build, blob: bytes) -> None:
    with pytest.raises(SnapshotError):
        build(registry()).restore(blob)


def test_the_strategy_makes_everything_there_is_to_see() -> None:
    """A property over histories in which nothing happens proves nothing."""
    events: set[str] = set()

    @settings(max_examples=500, derandomize=True)
    @given(rows=histories)
    def look(rows: list[One]) -> None:
        known = registry()
        made, remarks = feed(counters(known), [batches(known, rows)])
        events.update(remarks)
        for signal, found in seen(known, made).items():
            events.update(row[1] for row in found if signal[1].endswith("_event"))
        events.update("stale" for _ in feed(stale(known), [batches(known, rows)])[0])

    look()
    for word in ("late", "reset", "correction", "during_gap", "stale"):
        assert any(word in event for event in events), word


@dataclass
class Named:
    name: str
    reads: Reads

    def feed(self, batches: Sequence[Batch]) -> Derived:
        return Derived((), {})

    def snapshot(self) -> bytes:
        return b""

    def restore(self, snapshot: bytes) -> None: ...


def named(name: str, *reads: str) -> Named:
    return Named(name, Reads(frozenset(), frozenset(reads)))


def test_law_5_the_graph_is_ordered_and_circles_are_refused_by_name() -> None:
    kpi, state, parts = named("kpi", "state", "parts"), named("state", "parts"), named("parts")
    assert [d.name for d in in_order([kpi, state, parts])] == ["parts", "state", "kpi"]
    with pytest.raises(Circular, match="a -> b -> c -> a"):
        in_order([named("a", "b"), named("b", "c"), named("c", "a")])
    with pytest.raises(Circular, match="a -> a"):
        in_order([named("a", "a")])
    with pytest.raises(Circular, match="kpi reads the derivation state, and there is none"):
        in_order([named("kpi", "state")])


def test_law_5_rows_are_chosen_by_origin_and_by_point() -> None:
    known = registry()
    select = Selection(known, Reads(frozenset({("m1", "parts")}), frozenset({"state"})))
    rows = [One(name, 1, 1, 0, 0, 1) for name in ("", "parts", "pulses")]
    tick, parts, pulses = batches(known, rows)
    assert select("plc", tick) is tick
    assert select("plc", parts) is parts
    assert select("plc", pulses) is None
    assert select("derived.state", pulses) is pulses
    assert select("derived.stale", parts) is None
    mixed = joined([*batches(known, [One("parts", 1, 1, 0, 0, 1)]), tick, parts])
    kept = select("plc", mixed[0])
    assert kept is not None
    assert np.array_equal(kept.points, mixed[0].points)
