"""CSV, line protocol, MessagePack and binary layouts, each against a writer that is simpler than the reader."""

from __future__ import annotations

import csv
import io
import json
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt.payloads.shape import MOST, Series
from pipelines import quality as q
from pipelines.batch import Kind
from tests.mqtt.decoding import check, decoder, rows, why

T = 1_700_000_000_000
MS = 10**6
NUMBERS = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "Zs"]), min_size=1, max_size=6)
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)


# --- CSV


@given(
    st.lists(st.tuples(st.integers(T, T + 99), NUMBERS, WORDS), min_size=1, max_size=5),
    st.sampled_from(",;\t"),
)
def test_csv_reads_what_the_library_writes(written: list[tuple[int, float, str]], separator: str) -> None:
    sheet = io.StringIO()
    writer = csv.writer(sheet, delimiter=separator, quoting=csv.QUOTE_ALL)
    writer.writerow(["time", "load", "tool"])
    writer.writerows(written)
    decode = decoder({"type": "csv", "time": "time", "texts": ["to*"], "separator": separator})
    expected = [
        cell for t, load, tool in written for cell in (("load", load, t * MS), ("tool", tool, t * MS))
    ]
    assert rows(decode(b"\xef\xbb\xbf" + sheet.getvalue().encode())) == expected


def test_csv_with_named_columns_and_decimal_commas() -> None:
    payload = {
        "type": "csv",
        "columns": ["t", "load", "q", "u"],
        "separator": ";",
        "decimal": ",",
        "time": "t",
        "time_format": "%d/%m/%Y %H:%M:%S",
        "time_zone": "Europe/Brussels",
        "quality": {"value": "q", "good": [0]},
        "unit_from": "u",
    }
    decoded = check(
        decoder(payload, "load")(b"14/11/2023 23:13:20;21,5;0;kW\r\n14/11/2023 23:13:21;;7;kW\r\n")
    )
    first, second = decoded.rows
    assert first == (Series("load", "kW"), Kind.NUMBER, 21.5, T * MS, q.GOOD)
    assert (second.kind, second.quality, second.at) == (None, q.BAD_NO_DATA, (T + 1000) * MS)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "empty message"),
        (b"\n\n", "empty message"),
        (b"a,a\n1,2", "two columns of one name"),
        (b"a\n1,2", "a row of 2 cells where there are 1 columns"),
        (b"a\nx", "column 'a'"),
        (b'a\n"1', "not CSV"),
        (b"a\n\xff", "not UTF-8"),
        (b"b\n1", "none of the wanted columns: the message has b"),
        (b"a\n" + b"1\n" * (MOST + 1), "more than"),
        (b"a,," * 400_000, "more than"),
        (b"a\n" + b"\n" * 1_000_000, "more than"),
        (b'a\n"' + b"x" * 1_000_000 + b'"', "not CSV"),
    ],
)
def test_csv_that_cannot_be_read_says_why(payload: bytes, reason: str) -> None:
    assert reason in why(decoder("csv", "a")(payload))


def test_the_bound_of_a_cell_is_our_own() -> None:
    """Somebody else in the process may have lifted the csv module's."""
    before = csv.field_size_limit(2_000_000)
    try:
        assert "not CSV" in why(decoder("csv", "a")(b'a\n"' + b"x" * 1_000_000 + b'"'))
    finally:
        csv.field_size_limit(before)


def test_a_point_is_not_taken_for_thousands() -> None:
    assert "1.234" in why(decoder({"type": "csv", "separator": ";", "decimal": ","})(b"a\n1.234"))


def test_the_kind_of_a_signal_reads_its_column() -> None:
    decode = decoder(
        "csv", {"name": "a", "kind": "text"}, {"name": "b", "kind": "flag"}, {"name": "x", "item": "c"}
    )
    assert rows(decode(b"a,b,c,d\n007,on,5,no")) == [("a", "007", None), ("b", True, None), ("c", 5, None)]


# --- line protocol


def escaped(text: str, special: str) -> str:
    return "".join("\\" + c if c in special else c for c in text)


