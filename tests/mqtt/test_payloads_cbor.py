"""CBOR (RFC 8949): the examples of its appendix A, and cbor2 as a second opinion on everything else."""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt.payloads.cbor import ITEMS, parse_cbor
from adapters.mqtt.payloads.document import Unreadable
from adapters.mqtt.payloads.shape import Decoded
from pipelines import quality as q
from pipelines.batch import Kind
from tests.mqtt.decoding import BRIEFLY, check, cpu, decoder, rows, why

NAN, INF = math.nan, math.inf
TO_25 = list(range(1, 26))
EXAMPLES: list[tuple[str, Any]] = [
    ("00", 0), ("01", 1), ("0a", 10), ("17", 23), ("1818", 24), ("1819", 25), ("1864", 100), ("1903e8", 1000),
    ("1a000f4240", 1000000), ("1b000000e8d4a51000", 1000000000000), ("1bffffffffffffffff", 18446744073709551615),
    ("c249010000000000000000", 18446744073709551616), ("3bffffffffffffffff", -18446744073709551616),
    ("c349010000000000000000", -18446744073709551617), ("20", -1), ("29", -10), ("3863", -100), ("3903e7", -1000),
    ("f90000", 0.0), ("f98000", -0.0), ("f93c00", 1.0), ("fb3ff199999999999a", 1.1), ("f93e00", 1.5),
    ("f97bff", 65504.0), ("fa47c35000", 100000.0), ("fa7f7fffff", 3.4028234663852886e38),
    ("fb7e37e43c8800759c", 1.0e300), ("f90001", 5.960464477539063e-8), ("f90400", 0.00006103515625), ("f9c400", -4.0),
    ("fbc010666666666666", -4.1), ("f97c00", INF), ("f97e00", NAN), ("f9fc00", -INF), ("fa7f800000", INF),
    ("fa7fc00000", NAN), ("faff800000", -INF), ("fb7ff0000000000000", INF), ("fb7ff8000000000000", NAN),
    ("fbfff0000000000000", -INF), ("f4", False), ("f5", True), ("f6", None), ("f7", None),
    ("f0", Unreadable("the simple value 16")), ("f8ff", Unreadable("the simple value 255")),
    ("c074323031332d30332d32315432303a30343a30305a", "2013-03-21T20:04:00Z"),
    ("c11a514b67b0", "2013-03-21T20:04:00.000000000Z"), ("c1fb41d452d9ec200000", "2013-03-21T20:04:00.500000000Z"),
    ("d74401020304", b"\1\2\3\4"), ("d818456449455446", Unreadable("a value of the CBOR tag 24")),
    ("d82076687474703a2f2f7777772e6578616d706c652e636f6d", "http://www.example.com"), ("40", b""),
    ("4401020304", b"\1\2\3\4"), ("60", ""), ("6161", "a"), ("6449455446", "IETF"), ("62225c", '"\\'),
    ("62c3bc", "\u00fc"), ("63e6b0b4", "\u6c34"), ("64f0908591", "\U00010151"), ("80", []), ("83010203", [1, 2, 3]),
    ("8301820203820405", [1, [2, 3], [4, 5]]),
    ("98190102030405060708090a0b0c0d0e0f101112131415161718181819", TO_25), ("a0", {}),
    ("a201020304", {"1": 2, "3": 4}), ("a26161016162820203", {"a": 1, "b": [2, 3]}),
    ("826161a161626163", ["a", {"b": "c"}]),
    ("a56161614161626142616361436164614461656145", {"a": "A", "b": "B", "c": "C", "d": "D", "e": "E"}),
    ("5f42010243030405ff", b"\1\2\3\4\5"), ("7f657374726561646d696e67ff", "streaming"), ("9fff", []),
    ("9f018202039f0405ffff", [1, [2, 3], [4, 5]]), ("9f01820203820405ff", [1, [2, 3], [4, 5]]),
    ("83018202039f0405ff", [1, [2, 3], [4, 5]]), ("83019f0203ff820405", [1, [2, 3], [4, 5]]),
    ("9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff", TO_25),
    ("bf61610161629f0203ffff", {"a": 1, "b": [2, 3]}), ("826161bf61626163ff", ["a", {"b": "c"}]),
    ("bf6346756ef563416d7421ff", {"Fun": True, "Amt": -2}),
]  # fmt: skip


