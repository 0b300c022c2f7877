"""Times in formats and zones of the sender's own; the oracle is the standard library."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from adapters.mqtt.payload_settings import AnyPayload
from adapters.mqtt.payloads.moments import compiled, moments

BRUSSELS = ZoneInfo("Europe/Brussels")
FORMATS = (
    "%d/%m/%Y %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S.%f",
    "%d %b %Y %I:%M:%S %p",
    "%y%m%d%H%M%S",
    "%Y.%j %H:%M:%S",
    "[%d.%m.%Y](%H|%M|%S)%%",
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST, LAST = EPOCH.replace(tzinfo=None), datetime(2037, 1, 1, tzinfo=UTC).replace(tzinfo=None)


@given(st.datetimes(FIRST, LAST), st.sampled_from(FORMATS))
def test_a_format_reads_what_strptime_reads(moment: datetime, time_format: str) -> None:
    text = moment.strftime(time_format)
    expected = datetime.strptime(text, time_format).replace(tzinfo=UTC)
    assert moments("auto", time_format)(text) == (expected - EPOCH) // timedelta(microseconds=1) * 1000


@given(st.datetimes(FIRST, LAST, timezones=st.just(UTC)))
def test_a_local_time_is_that_moment_unless_the_clock_shows_it_twice(moment: datetime) -> None:
    local = moment.replace(microsecond=0).astimezone(BRUSSELS)
    twice = local.utcoffset() != local.replace(fold=not local.fold).utcoffset()
    expected = None if twice else round(local.timestamp()) * 10**9
    text = local.strftime("%d/%m/%Y %H:%M:%S")
    assert moments("auto", "%d/%m/%Y %H:%M:%S", "Europe/Brussels")(text) == expected
    assert moments("auto", "", "Europe/Brussels")(local.strftime("%Y-%m-%d %H:%M:%S")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("26/10/2025 01:59:59", "2025-10-25T23:59:59+00:00"),
        ("26/10/2025 02:00:00", None),  # shown twice
        ("26/10/2025 02:59:59", None),
        ("26/10/2025 03:00:00", "2025-10-26T02:00:00+00:00"),
        ("30/03/2025 02:30:00", None),  # never shown
        ("30/03/2025 03:00:00", "2025-03-30T01:00:00+00:00"),
        ("31/02/2025 12:00:00", None),
        ("01/01/2025 24:00:00", None),
        ("01/01/1500 00:00:00", None),
        ("yesterday", None),
        (" 01/07/2025 12:00:00 ", "2025-07-01T10:00:00+00:00"),
        (17, None),
        ("9" * 1_000_000, None),
    ],
)
def test_daylight_saving(text: Any, expected: str | None) -> None:
    ns = None if expected is None else round(datetime.fromisoformat(expected).timestamp()) * 10**9
    assert moments("auto", "%d/%m/%Y %H:%M:%S", "Europe/Brussels")(text) == ns


def test_a_zone_in_the_text_leaves_no_doubt() -> None:
    read = moments("auto", "%d/%m/%Y %H:%M:%S%z", "Europe/Brussels")
    assert read("26/10/2025 02:30:00+02:00") == 1761438600 * 10**9
    assert read("26/10/2025 02:30:00+0100") == 1761442200 * 10**9
    plain = moments("auto", "", "Europe/Brussels")
    assert plain("2025-10-26T02:30:00+01:00") == plain(1761442200) == 1761442200 * 10**9


def test_nanoseconds_are_kept() -> None:
    assert moments("auto", "%Y-%m-%d %H:%M:%S.%f")("2025-01-01 00:00:00.123456789") == 1735689600123456789


@pytest.mark.parametrize("time_format", ["%H:%M", "%Y %m", "%d/%m/%Y %Q", "%d/%d/%Y", "%Y-%m-%d %"])
def test_a_format_that_names_no_moment_is_refused(time_format: str) -> None:
    with pytest.raises(ValueError, match="time_format"):
        compiled(time_format)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"time_zone": "Europe/Diepenbeek"}, "Europe/Brussels"),
        ({"time_zone": "../../etc/passwd"}, "time zone"),
        ({"time_unit": "ms", "time_format": "%d/%m/%Y"}, "for texts"),
        ({"name": "n"}, "belong together"),
        ({"samples": {"every": "10ms", "pairs": True}}, "exactly one"),
        ({"samples": {"every": "2d"}}, "1ns to 1d"),
        ({"quality": {"value": "q"}}, "good: "),
        ({"each": "a..b"}, "value path"),
    ],
)
def test_settings_that_do_not_fit_say_so(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TypeAdapter(AnyPayload).validate_python({"type": "json", "time": "t", **keys})