PLAIN = st.text(st.characters(codec="utf-8", exclude_characters="\\\n\r\0"), min_size=1, max_size=6)
FIELDS = (
    st.floats(allow_nan=False, allow_infinity=False).map(lambda v: (v, repr(v)))
    | st.integers(-(2**63), 2**63 - 1).map(lambda v: (v, f"{v}i"))
    | st.booleans().map(lambda v: (v, "T" if v else "false"))
    | st.text(st.characters(codec="utf-8")).map(
        lambda v: (v, '"' + v.replace("\\", "\\\\").replace('"', '\\"') + '"')
    )
)


@given(
    st.lists(
        st.tuples(
            PLAIN.filter(lambda name: not name.startswith(("#", " ", ","))),
            st.dictionaries(PLAIN, PLAIN, max_size=3),
            st.dictionaries(PLAIN, FIELDS, min_size=1, max_size=3),
            st.none() | st.integers(-(10**9), 10**9),
        ),
        max_size=4,
    )
)
def test_line_protocol_reads_what_was_escaped(written: list[Any]) -> None:
    text, expected = "# a remark\n", []
    for measurement, tags, fields, seconds in written:
        text += escaped(measurement, ", ")
        text += "".join(f",{escaped(k, ',= ')}={escaped(v, ',= ')}" for k, v in tags.items())
        text += " " + ",".join(f"{escaped(k, ',= ')}={v}" for k, (_, v) in fields.items())
        text += f"{'' if seconds is None else f' {seconds}'}\n"
        for key, (value, _) in fields.items():
            name = f"{measurement}.{key}"
            at = None if seconds is None else seconds * 10**9
            expected.append((Series(name, "", tuple(tags.items())) if tags else name, value, at))
    decoded = check(decoder({"type": "line", "precision": "s"})(text.encode()))
    assert not decoded.refused
    assert [(row.key, row.value, row.at) for row in decoded.rows] == expected


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "empty message"),
        (b"\xff", "not UTF-8"),
        (b"alone", "not line protocol"),
        (b",a=b f=1", "without a measurement"),
        (b"m f=", "not line protocol"),
        (b"m f=1,f=2", "'f' stands twice"),
        (b"m,t=1,t=2 f=2", "'t' stands twice"),
        (b"m f=1 yesterday", "not line protocol"),
        (b'm f="open', "not line protocol"),
        (b"m f=1_0", "is no value"),
        (b"m f=nan", "is no value"),
        (b"m" + b",a=" * 30 + b" f=1", "not line protocol"),
        (b"m f=1\n" * (MOST + 1), "more than"),
        (b"\n" * 1_000_000, "more than"),
    ],
)
def test_line_protocol_that_cannot_be_read_says_why(payload: bytes, reason: str) -> None:
    assert reason in why(decoder("line")(payload))


def test_a_bad_line_leaves_the_others() -> None:
    decoded = check(decoder("line", "m.f")(b"m f=1 5\nnonsense\nm f=2,g=7 6\n"))
    assert [(row.key, row.value, row.at) for row in decoded.rows] == [("m.f", 1, 5), ("m.f", 2, 6)]
    assert decoded.seen == 3


# --- MessagePack

ITEMS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
DOCUMENTS = st.recursive(ITEMS, lambda i: st.lists(i, max_size=4) | st.dictionaries(NAMES, i, max_size=4))


@given(st.dictionaries(NAMES, DOCUMENTS, max_size=20))
def test_messagepack_says_what_json_says(document: dict[str, Any]) -> None:
    assert check(decoder("msgpack")(msgspec.msgpack.encode(document))).rows == (
        decoder("json")(json.dumps(document).encode()).rows
    )


