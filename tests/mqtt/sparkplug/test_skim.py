"""The short way of data against protobuf: whatever the bytes, what is skimmed is what protobuf reads, and rows come out the same."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.mqtt.sparkplug.schema import DecodeError, Payload
from adapters.mqtt.sparkplug.skim import Skimmer
from simulators.sparkplug.model import DataType, Metric
from simulators.sparkplug.model import Payload as Said
from tests.mqtt.sparkplug.bed import SPEC, T0, Bed, Edge, Row, number
from tests.peers.edges import SESSIONS, load

FIELDS = {10: "int_value", 11: "long_value", 12: "float_value", 13: "double_value", 14: "boolean_value"}


def agrees(skimmer: Skimmer, raw: bytes) -> bool:
    """True if it was skimmed; fails if protobuf reads anything else, or nothing."""
    said = skimmer.read(raw)
    if said is None:
        return False
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
        assert (metric.alias, metric.datatype, metric.timestamp or payload.timestamp) == (alias, datatype, at)
        assert metric.WhichOneof("value") == FIELDS[field]
        read = getattr(metric, FIELDS[field])
        assert read == value or (math.isnan(read) and math.isnan(value))
        assert type(read) is type(value)
    return True


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
    """M14: one skimmer for all of them: shapes learnt from one message meet the others, whole, changed and cut."""
    skimmer = Skimmer()
    for raw, changes, cut in messages:
        agrees(skimmer, raw)
        broken = bytearray(raw)
        for place, byte in changes:
            if place < len(broken):
                broken[place] = byte
        hostile = bytes(broken[: len(broken) - cut])
        try:
            Payload.FromString(hostile)
        except DecodeError:
            assert skimmer.read(hostile) is None
        else:
            agrees(skimmer, hostile)


def test_every_byte_changed_to_every_other() -> None:
    """Of a message of three shapes, all neighbours at a distance of one byte."""
    chosen = [
        typed(1, DataType.DOUBLE, 1.5, at=T0, said=False),
        typed(300, DataType.INT32, -2, at=T0 + 1, said=True),
        typed(5, DataType.BOOLEAN, True, at=None, said=False),
    ]
    raw = SPEC.payload(Said(chosen, timestamp=T0, seq=200))
    skimmer = Skimmer()
    assert agrees(skimmer, raw)
    for place in range(len(raw)):
        for byte in range(256):
            changed = raw[:place] + bytes([byte]) + raw[place + 1 :]
            try:
                Payload.FromString(changed)
            except DecodeError:
                assert skimmer.read(changed) is None
            else:
                agrees(skimmer, changed)


@pytest.mark.parametrize("name", sorted(SESSIONS))
def test_recorded_edges(name: str) -> None:
    skimmer = Skimmer()
    for message in load(name):
        if message.kind.endswith("DATA"):
            agrees(skimmer, message.payload)
            agrees(skimmer, message.payload)


KINDS = (
    ("Load", DataType.DOUBLE), ("Count", DataType.INT16), ("Total", DataType.UINT64), ("Run", DataType.BOOLEAN),
    ("Heat", DataType.FLOAT), ("Text", DataType.STRING),
)  # fmt: skip
BY_KIND = {DataType.DOUBLE: 1.25, DataType.INT16: -7, DataType.UINT64: 2**63, DataType.BOOLEAN: True, DataType.FLOAT: 0.5, DataType.STRING: "x"}  # fmt: skip


class Blind(Skimmer):
    def read(self, _raw: bytes) -> None:
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