@pytest.mark.parametrize(("packed", "meant"), EXAMPLES, ids=[packed[:40] for packed, _ in EXAMPLES])
def test_the_examples_of_the_standard(packed: str, meant: Any) -> None:
    """RFC 8949, appendix A, all 81; where JSON has nothing like it, what stands in its place."""
    read = parse_cbor(bytes.fromhex(packed))
    assert repr(read) == repr(meant), "-0.0 and NaN too"
    assert type(read) is type(meant)


# RFC 8949, appendix F: "Well-Formedness Errors and Examples"
BROKEN = (
    "18 19 1a 1b 1901 1a0102 1b01020304050607 38 58 78 98 9a01ff00 b8 d8 f8 f900 fa0000 fb000000 "
    "41 61 5affffffff00 5bffffffffffffffff010203 7affffffff00 7b7fffffffffffffff010203 "
    "81 818181818181818181 8200 a1 a20102 a100 a2000000 c0 "
    "5f4100 7f6100 9f 9f0102 bf bf01020102 819f 9f8000 9f9f9f9f9fffffffff 9f819f819f9fffffff "
    "1c 1d 1e 3c 3d 3e 5c 5d 5e 7c 7d 7e 9c 9d 9e bc bd be dc dd de fc fd fe "
    "f800 f801 f818 f81f 5f00ff 5f21ff 5f6100ff 5f80ff 5fa0ff 5fc000ff 5fe0ff 7f4100ff "
    "5f5f4100ffff 7f7f6100ffff ff 81ff 8200ff a1ff a1ff00 a100ff a20000ff 9f81ff 9f829f819f9fffffffff bf00ff bf000000ff "
    "1f 3f df"
)


@pytest.mark.parametrize("packed", BROKEN.split())
def test_the_errors_of_the_standard(packed: str) -> None:
    """M13: none of them is read, and none raises."""
    assert isinstance(parse_cbor(bytes.fromhex(packed)), Decoded)


NUMBERS = st.integers(-(2**80), 2**80) | st.floats()
KEYS = st.text(max_size=5) | st.integers(-(2**64), 2**64 - 1)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


def plain(item: Any) -> Any:
    """With numbers as names."""
    if isinstance(item, dict):
        return {str(key): plain(value) for key, value in item.items()}
    return [plain(part) for part in item] if isinstance(item, list) else item


@given(DOCUMENTS, st.booleans(), st.booleans())
def test_cbor_says_what_cbor2_wrote(document: Any, canonical: bool, indefinite: bool) -> None:
    """canonical: halves and floats where they are exact, keys in order."""
    packed = cbor2.dumps(document, canonical=canonical, indefinite_containers=indefinite)
    if spelt_alike(document):
        assert isinstance(parse_cbor(packed), Decoded)
    else:
        assert repr(parse_cbor(packed)) == repr(plain(cbor2.loads(packed)))


def spelt_alike(item: Any) -> bool:
    if isinstance(item, dict):
        return len({str(key) for key in item}) < len(item) or any(map(spelt_alike, item.values()))
    return isinstance(item, list) and any(map(spelt_alike, item))