@given(st.binary(max_size=200), DOCUMENTS, st.integers(0, 199))
def test_broken_messagepack_never_raises(noise: bytes, document: Any, place: int) -> None:
    packed = bytearray(msgspec.msgpack.encode(document))
    packed[place % len(packed) : place % len(packed) + 1] = noise[:1]
    for payload in (noise, bytes(packed), bytes(packed[:-1])):
        check(decoder("msgpack")(payload))
        check(decoder({"type": "msgpack", "each": "a", "name": "n", "value": "v"})(payload))


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "empty message"),
        (b"\x81\xa1a\x01\x00", "1 bytes after its end"),
        (b"\x82\xa1a\x01\xa1a\x02", "stands twice"),
        (b"\x82\x01\x01\xa11\x02", "one spelling"),
        (b"\x81\xc0\x01", "neither text nor number"),
        (b"\x81\xa1\xff\x01", "UTF-8"),
        (b"\xdd\xff\xff\xff\xff", "ends too early"),
        (b"\xdd\x00\x0f\xff\xff" * 200_000, "ends too early"),
        (b"\x91" * 1_000_000, "more than"),
        (b"\x91" * 2000 + b"\x01", "not MessagePack"),
        (b"\xc1", "not MessagePack"),
        (b"\xdd\x00\x0f\x42\x3b" + b"\x01" * 999_995, "more than"),
    ],
)
def test_messagepack_that_cannot_be_read_says_why(payload: bytes, reason: str) -> None:
    assert reason in why(decoder("msgpack")(payload))


def test_messagepack_times() -> None:
    packed = msgspec.msgpack.encode(
        {"t": msgspec.json.decode('"2023-11-14T22:13:20Z"', type=__import__("datetime").datetime), "v": 1}
    )
    assert rows(decoder({"type": "msgpack", "time": "t"}, {"name": "x", "value": "v"})(packed)) == [
        (0, 1, T * MS)
    ]


# --- binary

LAYOUT = {
    "type": "binary",
    "time": "ms",
    "time_unit": "ms",
    "header": [{"name": "ms", "at": 0, "as": "uint64"}],
    "records": {"at": 8, "size": 12, "every": "10ms"},
    "fields": [
        {"name": "load", "at": 0, "as": "float32"},
        {"name": "count", "at": 4, "as": "int16"},
        {"name": "door", "at": 6, "as": "uint16", "bit": 3},
        {"name": "tool", "at": 8, "as": "text", "length": 4},
    ],
}


@pytest.mark.parametrize(("endian", "order"), [("big", ">"), ("little", "<")])
@given(
    st.lists(
        st.tuples(
            st.floats(width=32, allow_nan=False), st.integers(-(2**15), 2**15 - 1), st.integers(0, 2**16 - 1)
        ),
        min_size=1,
        max_size=5,
    )
)
def test_binary_records_are_what_struct_packs(endian: str, order: str, written: list[Any]) -> None:
    packed = struct.pack(order + "Q", T)
    packed += b"".join(struct.pack(order + "fhH4s", *record, b"ab\0\0") for record in written)
    expected = [
        (name, value, (T + 10 * n) * MS)
        for n, (load, count, bits) in enumerate(written)
        for name, value in (("load", load), ("count", count), ("door", bool(bits & 8)), ("tool", "ab"))
    ]
    assert rows(decoder({**LAYOUT, "endian": endian})(packed)) == expected
    assert [row[0] for row in rows(decoder({**LAYOUT, "endian": endian}, "count")(packed))] == [
        "count"
    ] * len(written)


@given(st.binary(max_size=100))
def test_no_bytes_raise(payload: bytes) -> None:
    for decode in (decoder(LAYOUT), decoder("csv"), decoder("line"), decoder("msgpack")):
        check(decode(payload))


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "are not 8 and whole records"),
        (bytes(8), "are not 8 and whole records"),
        (bytes(21), "are not 8 and whole records"),
        (bytes(8 + 12 * MOST), "more than"),
    ],
)
def test_a_binary_message_of_another_length_is_refused(payload: bytes, reason: str) -> None:
    assert reason in why(decoder(LAYOUT)(payload))
    single = decoder({"type": "binary", "fields": [{"name": "a", "at": 0, "as": "uint16"}], "size": 4})
    assert rows(single(b"\x01\x00\xff\xff")) == [("a", 256, None)]
    assert "3 bytes where the layout describes 4" in why(single(bytes(3)))
