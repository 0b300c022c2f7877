"""Payload decoders against plain models; none of them may raise, whatever the bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt.paths import parse_path, spell
from adapters.mqtt.payloads.bare import BARE, flag, number, text
from adapters.mqtt.payloads.document import adopting, listed
from adapters.mqtt.payloads.shape import Decode, Decoded
from adapters.mqtt.payloads.shdr import Items, shdr
from adapters.mqtt.times import epoch, reader, rfc3339
from pipelines import quality as q
from pipelines.batch import Kind

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\"'"), min_size=1, max_size=8)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4)
)


def only(decoded: Decoded) -> Any:
    assert decoded.seen == 1
    assert not decoded.refused
    return decoded.rows[0].value


def reasons(decoded: Decoded) -> str:
    assert not decoded.rows
    return " ".join(refused.reason for refused in decoded.refused)


def json_of(*paths: str, time: str = "", unit: str = "auto") -> Decode:
    return listed([parse_path(path) for path in paths], parse_path(time) if time else None, reader(unit))


DECODERS: Sequence[Decode] = (
    *BARE.values(),
    json_of("a", "b[0].c", time="t"),
    adopting(parse_path("t"), reader("auto")),
    shdr(Items(numbers=["*"], conditions=["c"], messages=["m"], time_series=["s"])),
)


@given(
    st.binary() | st.text().map(str.encode) | DOCUMENTS.map(lambda document: json.dumps(document).encode())
)
def test_no_bytes_raise_and_every_value_seen_is_a_row_or_refused(payload: bytes) -> None:
    for decode in DECODERS:
        decoded = decode(payload)
        assert decoded.seen == len(decoded.rows) + sum(refused.values for refused in decoded.refused)


@given(
    st.lists(
        st.sampled_from(
            [
                "",
                "a",
                "c",
                "m",
                "s",
                "1",
                "UNAVAILABLE",
                "NORMAL",
                '"q',
                "\\|",
                "@ASSET@",
                "*",
                "\n",
                "2024-01-01T00:00:00Z",
            ]
        ),
        max_size=20,
    )
)
def test_shdr_conserves_whatever_the_fields(parts: list[str]) -> None:
    decoded = DECODERS[-1]("|".join(parts).encode())
    assert decoded.seen == len(decoded.rows) + sum(refused.values for refused in decoded.refused)


# --- JSON


def _model(document: Any, path: tuple[str | int, ...]) -> list[tuple[str, Any]]:
    if isinstance(document, dict):
        return [leaf for key, value in document.items() for leaf in _model(value, (*path, key))]
    if isinstance(document, list):
        return [leaf for n, value in enumerate(document) for leaf in _model(value, (*path, n))]
    return [(spell(path), document)]


@given(st.dictionaries(NAMES, DOCUMENTS, min_size=1, max_size=5))
def test_an_adopted_document_gives_each_leaf_under_its_path(document: dict[str, Any]) -> None:
    decoded = adopting(None, reader("auto"))(json.dumps(document).encode())
    expected = _model(document, ())
    assert [(row.key, row.value) for row in decoded.rows] == expected
    assert decoded.seen == max(1, len(expected))


@given(st.lists(st.text("a.'\"[]0 \n", max_size=6) | NAMES | st.integers(0, 999), max_size=5))
def test_a_path_survives_spelling(path: list[str | int]) -> None:
    assert parse_path(spell(tuple(path))) == tuple(path)


@pytest.mark.parametrize("text_", [".a", "a..b", "a.", "[x]", "a[", 'a["b', "[-1]"])
def test_what_is_no_path_is_refused_with_an_example(text_: str) -> None:
    with pytest.raises(ValueError, match="P_total"):
        parse_path(text_)


def test_listed_values_by_path() -> None:
    decoded = json_of("P_total", "U.L1", "phases[1].U", "gone")(
        b'{"P_total": 5, "U": {"L1": 230.5}, "phases": [{"U": 1}, {"U": "x"}]}'
    )
    assert [(row.key, row.kind, row.value) for row in decoded.rows] == [
        (0, Kind.NUMBER, 5),
        (1, Kind.NUMBER, 230.5),
        (2, Kind.TEXT, "x"),
    ]


def test_a_message_without_any_configured_value_names_its_keys() -> None:
    assert reasons(json_of("x", "y.z")(b'{"a": 1, "b": 2}')) == (
        "none of the configured values (x, y.z): the message has the keys a, b"
    )


def test_null_has_no_value_and_objects_are_refused() -> None:
    decoded = json_of("a", "b", "c")(b'{"a": null, "b": {"c": 1}, "c": [1, 2.5]}')
    assert [(row.kind, row.quality) for row in decoded.rows] == [
        (None, q.BAD_NO_DATA),
        (Kind.WAVEFORM, q.GOOD),
    ]
    assert [refused.reason for refused in decoded.refused] == ["an object where a value was expected"]
    assert decoded.seen == 3


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "empty"),
        (b'{"a": NaN}', "not JSON"),
        (b'{"a": Infinity}', "not JSON"),
        (b'{"a": 1', "not JSON"),
        (b'{"a": 1} {"a": 2}', "trailing"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b'{"a": 1e999}', "not JSON"),
        (b'{"a": ' + b"9" * 400 + b"}", "beyond the range"),
        (b"[" * 5000 + b"]" * 5000, "nested too deeply"),
    ],
)
def test_json_that_cannot_be_read_says_why(payload: bytes, reason: str) -> None:
    assert reason in reasons(json_of("a")(payload))


def test_an_integer_beyond_64_bits_is_kept_for_the_double_it_becomes() -> None:
    assert only(json_of("a")(b'{"a": 36893488147419103232}')) == 2**65


# --- bare


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**30), 10**30))
def test_numbers_are_exact(value: float) -> None:
    assert only(number(f" {value!r}\n".encode())) == float(value)


@pytest.mark.parametrize(
    "payload",
    [b"1,5", b"-1.234,5", b"", b"  ", b"abc", b"0x10", b"1_000", b"1e", b"\xb2", b"1 2", b"9" * 2000],
)
def test_what_is_no_number_is_refused(payload: bytes) -> None:
    assert reasons(number(payload))


def test_a_decimal_comma_is_named() -> None:
    assert "decimal comma" in reasons(number(b"21,5"))


def test_nan_is_left_to_refining() -> None:
    assert math.isnan(only(number(b"NaN")))
    assert only(number(b" -inf ")) == -math.inf


@given(st.text())
def test_text_is_kept_as_it_is(value: str) -> None:
    assert only(text(value.encode())) == value


def test_text_that_is_not_utf8_is_refused_with_its_place() -> None:
    assert reasons(text(b"ab\xff")) == "not UTF-8: byte 0xff at place 2"


@pytest.mark.parametrize(
    ("payload", "value"), [(b"ON", True), (b" no\n", False), (b"1", True), (b"False", False)]
)
def test_flags(payload: bytes, value: bool) -> None:
    assert only(flag(payload)) is value


def test_another_word_is_no_flag() -> None:
    assert reasons(flag(b"maybe"))


# --- times


@given(st.datetimes(timezones=st.just(__import__("datetime").timezone.utc)), st.integers(0, 10**9 - 1))
def test_rfc3339_to_the_nanosecond(moment: Any, nanoseconds: int) -> None:
    moment = moment.replace(microsecond=0)
    if not 1700 < moment.year < 2250:
        return
    expected = round(moment.timestamp()) * 10**9 + nanoseconds
    assert rfc3339(f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z".rjust(30, "0")) == expected


@pytest.mark.parametrize(
    ("written", "ns"),
    [
        ("2022-08-08T13:51:34.7167146Z", 1659966694716714600),
        ("2022-08-08T15:51:34.7167146+02:00", 1659966694716714600),
        ("2022-08-08 13:51:34", 1659966694000000000),
        ("2016-12-31T23:59:60Z", 1483228800000000000),
        ("2022-02-30T00:00:00Z", None),
        ("2022-08-08", None),
        ("9999-01-01T00:00:00Z", None),
        ("", None),
    ],
)
def test_times_as_text(written: str, ns: int | None) -> None:
    assert rfc3339(written) == ns


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_the_unit_of_a_number_is_told_by_its_size(unit: str) -> None:
    size = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    assert epoch(1_700_000_000 * size, "auto") == epoch(1_700_000_000 * size, unit) == 1_700_000_000 * 10**9


def test_fractions_of_seconds_are_kept_to_the_microsecond() -> None:
    assert epoch(1700000000.123457, "s") == 1700000000123457000
    assert epoch(math.nan, "auto") is epoch(math.inf, "s") is epoch(1e300, "ms") is None


def test_a_time_that_is_none_leaves_the_value() -> None:
    decoded = json_of("v", time="ts")(b'{"v": 1, "ts": "yesterday"}')
    assert [row.at for row in decoded.rows] == [None]
    assert json_of("v", time="ts")(b'{"v": 1, "ts": 1700000000123}').rows[0].at == 1700000000123 * 10**6


# --- SHDR


def rows(line: str, items: Items | None = None) -> list[tuple[Any, Any]]:
    decoded = shdr(items or Items())(line.encode())
    assert not decoded.refused
    return [(row.key, row.value) for row in decoded.rows]


T = "2024-01-01T00:00:00.000Z"


def test_shdr_items_are_text_unless_told_otherwise() -> None:
    assert rows(f"{T}|tool|123456.20|load|5") == [("tool", "123456.20"), ("load", "5")]
    assert rows(f"{T}|load|5|tool|7", Items(numbers=["lo*"])) == [("load", 5.0), ("tool", "7")]


def test_a_number_item_that_says_something_else_loses_nothing() -> None:
    assert rows(f"{T}|load|OVERFLOW", Items(numbers=["load"])) == [("load", None), ("load.text", "OVERFLOW")]


def test_unavailable_is_a_value_that_is_missing() -> None:
    decoded = shdr(Items())(f"{T}|a|UNAVAILABLE|b|UNAVAILABLE|c|UNAVAILABLE".encode())
    assert [(row.key, row.kind, row.quality) for row in decoded.rows] == [
        (name, None, q.BAD_NO_COMMUNICATION) for name in "abc"
    ]


def test_a_condition_is_known_by_its_shape() -> None:
    assert rows(f"{T}|hydraulic|FAULT|E42|9|HIGH|pressure too high") == [
        ("hydraulic", "FAULT"),
        ("hydraulic.code", "E42"),
        ("hydraulic.severity", "9"),
        ("hydraulic.qualifier", "HIGH"),
        ("hydraulic.message", "pressure too high"),
    ]
    assert rows(f"{T}|a|NORMAL|b|FAULT|c|WARNING") == [("a", "NORMAL"), ("b", "FAULT"), ("c", "WARNING")]


def test_a_named_condition_may_stand_among_items() -> None:
    assert len(rows(f"{T}|a|1|cond|FAULT|1|2|odd|text|b|2", Items(conditions=["cond"]))) == 7


def test_an_asset_of_several_lines_is_put_together() -> None:
    whole = f"{T}|@ASSET@|id1|Tool|--multiline--AB\n<Tool>\n</Tool>\n--multiline--AB\n{T}|x|1"
    assert rows(whole) == [
        ("@ASSET@.id", "id1"),
        ("@ASSET@.type", "Tool"),
        ("@ASSET@", "<Tool>\n</Tool>"),
        ("x", "1"),
    ]
    lines = whole.replace("\n</Tool>", "</Tool>").split("\n")
    assert [row for line in lines for row in rows(line)] == [
        ("@ASSET@.id", "id1"),
        ("@ASSET@.type", "Tool"),
        ("@ASSET@", "<Tool></Tool>"),
        ("x", "1"),
    ]


def test_escaped_bars_heartbeats_and_remarks() -> None:
    assert rows(f'{T}|text|"a\\|b"|n|1') == [("text", "a|b"), ("n", "1")]
    assert rows("* PONG 10000") == []
    assert rows("* adapterVersion: 2.0") == [("*adapterVersion", "2.0")]


def test_an_item_without_value_and_a_line_without_time_are_refused() -> None:
    assert reasons(shdr(Items())(f"{T}|alone".encode()))
    assert "not an SHDR line" in reasons(shdr(Items())(b"yesterday|a|1"))
    assert shdr(Items())(b"|a|1").rows[0].at is None