@given(st.binary(max_size=40), DOCUMENTS, st.integers(0, 60), st.integers(0, 255))
def test_broken_cbor_never_raises(noise: bytes, document: Any, place: int, byte: int) -> None:
    """M13: and what we read of strange bytes cbor2 reads too."""
    packed = bytearray(cbor2.dumps(document))
    packed[place % len(packed)] = byte
    for payload in (noise, bytes(packed), bytes(packed) + noise, bytes(packed)[:place]):
        check(decoder("cbor")(payload))
        check(decoder({"type": "cbor", "each": "a", "name": "n", "value": "v"})(payload))
        read = parse_cbor(payload)
        if not isinstance(read, Decoded) and b"\xc0" not in payload and b"\xc1" not in payload:
            try:
                second = cbor2.loads(payload)
            except cbor2.CBORDecodeError:
                assert any(byte >= 0xC0 for byte in payload), "it knows more of some tags, and refuses them"
            else:
                assert type(second) is type(read) or not isinstance(read, dict | list | str | bool)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "empty message"),
        (b"\xa2\x61a\x01\x61a\x02", "'a' stands twice"),
        (b"\xbf\x61a\x01\x61a\x02\xff", "'a' stands twice"),
        (b"\xa2\x01\x01\x611\x02", "'1' stands twice"),
        (b"\xa1\x41a\x01", "neither text nor number"),
        (b"\xa1\xf5\x01", "neither text nor number"),
        (b"\xa1\xf9\x3c\x00\x01", "neither text nor number"),
        (b"\xa1\xc2\x49\x01" + bytes(8) + b"\x01", "neither text nor number"),
        (b"\x01\x02", "1 bytes after its end"),
        (b"\x62\xff\xff", "not UTF-8"),
        (b"\x7f\x61\xc3\x61\xbc\xff", "not UTF-8"),
        (b"\x81" * 40 + b"\x01", "nested too deeply"),
        (b"\xc6" * 40 + b"\x01", "nested too deeply"),
        (b"\x9f" * 100_000, "nested too deeply"),
        (b"\x9b" + b"\x7f" + b"\xff" * 7, "ends too early"),
        (b"\xbb" + b"\x7f" + b"\xff" * 7, "ends too early"),
        (b"\x9a\x00\x0f\x42\x40" + b"\x01" * 10**6, f"more than {ITEMS} items"),
        (b"\x7f" + b"\x60" * 10**6 + b"\xff", "parts"),
        (b"\x41a", "a byte string where"),
        (b"\xd8\x25\x50" + bytes(16), "CBOR tag 37 where"),
        (b"\xc2\x58\x81" + b"\xff" * 129, "CBOR tag 2 where"),
        (b"\xc2\x58\x80" + b"\xff" * 128, "beyond the range of a double"),
    ],
)
def test_cbor_that_cannot_be_read_says_why(payload: bytes, reason: str) -> None:
    """M13."""
    assert reason in why(decoder("cbor", {"name": "x"})(payload))


def test_a_value_that_json_does_not_have_leaves_the_others() -> None:
    packed = b"\xa4\x61a\x01\x61b\x41x\x61c\xf7\x61d\xe5"
    decoded = check(decoder("cbor")(packed))
    assert [(row.key, row.kind, row.value, row.quality) for row in decoded.rows] == [
        ("a", Kind.NUMBER, 1, q.GOOD),
        ("c", None, None, q.BAD_NO_DATA),
    ]
    assert [refused.reason for refused in decoded.refused] == [
        "a byte string where a value was expected",
        "the simple value 5 where a value was expected",
    ]


MOMENT = datetime(2023, 11, 14, 22, 13, 20, 250_000, UTC)
MS = 1_700_000_000_250


@pytest.mark.parametrize("unit", ["auto", "s", "ms", "rfc3339"])
@pytest.mark.parametrize("as_timestamp", [False, True])
def test_a_moment_counts_whatever_the_unit_of_plain_numbers(unit: str, as_timestamp: bool) -> None:
    """Tags 0 and 1 (RFC 8949, 3.4.1 and 3.4.2)."""
    packed = cbor2.dumps({"t": MOMENT, "v": 5}, datetime_as_timestamp=as_timestamp)
    decode = decoder({"type": "cbor", "time": "t", "time_unit": unit}, {"name": "x", "value": "v"})
    assert rows(decode(packed)) == [(0, 5, MS * 10**6)]


