"""S10: certificates that run out, on a clock that is handed in."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from adapters.errors import Misconfigured
from adapters.opcua.certificate import OwnCertificate, own_certificate
from adapters.opcua.credentials import Credentials
from adapters.opcua.trust_expiry import Expiry
from tests.opcua.certificates import NOW, Wish, make

DAY = 86_400 * 10**9


class Calendar:
    """Every wait is a day, and the last day ends the test."""

    def __init__(self, days: int) -> None:
        self._now, self._days = int(NOW.timestamp()) * 10**9, days

    def now(self) -> int:
        return self._now

    def wall_now(self) -> int:
        return self._now

    def monotonic(self) -> float:
        return self._now / 1e9

    async def sleep(self, seconds: float) -> None:
        assert seconds <= 86_400
        self._now += DAY
        self._days -= 1
        if not self._days:
            raise asyncio.CancelledError

    def later(self, seconds: float, call: Callable[[], object]) -> Callable[[], object]:
        raise AssertionError("a certificate has time")


def shown(own_days: float, machine_days: float) -> Credentials:
    own = make(Wish(name="collector", last=NOW + dt.timedelta(days=own_days)))
    machine = make(Wish(last=NOW + dt.timedelta(days=machine_days)))
    return Credentials(OwnCertificate(own.der, own.key_der, "urn:x"), machine.der)


async def told(expiry: Expiry, credentials: Credentials, days: int) -> dict[str, str]:
    facts: dict[str, str] = {}
    with pytest.raises(asyncio.CancelledError):
        await expiry.keep(credentials, facts, Calendar(days))
    return facts


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """By us: what another test has left behind may be logged at any time."""
    return [record.getMessage() for record in caplog.records if record.name == "adapters.opcua"]


async def test_it_is_told_at_60_30_7_days_and_at_the_end_once_each(caplog: pytest.LogCaptureFixture) -> None:
    """S10: 70 days of life, looked at every day for 80: four lines and no more, each with what to do."""
    expiry, credentials = Expiry("plc"), shown(70.5, 3000)
    with caplog.at_level(logging.WARNING, "adapters.opcua"):
        facts = await told(expiry, credentials, 80)
    lines = said(caplog)
    assert [
        words in line for words, line in zip(["in 60", "in 30", "in 6", "ran out"], lines, strict=True)
    ] == [True] * 4
    assert all("own certificate" in line and "trust --renew" in line for line in lines)
    assert "ran out" in facts["certificates"]


async def test_a_reconnect_does_not_tell_it_again(caplog: pytest.LogCaptureFixture) -> None:
    expiry, credentials = Expiry("plc"), shown(3000, 20)
    for _ in range(3):
        facts = await told(expiry, credentials, 2)
    assert len(said(caplog)) == 1
    assert "collector trust plc" in facts["certificates"]
    await told(expiry, shown(3000, 20), 2)
    assert len(said(caplog)) == 2, "another certificate is other news"


async def test_far_away_it_is_a_date_in_the_facts(caplog: pytest.LogCaptureFixture) -> None:
    facts = await told(Expiry("plc"), shown(3000, 3000), 2)
    assert not said(caplog)
    assert f"{NOW + dt.timedelta(days=3000):%Y-%m-%d}" in facts["certificates"]


def test_our_own_lasts_ten_years_and_then_says_what_to_do(tmp_path: Path) -> None:
    """S10: on the last day it is used, a day later it is refused with the remedy."""
    made = own_certificate(str(tmp_path), None, None, lambda: int(NOW.timestamp()) * 10**9)
    assert made.expires is not None
    assert made.expires - NOW > dt.timedelta(days=3640)
    last = int(made.expires.timestamp()) * 10**9
    assert own_certificate(str(tmp_path), None, None, lambda: last) == made
    with pytest.raises(Misconfigured, match="ran out on") as caught:
        own_certificate(str(tmp_path), None, None, lambda: last + DAY)
    assert "trust --renew" in caught.value.remedy


def test_our_own_has_what_the_standard_asks_for(tmp_path: Path) -> None:
    """S10: OPC 10000-6, 6.2.2: 2048 bits, SHA-256, one URI of our own, host name, usages."""
    made = x509.load_der_x509_certificate(own_certificate(str(tmp_path), None, None).certificate)
    key = made.public_key()
    assert getattr(key, "key_size", 0) >= 2048
    assert made.signature_hash_algorithm is not None
    assert made.signature_hash_algorithm.name == "sha256"
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
    assert uri.startswith("urn:")
    assert uri.endswith(":shopfloor-collector")
    assert names.get_values_for_type(x509.DNSName)
    usage = made.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature and usage.content_commitment  # noqa: PT018 (one thing)
    assert usage.key_encipherment and usage.data_encipherment  # noqa: PT018
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
