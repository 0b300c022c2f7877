"""What may be asked, and what is said about the rest."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from adapters.influxdb.settings import InfluxDbSink

V2: dict[str, Any] = {"type": "influxdb", "url": "http://localhost:8086", "bucket": "machines"}
V1: dict[str, Any] = {"type": "influxdb", "url": "http://localhost:8086", "api": "v1", "database": "machines"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({**V2, "url": "localhost:8086"}, "http://localhost:8086"),
        ({**V2, "url": "http://user:pass@db"}, "no user name or password"),
        ({**V2, "url": "http://db?x=1"}, "such as"),
        ({**V2, "bucket": ""}, "bucket is missing"),
        ({**V2, "database": "x"}, "database cannot go with api: v2"),
        ({**V1, "database": ""}, "database is missing"),
        ({**V1, "token": "x"}, "token cannot go with api: v1"),
        ({**V1, "username": "x"}, "go together"),
        ({**V2, "token": "line\nbreak"}, "line breaks"),
        ({**V2, "token": ""}, "is empty"),
        ({**V2, "timeout": "1ms"}, "between"),
        ({**V2, "timeout": 3}, "a duration is"),
        ({**V2, "measurement": "quality"}, "taken"),
        ({**V2, "batch": 5}, "Extra inputs"),
    ],
)
def test_mistakes_are_said(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        InfluxDbSink(**changes)
    assert message in str(caught.value)


def test_a_secret_is_not_shown_by_its_own_mistake() -> None:
    with pytest.raises(ValidationError) as caught:
        InfluxDbSink(**V2, token="geheim\n")
    assert "geheim" not in str(caught.value)


def test_what_an_offline_check_warns_about() -> None:
    assert InfluxDbSink(**V2, token="x").review() == []
    assert "no token" in " ".join(InfluxDbSink(**V2).review())
    plain = InfluxDbSink(**{**V2, "url": "http://10.0.0.5:8086"}, token="x")
    assert "not encrypted" in " ".join(plain.review())
    assert InfluxDbSink(**{**V2, "url": "https://10.0.0.5:8086"}, token="x").review() == []
