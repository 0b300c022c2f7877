"""The Sparkplug encoder against bytes worked out by hand and a reader of the tests' own (tests/peers: against Google's)."""

from __future__ import annotations

import gzip
import struct
import zlib
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.sparkplug.cell import made_of
from simulators.sparkplug.encode import Encoder
from simulators.sparkplug.habits import DIALECTS, Habits
from simulators.sparkplug.model import (
    DataSet,
    DataType,
    MetaData,
    Metric,
    Parameter,
    Payload,
    Property,
    Template,
)
from tests.simulators.sparkplug import reader

SPEC = Encoder(Habits())
SIGNED = {DataType.INT8: 8, DataType.INT16: 16, DataType.INT32: 32, DataType.INT64: 64}


def test_a_payload_byte_by_byte() -> None:
    metric = Metric("a", alias=300, timestamp=1, datatype=DataType.INT8, value=-1, is_historical=True)
    inner = bytes.fromhex("0a0161 10ac02 1801 2001 2801 50ff01")
    assert SPEC.metric(metric) == inner
    assert (
        SPEC.payload(Payload([metric], timestamp=2, seq=255))
        == b"\x08\x02\x12" + bytes([len(inner)]) + inner + b"\x18\xff\x01"
    )


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (Metric(datatype=9, value=1.5), "2009 650000c03f"),
        (Metric(datatype=10, value=-2.0), "200a 6900000000000000c0"),
        (Metric(datatype=11, value=True), "200b 7001"),
        (Metric(datatype=12, value="é"), "200c 7a02c3a9"),
        (Metric(datatype=13, value=1), "200d 5801"),
        (Metric(datatype=17, value=b"\0\1"), "2011 8201020001"),
        (Metric(datatype=3, is_null=True), "2003 3801"),
        (Metric(alias=0, is_transient=True), "1000 3001"),
        (Metric(datatype=12, value=""), "200c 7a00"),
        (Metric(metadata=MetaData(True, "t", 4, 0, "f", "k", "m", "d")), "4215 0801 120174 1804 2000 2a0166 32016b 3a016d 420164"),
    ],
)  # fmt: skip
def test_a_metric_byte_by_byte(metric: Metric, expected: str) -> None:
    assert SPEC.metric(metric) == bytes.fromhex(expected)


@pytest.mark.parametrize(
    ("datatype", "values", "expected"),
    [
        (DataType.INT8_ARRAY, [-23, 123], "e97b"),
        (DataType.INT16_ARRAY, [-30000, 30000], "d08a3075"),
        (DataType.INT32_ARRAY, [-1, 0x12CBB7FA], "ffffffff fab7cb12"),
        (DataType.UINT64_ARRAY, [52, 0xE43776B2D1029ED9], "3400000000000000 d9 9e 02 d1 b2 76 37 e4"),
        (DataType.FLOAT_ARRAY, [1.0], "0000803f"),
        (DataType.DOUBLE_ARRAY, [1.0], "000000000000f03f"),
        (DataType.BOOLEAN_ARRAY, [False, False, True, True, False, True, False, False, True, True, False, True], "0c000000 34d0"),
        (DataType.STRING_ARRAY, ["ABC", "hello"], "41424300 68656c6c6f00"),
        (DataType.DATETIME_ARRAY, [0x124_759F_D0C7], "c7d09f7524010000"),
        (DataType.BOOLEAN_ARRAY, [], "00000000"),
    ],
)  # fmt: skip
def test_arrays_byte_by_byte(datatype: DataType, values: list[Any], expected: str) -> None:
    """6.4.17: little-endian, whatever two of its examples show."""
    assert SPEC.array(datatype, values) == bytes.fromhex(expected)


@given(st.sampled_from(sorted(SIGNED)), st.data(), st.sampled_from(sorted(DIALECTS)))
def test_signed_integers_are_twos_complement(datatype: DataType, data: st.DataObject, dialect: str) -> None:
    bits = SIGNED[datatype]
    value = data.draw(st.integers(-(1 << bits - 1), (1 << bits - 1) - 1))
    read = reader.metric(Encoder(DIALECTS[dialect]).metric(Metric(datatype=datatype, value=value)))
    name = "long" if bits == 64 or dialect == "long" else "int"
    width = bits if DIALECTS[dialect].sign == "type" else (64 if name == "long" else 32)
    assert read[name] == value % (1 << width)
    assert (read[name] ^ 1 << bits - 1) % (1 << bits) - (1 << bits - 1) == value  # as every host may read it


