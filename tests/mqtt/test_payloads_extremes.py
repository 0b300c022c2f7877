"""Times, numbers and names at the edge of what can be stored, all the way to the batch: stored, set aside, or timed by receipt, never an
exception, which would end the session and bring the same message again for ever. Oracles: whole numbers, fractions and `datetime`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import cbor2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.base import Bench
from adapters.mqtt.adopted import Adopted
from adapters.mqtt.channel import Message
from adapters.mqtt.routes import Routes
from adapters.mqtt.settings import MqttRead
from adapters.mqtt.sheet import Sheet
from adapters.settings import Reading
from pipelines.batch import Flag
from pipelines.codec import decode, encode
from pipelines.registry import Registry
from tests.mqtt.peers import Shop

RECEIPT = 10**18
LATEST = 2**63 - 1
Cell = tuple[str, int | None, Any]


def stored(read: Mapping[str, Any], *payloads: bytes, adopt: bool = True) -> list[Cell]:
    """(name, time, value) of what the journal would hold; the time is None where receipt stands in."""
    registry = Registry()
    whole = {"source": "b", "topic": "t", "adopt": adopt, **read}
    reading = Reading(machine="m", tags={}, read=MqttRead.model_validate(whole))
    routes = Routes([reading], Bench(registry, Shop(1).clock), Adopted(50))
    sheet = Sheet()
    for payload in payloads:
        message = Message(b"t", payload, 1, 1, False, False, RECEIPT, len(payload))
        if not routes.read_quickly(message, sheet):
            routes.read(message, RECEIPT, sheet)
    batches = decode(encode(sheet.batches(RECEIPT, registry.version)))
    rows = [
        (registry[point].name, None if flags & Flag.TIME_SUBSTITUTED else at, value)
        for batch in batches
        for point, at, value, flags in zip(
            batch.points.tolist(), batch.at.tolist(), batch.values.tolist(), batch.flags.tolist(), strict=True
        )
    ]
    assert sheet.decoded == len(rows) + sum(each.values for each in sheet.refused)
    return rows


def within(ns: int) -> int | None:
    return ns if -LATEST <= ns <= LATEST else None


UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
WRITERS: Mapping[str, Any] = {
    "json": lambda document: json.dumps(document).encode(),
    "cbor": cbor2.dumps,
    "msgpack": msgspec.msgpack.encode,
    "csv": lambda document: f"t,v\n{document['t']},{document['v']}\n".encode(),
    "line": lambda document: f"m v={document['v']} {document['t']}".encode(),
}
EDGES = st.sampled_from([LATEST // factor * sign + more for factor in UNITS.values() for sign in (1, -1) for more in (-1, 0, 1)])  # fmt: skip


@given(st.sampled_from([*WRITERS]), st.sampled_from([*UNITS]), EDGES | st.integers(-(2**63), 2**64 - 1))
def test_a_whole_number_is_a_time_or_receipt_stands_in(kind: str, unit: str, time: int) -> None:
    """M13: with a unit it is that number of them, wherever 64 bits of nanoseconds end."""
    payload = {"type": kind, **({"precision": unit} if kind == "line" else {"time": "t", "time_unit": unit})}
    assert stored({"payload": payload}, WRITERS[kind]({"t": time, "v": 1.5})) == [
        ("m.v" if kind == "line" else "v", within(time * UNITS[unit]), 1.5)
    ]


@pytest.mark.parametrize("kind", ["json", "cbor", "msgpack", "csv"])
@pytest.mark.parametrize(
    ("time", "ns"),
    [
        (9_223_372_036_854, 9_223_372_036_854 * 10**6),
        (9_223_372_036_855, None),  # ms, by its size, of the year 2262
        (99_999_999_999_999, None),
        (9_223_372_036_854_775, 9_223_372_036_854_775 * 10**3),
        (9_223_372_036_854_776, None),
        (-9_223_372_036_855, None),
    ],
)
def test_a_time_without_a_unit_beyond_2262(kind: str, time: int, ns: int | None) -> None:
    """M13: one such number ended the source again and again."""
    assert stored({"payload": {"type": kind, "time": "t"}}, WRITERS[kind]({"t": time, "v": 1.5})) == [
        ("v", ns, 1.5)
    ]


FIRST, LAST = (datetime(1970, 1, 1) + timedelta(microseconds=sign * LATEST // 1000) for sign in (-1, 1))  # noqa: DTZ001
WEEK = timedelta(days=7)


@given(st.datetimes(FIRST - WEEK, FIRST + WEEK) | st.datetimes(LAST - WEEK, LAST + WEEK), st.integers(-5999, 5999))  # fmt: skip
def test_a_text_with_an_offset_is_a_time_or_receipt_stands_in(moment: datetime, offset: int) -> None:
    """M13: the offset may lead beyond what is still a time without it."""
    hours, minutes = divmod(abs(offset), 60)
    zone = f"{'-' if offset < 0 else '+'}{hours:02d}{minutes:02d}"
    since = moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    seconds = since.days * 86_400 + since.seconds - (-1 if offset < 0 else 1) * 60 * abs(offset)
    expected = within((seconds * 10**6 + since.microseconds) * 1000)
    payload = {"type": "csv", "time": "t", "time_format": "%Y-%m-%d %H:%M:%S.%f%z"}
    text = moment.strftime("%Y-%m-%d %H:%M:%S.%f") + zone
    assert stored({"payload": payload}, f"t,v\n{text},2\n".encode()) == [("v", expected, 2.0)]


@pytest.mark.parametrize(
    ("zone", "text"), [("America/New_York", "2262-04-11 23:47:16"), ("Asia/Tokyo", "1677-09-21 00:12:45")]
)
def test_a_local_time_that_is_none_in_utc(zone: str, text: str) -> None:
    """M13: the same of a time zone."""
    for more in ({}, {"time_format": "%Y-%m-%d %H:%M:%S"}):
        payload = {"type": "json", "time": "t", "time_zone": zone, **more}
        assert stored({"payload": payload}, json.dumps({"t": text, "v": 2}).encode()) == [("v", None, 2.0)]


@given(st.integers(0, 3 * 10**9), st.integers(1, 6))
def test_records_that_run_out_of_time(before: int, records: int) -> None:
    """M13: the first records are still of the year 2262."""
    payload = {
        "type": "binary", "time": "t", "time_unit": "ns", "records": {"at": 8, "size": 1, "every": "1s"},
        "header": [{"name": "t", "at": 0, "as": "uint64"}], "fields": [{"name": "v", "at": 0, "as": "uint8"}],
    }  # fmt: skip
    first = LATEST - before
    found = stored({"payload": payload}, struct.pack(">Q", first) + bytes(records))
    assert [at for _, at, _ in found] == [within(first + n * 10**9) for n in range(records)]


NUMBERS = (
    st.integers(-(10**400), 10**400)
    | st.sampled_from([10**308, 10**309, -(10**309), 2**63, 2**64])
    | st.floats(allow_nan=False, allow_infinity=False)
)


@given(st.lists(NUMBERS, min_size=1, max_size=4), st.sampled_from(["json", "cbor"]))
def test_numbers_beyond_a_double_alone_and_in_lists(numbers: list[float], kind: str) -> None:
    """B2: refused by themselves, and the others are what they are."""
    fits = [abs(Fraction(number)) < 2**1024 - 2**970 for number in numbers]  # half a step beyond the largest
    signals = [{"name": "list", "value": "w", "kind": "waveform"}]
    signals += [{"name": f"n{n}", "value": f"n{n}"} for n in range(len(numbers))]
    if kind == "cbor":
        numbers = [number if abs(number) < 2**1024 else 2**1024 for number in numbers]
    document = {"w": numbers, **{f"n{n}": number for n, number in enumerate(numbers)}}
    found = stored({"payload": kind, "signals": signals}, WRITERS[kind](document), adopt=False)
    alone = [(f"n{n}", None, float(number)) for n, number in enumerate(numbers) if fits[n]]
    assert [cell for cell in found if cell[0] != "list"] == alone
    lists = [cell[2].tolist() for cell in found if cell[0] == "list"]
    assert lists == ([[float(number) for number in numbers]] if all(fits) else [])


@given(st.lists(st.text("\"'[].a 0", max_size=6), min_size=1, max_size=4, unique=True), st.booleans())
def test_whatever_a_key_is_called_each_value_has_its_name(keys: list[str], nested: bool) -> None:
    """B3: quotes of both sorts too, in which a second message was once not read any more; twice, because it may go the shortest way."""
    inner: Any = dict(zip(keys, range(len(keys)), strict=True))
    document = {"t": 1_700_000_000, **({'"': inner} if nested else inner)}
    payload = {"type": "json", "time": "t"}
    found = stored({"payload": payload}, *[json.dumps(document).encode()] * 2)
    names = [name for name, _, _ in found]
    assert names[: len(keys)] == names[len(keys) :]
    assert len(set(names)) == len(keys)
    assert [value for _, _, value in found] == [float(n) for n in range(len(keys))] * 2