def test_a_plain_number_is_a_time_in_its_unit_and_a_local_text_is_no_guess() -> None:
    decode = decoder({"type": "cbor", "time": "t", "time_unit": "ms"}, {"name": "x", "value": "v"})
    assert rows(decode(cbor2.dumps({"t": MS, "v": 5}))) == [(0, 5, MS * 10**6)]
    assert rows(decode(cbor2.dumps({"t": "2023-11-14T22:13:20", "v": 5}))) == [(0, 5, None)]
    assert rows(decode(cbor2.dumps({"t": cbor2.CBORTag(1, NAN), "v": 5})))[0][2] is None


def test_a_moment_far_away_is_none() -> None:
    for seconds in (1e300, -1e300, NAN, INF, 2**70):
        packed = b"\xc1" + cbor2.dumps(seconds)
        assert isinstance(parse_cbor(packed), Unreadable)
    assert parse_cbor(b"\xc1" + cbor2.dumps(-1)) == "1969-12-31T23:59:59.000000000Z"


@given(st.integers(-50, 50), st.integers(-(10**30), 10**30))
def test_decimal_fractions_are_the_nearest_double(exponent: int, mantissa: int) -> None:
    """Tags 4 and 5 (RFC 8949, 3.4.4): 273.15 is 4([-2, 27315])."""
    read = parse_cbor(cbor2.dumps(cbor2.CBORTag(4, [exponent, mantissa])))
    assert float(read) == float(Decimal(mantissa).scaleb(exponent))
    assert parse_cbor(cbor2.dumps(cbor2.CBORTag(5, [-1, 3]))) == 1.5
    assert isinstance(parse_cbor(cbor2.dumps(cbor2.CBORTag(4, [10**6, 1]))), Unreadable)


@pytest.mark.parametrize(
    ("tag", "code"), [(64, ">B"), (73, ">h"), (70, "<I"), (81, ">f"), (85, "<f"), (86, "<d"), (84, "<e")]
)
def test_typed_arrays_are_waveforms(tag: int, code: str) -> None:
    """RFC 8746: as sensors of vibration send them."""
    values = [0, 1, 2, 100, 7]
    packed = cbor2.dumps({"w": cbor2.CBORTag(tag, struct.pack(f"{code[0]}5{code[1]}", *values))})
    (row,) = check(decoder("cbor", {"name": "w", "value": "w"})(packed)).rows
    assert (row.kind, list(row.value)) == (Kind.WAVEFORM, values)
    assert isinstance(parse_cbor(cbor2.dumps(cbor2.CBORTag(86, b"123"))), Unreadable)


HOSTILE = {
    "flat": b"\x99\x75\x2f" + b"\x01" * 0x752F,
    "chunks": b"\x7f" + b"\x61a" * 500_000 + b"\xff",
    "bignums as keys": b"\xbf" + b"\xc2\x48" * 100_000,
    "numbers as keys": b"\xb9\x3a\x97" + b"".join(b"\x1b%b\x00" % (n << 44).to_bytes(8, "big") for n in range(14_999)),
    "tags": b"\x9f" + b"\xd8\x30\x01" * 300_000 + b"\xff",
    "typed array": b"\xd8\x40\x5a\x00\x0f\x42\x40" + bytes(10**6),
    "decimal fractions": b"\x9f" + b"\xc4\x82\x39\x01\x8f\x1b\x7f\xff\xff\xff\xff\xff\xff\xff" * 7_000 + b"\xff",
    "maps": b"\x9f" + b"\xa1\x61a\xa0" * 7_000 + b"\xff",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_megabyte_of_cbor_holds_the_loop_briefly(name: str) -> None:
    """M13: in CPU time, as for every other payload."""
    decode = decoder("cbor")
    check(decode(HOSTILE[name]))
    assert cpu(lambda: decode(HOSTILE[name])) < BRIEFLY