def test_dialects_of_integers() -> None:
    minus = Metric(datatype=DataType.INT16, value=-2)
    assert reader.metric(Encoder(DIALECTS["spec"]).metric(minus))["int"] == 65534
    assert reader.metric(Encoder(DIALECTS["ignition"]).metric(minus))["int"] == 4294967294
    assert reader.metric(Encoder(DIALECTS["long"]).metric(minus))["long"] == 2**64 - 2
    large = Metric(datatype=DataType.UINT32, value=4294967295)
    assert reader.metric(Encoder(DIALECTS["spec"]).metric(large))["int"] == 4294967295
    assert reader.metric(Encoder(DIALECTS["ignition"]).metric(large))["long"] == 4294967295


def test_a_dataset() -> None:
    table = DataSet(
        ["n", "x"], [DataType.STRING, DataType.DOUBLE], [["a", 1.5], ["b", None], []], announced=9
    )
    read = reader.raw(SPEC.dataset(table))
    assert (read[1], read[2], read[3]) == ([9], [b"n", b"x"], [DataType.STRING, DataType.DOUBLE])
    rows = [[reader.raw(cell) for cell in reader.raw(row)[1]] for row in read[4]]
    assert rows == [[{6: [b"a"]}, {4: [struct.pack("<d", 1.5)]}], [{6: [b"b"]}, {}], []]


def test_a_template_and_a_definition() -> None:
    inner = Metric("speed", datatype=DataType.DOUBLE, value=1.0)
    parameter = Parameter("p", DataType.INT32, -1)
    instance = reader.raw(SPEC.template(Template([inner], ref="Motor", version="1", parameters=[parameter])))
    assert (instance[1], instance[4], instance[5]) == ([b"1"], [b"Motor"], [0])
    assert reader.metric(instance[2][0]) == {"name": "speed", "datatype": 10, "double": 1.0}
    assert reader.raw(instance[3][0]) == {1: [b"p"], 2: [3], 3: [0xFFFFFFFF]}
    definition = reader.raw(SPEC.template(Template([inner], is_definition=True)))
    assert definition[5] == [1]
    assert 4 not in definition


def test_properties_nest() -> None:
    sets = [{"a": Property(DataType.INT8, -1)}, {"b": Property(DataType.STRING, "x")}]
    given = {
        "Quality": Property(DataType.INT32, 192),
        "gone": Property(DataType.DOUBLE),
        "inner": Property(DataType.PROPERTY_SET, {"c": Property(DataType.BOOLEAN, False)}),
        "list": Property(DataType.PROPERTY_SET_LIST, sets),
    }
    read = reader.raw(SPEC.properties(given))
    assert read[1] == [b"Quality", b"gone", b"inner", b"list"]
    values = [reader.raw(value) for value in read[2]]
    assert values[:2] == [{1: [3], 3: [192]}, {1: [10], 2: [1]}]
    inner = reader.raw(values[2][9][0])
    assert (inner[1], reader.raw(inner[2][0])) == ([b"c"], {1: [11], 7: [0]})
    assert [reader.raw(each)[1] for each in reader.raw(values[3][10][0])[1]] == [[b"a"], [b"b"]]


@pytest.mark.parametrize(("algorithm", "undo"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
def test_the_envelope_of_a_compressed_payload(algorithm: Any, undo: Any) -> None:
    inner = Payload([Metric("a", datatype=DataType.TEXT, value="x" * 1000)], timestamp=5, seq=7)
    outer = reader.payload(Encoder(Habits(compress=algorithm)).wrapped(inner))
    assert (outer.uuid, outer.seq, outer.timestamp) == ("SPBV1.0_COMPRESSED", None, None)
    assert outer.metric("algorithm")["string"] == algorithm.upper()
    assert outer.body is not None
    assert undo(outer.body) == SPEC.payload(inner)


@given(
    st.sampled_from([kind for kind in DataType if kind not in (0, 20, 21)]),
    st.integers(0, 2**32),
    st.sampled_from(sorted(DIALECTS)),
)
def test_a_metric_of_every_type_uses_one_field(kind: DataType, seed: int, dialect: str) -> None:
    value = made_of(kind, Random(seed))
    read = reader.metric(Encoder(DIALECTS[dialect]).metric(Metric("m", datatype=kind, value=value)))
    assert set(read) - {"name", "datatype"} <= set(list(reader.FIELDS.values())[9:])
    assert len(read) == 3


def test_wrong_on_purpose() -> None:
    assert (
        reader.metric(SPEC.metric(Metric(datatype=DataType.DOUBLE, value="x", kind="string")))["string"]
        == "x"
    )
    assert reader.metric(SPEC.metric(Metric(datatype=99, encode_as=DataType.STRING, value="x"))) == {
        "datatype": 99,
        "string": "x",
    }
    assert reader.metric(SPEC.metric(Metric(encode_as=DataType.INT8, value=-1))) == {"int": 255}
