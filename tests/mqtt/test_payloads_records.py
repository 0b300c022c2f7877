"""Documents with more than one value for each signal, against a reader of six lines."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt.payloads.shape import MOST, Series
from pipelines import quality as q
from tests.mqtt.decoding import check, decoder, rows, why

T = 1_700_000_000_000
MS = 10**6
SCALARS = (
    st.integers(-9, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3)
    | st.booleans()
)
RECORDS = st.fixed_dictionaries(
    {"t": st.integers(T, T + 99)}, optional={"n": st.sampled_from("abc"), "v": SCALARS}
)


def dump(document: Any) -> bytes:
    return json.dumps(document).encode()


@given(st.lists(RECORDS, max_size=8))
def test_each_record_has_its_own_time_and_name(records: list[dict[str, Any]]) -> None:
    decode = decoder(
        {"type": "json", "each": "readings", "time": "t", "name": "n", "value": "v"}, "a", "b", adopt=False
    )
    decoded = check(decode(dump({"readings": records})))
    named = [record for record in records if "n" in record]
    expected = [(r["n"], r["v"], r["t"] * MS) for r in named if r["n"] in "ab" and "v" in r]
    assert [(row.key, row.value, row.at) for row in decoded.rows] == expected
    lost = sum("n" not in r for r in records) + sum("v" not in r and r["n"] in "ab" for r in named)
    assert decoded.seen == len(expected) + lost


@given(st.lists(RECORDS, max_size=8))
def test_records_by_path_and_adopted(records: list[dict[str, Any]]) -> None:
    listed = decoder({"type": "json", "each": "", "time": "t"}, {"name": "x", "value": "v"})
    decoded = check(listed(dump(records)))
    assert [(row.value, row.at) for row in decoded.rows] == [
        (r["v"], r["t"] * MS) for r in records if "v" in r
    ]
    adopted = check(decoder({"type": "json", "each": "", "time": "t"})(dump(records)))
    assert [(row.key, row.value) for row in adopted.rows] == [
        (key, value) for r in records for key, value in r.items() if key != "t"
    ]


def test_what_is_the_same_for_all_records_may_stand_outside() -> None:
    decode = decoder(
        {"type": "json", "each": "d", "time": "t", "name": "n", "value": "v", "unit_from": "u"}, adopt=True
    )
    decoded = decode(
        dump({"t": T, "u": "kW", "d": [{"n": "a", "v": 1}, {"n": "b", "v": 2, "t": T + 1, "u": "V"}]})
    )
    assert [(row.key, row.at) for row in decoded.rows] == [
        (Series("a", "kW"), T * MS),
        (Series("b", "V"), (T + 1) * MS),
    ]


@given(st.lists(SCALARS, max_size=20), st.integers(1, 10**6))
def test_samples_counted_from_a_start(values: list[Any], interval: int) -> None:
    decode = decoder(
        {"type": "json", "samples": {"start": "t0", "interval": "dt", "interval_unit": "us"}},
        {"name": "x", "value": "v"},
    )
    decoded = check(decode(dump({"t0": T, "dt": interval, "v": values})))
    assert rows(decoded) == [(0, value, T * MS + n * interval * 1000) for n, value in enumerate(values)]
    every = decoder({"type": "json", "time": "t0", "samples": {"every": "10ms"}}, {"name": "x", "value": "v"})
    assert rows(every(dump({"t0": T, "v": values}))) == [
        (0, value, (T + 10 * n) * MS) for n, value in enumerate(values)
    ]


@given(st.lists(st.tuples(st.integers(T, T + 99), SCALARS), max_size=20))
def test_samples_in_pairs_and_beside_their_times(pairs: list[tuple[int, Any]]) -> None:
    expected = [(value, t * MS) for t, value in pairs]
    paired = decoder({"type": "json", "samples": {"pairs": True}}, {"name": "x", "value": "v"})
    assert [row[1:] for row in rows(paired(dump({"v": pairs})))] == expected
    beside = decoder({"type": "json", "samples": {"times": "t"}})
    document = {"v": [value for _, value in pairs], "t": [t for t, _ in pairs]}
    assert rows(beside(dump(document))) == [("v", value, at) for value, at in expected]


@pytest.mark.parametrize(
    ("samples", "document", "reason"),
    [
        ({"every": "1s"}, {"v": 5}, "no list of samples"),
        ({"interval": "dt"}, {"v": [1, 2]}, "no interval"),
        ({"interval": "dt"}, {"v": [1, 2], "dt": -1}, "no interval"),
        ({"interval": "dt"}, {"v": [1, 2], "dt": 10**400}, "no interval"),
        ({"interval": "dt", "start": "s", "interval_unit": "s"}, {"v": [1, 2], "dt": 9e17, "s": T}, "2262"),
        ({"times": "t"}, {"v": [1, 2], "t": [T]}, "list of times"),
        ({"pairs": True}, {"v": [[T], 7, [T, 1, 2]]}, "where a value was expected"),
        ({"every": "1s"}, {"v": [1] * (MOST + 1)}, "more than"),
    ],
)
def test_samples_without_times_are_refused(samples: Any, document: Any, reason: str) -> None:
    assert reason in why(
        decoder({"type": "json", "samples": samples}, {"name": "x", "value": "v"})(dump(document))
    )


@pytest.mark.parametrize(
    ("word", "status"),
    [
        (0, q.GOOD),
        ("0", q.GOOD),
        (0.0, q.GOOD),
        ("ok", q.GOOD),
        ("OK", q.UNCERTAIN),
        (False, q.UNCERTAIN),
        (1, q.UNCERTAIN),
        ("weak", q.UNCERTAIN),
        ("dead", q.BAD),
        (None, q.UNCERTAIN),
        ([], q.UNCERTAIN),
        (10**400, q.UNCERTAIN),
    ],
)
def test_quality_by_a_map(word: Any, status: int) -> None:
    payload = {
        "type": "json",
        "quality": {"value": "q", "good": [0, "ok"], "uncertain": ["weak"], "bad": ["dead"]},
    }
    decoded = decoder(payload, {"name": "x", "value": "v"})(dump({"v": 1, "q": word}))
    assert [(row.value, row.quality) for row in decoded.rows] == [(1, status)]


def test_a_missing_quality_is_good_only_where_null_is_listed() -> None:
    for good, status in (([None, 0], q.GOOD), ([0], q.UNCERTAIN)):
        decode = decoder(
            {"type": "json", "quality": {"value": "q", "good": good}}, {"name": "x", "value": "v"}
        )
        assert decode(b'{"v": 1}').rows[0].quality == status
        assert decode(b'{"v": null, "q": 0}').rows[0].quality == q.BAD_NO_DATA


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"{}", "no list of records at readings"),
        (b'{"readings": {}}', "no list of records"),
        (b'{"readings": [1, "x", null, []]}', "without its name"),
        (b'{"readings": [{"v": 1}]}', "without its name"),
        (b'{"readings": [{"n": "", "v": 1}]}', "without its name"),
        (b'{"readings": [{"n": "a"}]}', "without its value"),
        (b'{"readings": [{"n": "a", "v": {}}]}', "an object where"),
        (b'{"readings": [' + b",".join([b'{"n": "a", "v": 1}'] * (MOST + 1)) + b"]}", "more than"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
    ],
)
def test_records_that_cannot_be_read_say_why(payload: bytes, reason: str) -> None:
    decode = decoder({"type": "json", "each": "readings", "name": "n", "value": "v"})
    assert reason in why(decode(payload))
