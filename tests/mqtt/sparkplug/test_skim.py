"""The short way of data against protobuf: whatever the bytes, what is skimmed is what protobuf reads, and rows come out the same."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.mqtt.sparkplug import skim
from adapters.mqtt.sparkplug.host import DOUBTED
from adapters.mqtt.sparkplug.layouts import COST, Habit, Skim
from adapters.mqtt.sparkplug.recent import Recent
from adapters.mqtt.sparkplug.schema import DecodeError, Payload
from adapters.mqtt.sparkplug.skim import Skimmer
from simulators.sparkplug.model import DataType, Metric
from simulators.sparkplug.model import Payload as Said
from tests.mqtt.sparkplug.bed import SPEC, T0, Bed, Edge, Row, number
from tests.peers.edges import SESSIONS, load

FIELDS = {10: "int_value", 11: "long_value", 12: "float_value", 13: "double_value", 14: "boolean_value"}


def agrees(skimmer: Skimmer, raw: bytes, habit: Habit | None = None) -> bool:
    """True if it was skimmed; fails if protobuf reads anything else, or nothing. habit: is asked first, and learns."""
    whole = None if habit is None else habit.read(raw)
    said = skimmer.read(raw, habit)
    for each in (whole, said):
        if each is not None:
            is_what_protobuf_reads(each, raw)
    return said is not None


def is_what_protobuf_reads(said: Skim, raw: bytes) -> None:
    payload = Payload.FromString(raw)
    seq = payload.seq if payload.HasField("seq") and payload.seq < 256 else None
    assert (said.time, said.seq) == (payload.timestamp, seq)
    assert not payload.HasField("uuid")
    assert not payload.HasField("body")
    assert len(payload.metrics) == len(said.keys)
    for metric, (alias, field, datatype), at, value in zip(payload.metrics, said.keys, said.times, said.values, strict=True):  # fmt: skip
        fields = {descriptor.name for descriptor, _ in metric.ListFields()}
        assert fields <= {"alias", "timestamp", "datatype", FIELDS[field]}
        assert metric.HasField("alias")
        moment = (metric.timestamp or payload.timestamp) * 1_000_000
        assert (metric.alias, metric.datatype, moment) == (alias, datatype, at)
        assert metric.WhichOneof("value") == FIELDS[field]
        read = getattr(metric, FIELDS[field])
        assert read == value or (math.isnan(read) and math.isnan(value))
        assert type(read) is type(value)


def typed(alias: int, kind: DataType, value: Any, *, at: int | None, said: bool) -> Metric:
    return Metric(None, alias, at, kind if said else None, value=value, encode_as=kind)


VALUES = st.one_of(
    st.tuples(st.just(DataType.DOUBLE), st.floats()),
    st.tuples(st.just(DataType.FLOAT), st.floats(width=32)),
    st.tuples(st.just(DataType.BOOLEAN), st.booleans()),
    st.tuples(st.just(DataType.INT8), st.integers(-128, 127)),
    st.tuples(st.just(DataType.INT32), st.integers(-(2**31), 2**31 - 1)),
    st.tuples(st.just(DataType.UINT32), st.integers(0, 2**32 - 1)),
    st.tuples(st.just(DataType.INT64), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just(DataType.UINT64), st.integers(0, 2**64 - 1)),
    st.tuples(st.just(DataType.STRING), st.text(max_size=5)),
)
ALIASES = st.one_of(st.integers(0, 20), st.sampled_from([127, 128, 300, 16_383, 16_384, 2**21, 2**40]))


@st.composite
def metrics(draw: st.DrawFn) -> Metric:
    kind, value = draw(VALUES)
    at = draw(st.sampled_from([None, T0, T0 + 1, T0 + 5000, 1]))
    return typed(draw(ALIASES), kind, value, at=at, said=draw(st.booleans()))


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    chosen = draw(st.lists(metrics(), max_size=6))
    seq = draw(st.sampled_from([None, 0, 1, 127, 128, 255, 256, 300]))
    return SPEC.payload(Said(chosen, timestamp=draw(st.sampled_from([None, T0, 1])), seq=seq))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.tuples(payloads(), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=3), st.integers(0, 3)), min_size=1, max_size=8))  # fmt: skip
def test_whatever_the_bytes_nothing_is_read_that_protobuf_does_not_read(
    messages: list[tuple[bytes, list[tuple[int, int]], int]],
) -> None:
    """M14: one skimmer and one topic for all of them: what is learnt from one meets the others, whole, changed and cut."""
    skimmer, habit = Skimmer(), Habit()
    for raw, changes, cut in messages:
        agrees(skimmer, raw, habit)
        broken = bytearray(raw)
        for place, byte in changes:
            if place < len(broken):
                broken[place] = byte
        hostile = bytes(broken[: len(broken) - cut])
        try:
            Payload.FromString(hostile)
        except DecodeError:
            assert habit.read(hostile) is None
            assert skimmer.read(hostile) is None
        else:
            agrees(skimmer, hostile, habit)


CHOSEN = (
    typed(1, DataType.DOUBLE, 1.5, at=T0, said=False),
    typed(300, DataType.INT32, -2, at=T0 + 1, said=True),
    typed(5, DataType.BOOLEAN, True, at=None, said=False),
)


@pytest.mark.parametrize("seq", [None, 5, 200])
def test_every_byte_changed_to_every_other(seq: int | None) -> None:
    """Of a message of three shapes, all neighbours at a distance of one byte, by its shapes and by its layout."""
    raw = SPEC.payload(Said(list(CHOSEN), timestamp=T0, seq=seq))
    skimmer, habit = Skimmer(), Habit()
    assert agrees(skimmer, raw, habit)
    assert habit.read(raw) is not None
    for place in range(len(raw)):
        for byte in range(256):
            changed = raw[:place] + bytes([byte]) + raw[place + 1 :]
            whole = habit.read(changed)
            try:
                Payload.FromString(changed)
            except DecodeError:
                assert skimmer.read(changed) is whole is None
            else:
                if whole is not None:
                    is_what_protobuf_reads(whole, changed)
                agrees(skimmer, changed)


@pytest.mark.parametrize("place", [1, 12])
def test_a_time_of_0_is_none(place: int) -> None:
    """A varint of six bytes that says 0, for the message and for a metric: protobuf and its other rules read it."""
    raw = SPEC.payload(Said([typed(1, DataType.DOUBLE, 1.5, at=T0, said=False)], timestamp=T0, seq=5))
    skimmer, habit = Skimmer(), Habit()
    assert agrees(skimmer, raw, habit)
    zero = raw[:place] + b"\x80\x80\x80\x80\x80\x00" + raw[place + 6 :]
    assert 0 in (Payload.FromString(zero).timestamp, Payload.FromString(zero).metrics[0].timestamp)
    assert habit.read(zero) is skimmer.read(zero) is None


def test_several_who_read_of_one_device_all_get_it() -> None:
    bed = Bed([{"machine": machine, "sparkplug": "plant/cell/press", "adopt": True} for machine in "mn"])
    edge = Edge(bed)
    edge.nbirth()
    edge.dbirth(number("Force", 0.0, 1))
    for n in range(9):
        rows = edge.ddata(typed(1, DataType.DOUBLE, float(n), at=edge.ms, said=False))
        assert {(row.signal, row.value) for row in rows} == {("m/Force", n), ("n/Force", n)}


def test_the_marks_of_repetitions_are_the_last_64() -> None:
    recent = Recent()
    for mark in (*range(100), 70, 200):
        recent.add(mark)
    assert [*recent.marks] == [*range(37, 70), *range(71, 100), 70, 200]
    again = Recent()
    again.load(recent.dump() + b"x")
    assert [*again.marks] == [*recent.marks]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.floats(), st.integers(0, 127), st.booleans(), st.integers(2**21, 2**28 - 1), st.integers(1, 2**41), st.integers(128, 255)), min_size=1, max_size=5))  # fmt: skip
def test_a_layout_serves_every_message_that_differs_in_numbers_only(said: list[tuple[Any, ...]]) -> None:
    skimmer, habit = Skimmer(), Habit()
    served = []
    for real, small, flag, large, later, seq in said:
        metrics = [
            typed(1, DataType.DOUBLE, real, at=T0 + later, said=False),
            typed(2, DataType.UINT8, small, at=T0 + later, said=True),
            typed(300, DataType.BOOLEAN, flag, at=T0, said=False),
            typed(4, DataType.UINT32, large, at=T0 + 1, said=False),
            typed(5, DataType.DOUBLE, -real, at=None, said=False),
        ]
        raw = SPEC.payload(Said(metrics, timestamp=T0 + later, seq=seq))
        served.append(habit.read(raw) is not None)
        assert agrees(skimmer, raw, habit)
    assert served == [False] + [True] * (len(said) - 1)


def test_learning_has_a_bound() -> None:
    """Messages that all look different are not learnt for ever, and what repeats later is learnt all the same."""
    habit, skimmer, layouts = Habit(), Skimmer(), []
    for n in range(400):
        metrics = [
            typed(1 + (n * 7 + m * m) % 127, DataType.DOUBLE, 1.0, at=T0, said=False) for m in range(3)
        ]
        raw = SPEC.payload(Said(metrics, timestamp=T0, seq=n % 128))
        skimmer.read(raw, habit)
        layouts.append(next(iter(habit._layouts.values()), None))
    assert len(set(layouts)) < 20
    again = [typed(3, DataType.DOUBLE, 1.0, at=T0, said=False)] * 2
    raw = SPEC.payload(Said(again, timestamp=T0, seq=1))
    for _ in range(COST):
        skimmer.read(raw, habit)
    assert habit.read(raw) is not None


def test_all_layouts_together_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skim, "REMEMBERED", 50)
    skimmer, habits = Skimmer(), [Habit() for _ in range(40)]
    raw = SPEC.payload(Said(list(CHOSEN), timestamp=T0, seq=1))
    for habit in habits:
        skimmer.read(raw, habit)
        assert sum(len(each._layouts) for each in habits) * len(CHOSEN) <= 50
    assert habits[-1].read(raw) is not None


@pytest.mark.parametrize("name", sorted(SESSIONS))
def test_recorded_edges(name: str) -> None:
    skimmer, habits = Skimmer(), dict[str, Habit]()
    for message in load(name):
        if message.kind.endswith("DATA"):
            habit = habits.setdefault(message.topic, Habit())
            agrees(skimmer, message.payload, habit)
            agrees(skimmer, message.payload, habit)


KINDS = (
    ("Load", DataType.DOUBLE), ("Count", DataType.INT16), ("Total", DataType.UINT64), ("Run", DataType.BOOLEAN),
    ("Heat", DataType.FLOAT), ("Text", DataType.STRING),
)  # fmt: skip
BY_KIND = {DataType.DOUBLE: 1.25, DataType.INT16: -7, DataType.UINT64: 2**63, DataType.BOOLEAN: True, DataType.FLOAT: 0.5, DataType.STRING: "x"}  # fmt: skip


class Blind(Skimmer):
    def read(self, _raw: bytes, _habit: object = None) -> None:
        return None


def story(*, quick: bool, reads: Any) -> tuple[list[Row], list[str], int]:
    bed = Bed(reads)
    if not quick:
        bed.host._skimmer = Blind()
    edge = Edge(bed)
    names = [name for name, _ in KINDS]
    for shift in (0, 1, 3):  # births that move all aliases
        kinds = dict(KINDS)
        turned = names[shift:] + names[:shift]
        edge.nbirth(number("Node", 1.0, 99))
        edge.dbirth(*(Metric(name, n, None, kinds[name], value=BY_KIND[kinds[name]]) for n, name in enumerate(turned)))  # fmt: skip
        for count in range(30):
            chosen = [(n, turned[n]) for n in range(len(turned)) if (count >> n % 5) & 1 or n < 2]
            for _ in range(6 if count % 5 == 3 else 1):  # often enough to be learnt as a whole
                edge.ddata(*(typed(n, kinds[name], BY_KIND[kinds[name]], at=edge.ms - n if count % 3 else None, said=count % 2 == 0) for n, name in chosen))  # fmt: skip
            edge.ddata(number(None, 1.0, 77), typed(0, kinds[turned[0]], BY_KIND[kinds[turned[0]]], at=edge.ms, said=False))  # fmt: skip
            edge.ndata(typed(99, DataType.DOUBLE, float(count), at=edge.ms, said=False))
            edge.ndata(typed(99, DataType.INT32, 5, at=edge.ms, said=False))
        edge.ddeath()
        edge.ndeath()
    return bed.rows, bed.refused, bed.decoded


READS: list[Any] = [
    [{"sparkplug": "plant/cell", "adopt": True}, {"sparkplug": "plant/cell/press", "adopt": True}],
    [{"sparkplug": "plant/cell/press", "signals": [{"name": "n", "metric": "Count", "kind": "number"}, {"name": "Run"}]}],
    [{"sparkplug": "plant/cell/+", "adopt": True}, {"machine": "n", "sparkplug": "plant/cell/press", "signals": [{"name": "Total", "time": "receive"}]}],
]  # fmt: skip


@pytest.mark.parametrize("reads", READS)
def test_rows_come_out_the_same_over_births_that_move_aliases(reads: Any) -> None:
    """M14: the same rows in the same order of each point, the same refusals, the same count; and the short way was taken."""
    short, long = story(quick=True, reads=reads), story(quick=False, reads=reads)
    assert by_signal(short[0]) == by_signal(long[0])
    assert (sorted(short[1]), short[2]) == (sorted(long[1]), long[2])
    assert short[2] > 100


def by_signal(rows: list[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.signal, []).append(row)
    return found


def test_aliases_that_change_places_in_a_birth_change_names_at_once() -> None:
    """M14: the bytes look the same before and after, and mean something else."""
    bed = Bed()
    edge = Edge(bed)
    names = ("Force", "Stroke")
    for turn in range(4):
        first, second = names[turn % 2], names[1 - turn % 2]
        edge.nbirth()
        edge.dbirth(number(first, 0.0, 1), number(second, 0.0, 2))
        for n in range(1, 6):
            said = (typed(1, DataType.DOUBLE, 10.0 + n, at=edge.ms, said=False), typed(2, DataType.DOUBLE, 20.0 + n, at=edge.ms, said=False))  # fmt: skip
            rows = {row.signal: row.value for row in edge.ddata(*said)}
            assert rows == {f"m/{first}": 10.0 + n, f"m/{second}": 20.0 + n}


def test_only_what_is_just_expected_goes_the_short_way() -> None:
    """Retained data, a hole in seq, a repetition, data from before the birth: each of a layout that is known."""
    bed = Bed()
    edge = Edge(bed)
    edge.nbirth()
    edge.dbirth(number("Force", 1.0, 1))
    said = typed(1, DataType.DOUBLE, 2.0, at=T0 + 500, said=False)
    for _ in range(5):
        assert len(edge.ddata(said)) == 1
    last = edge.make("DDATA", [said], "press")
    assert bed.hear(*last, retain=True) == []
    assert len(bed.hear(*last)) == 1
    assert bed.hear(*last) == []
    assert edge.ddata(said, timestamp=T0 - 9000) == []
    assert bed.refused[-1].endswith(DOUBTED)
    edge.dbirth(number("Force", 1.0, 1))
    assert len(edge.ddata(said)) == 1
    edge.seq += 2
    assert edge.ddata(said) == []


def test_the_short_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second message of a birth on: nothing else would be fast."""
    from adapters.mqtt.sparkplug.reading import Taker

    careful: list[str] = []
    whole = Taker._take

    def counted(taker: Taker, entity: Any, packet: Any, sense: Any) -> None:
        careful.append(packet.kind)
        whole(taker, entity, packet, sense)

    monkeypatch.setattr(Taker, "_take", counted)
    bed = Bed()
    edge = Edge(bed)
    edge.nbirth()
    edge.dbirth(number("Force", 1.0, 1), Metric("Count", 2, None, DataType.INT32, value=4))
    careful.clear()
    for n in range(20):
        edge.ddata(typed(1, DataType.DOUBLE, float(n), at=edge.ms, said=False), typed(2, DataType.INT32, n, at=edge.ms, said=False))  # fmt: skip
    assert careful == ["DDATA"]
    assert [row.value for row in bed.rows[-2:]] == [19.0, 19] or [row.value for row in bed.rows[-2:]] == [
        19,
        19.0,
    ]
