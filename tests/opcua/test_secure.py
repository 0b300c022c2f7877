"""The secure channel against asyncua's own server: users, pinned certificate, and nothing secret to a stranger."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from adapters.base import Bench
from adapters.clock import SystemClock
from adapters.errors import Misconfigured
from adapters.opcua.certificate import own_certificate
from adapters.opcua.settings import OpcUaRead, OpcUaSignal, OpcUaSource
from adapters.opcua.source import OpcUaReader
from adapters.settings import Reading
from pipelines.registry import Registry
from tests.contracts.rig import eventually
from tests.contracts.source import Taker
from tests.opcua.real import URI, RealServer
from tests.servers import free_port

EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 (asyncua's server wants times without zone, meaning UTC)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    made = RealServer(tmp_path_factory.mktemp("server"))
    made.start(free_port())
    yield made
    made.stop()


def fingerprint(server: RealServer) -> str:
    return hashlib.sha256(server.own.certificate).hexdigest()


def source(server: RealServer, folder: Path, **keys: Any) -> OpcUaReader:
    wishes: dict[str, Any] = {
        "type": "opcua", "url": server.url, "username": "reader", "password": "right",
        "server_certificate_sha256": fingerprint(server), "publishing_interval": "20ms", "request_timeout": "60s",
    }  # fmt: skip
    signals = [OpcUaSignal(name=name, node=f"nsu={URI};s={name}", queue=1000) for name in ("load", "speed")]
    reading = Reading(machine="m", tags={}, read=OpcUaRead(source="plc", signals=signals))
    given = {key: cell for key, cell in {**wishes, **keys}.items() if cell is not None}
    bench = Bench(Registry(), SystemClock(), str(folder))
    return OpcUaReader("plc", OpcUaSource.model_validate(given), (reading,), bench)


async def refused(reader: OpcUaReader) -> Misconfigured:
    with pytest.raises(Misconfigured) as caught:
        async with reader.session(None):
            pytest.fail("entered")
    assert caught.value.remedy
    assert "right" not in str(caught.value)
    return caught.value


async def test_values_over_an_encrypted_channel_with_a_user(server: RealServer, tmp_path: Path) -> None:
    reader = source(server, tmp_path)
    taker = Taker(reader._bench.registry)
    task = asyncio.get_running_loop().create_task(taker.run(reader))
    await eventually(lambda: len(taker.rows) == 2 or task.done(), "the initial values")
    assert taker.error is None
    for number in range(1, 50):
        server.write("load", float(number), EPOCH + dt.timedelta(days=20_000, microseconds=number))
    await eventually(lambda: len(taker.rows) == 51, "all values")
    assert taker.session is not None
    assert taker.session.facts["security"] == "SignAndEncrypt Basic256Sha256, user reader"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    mine = [row for row in taker.rows if row.signal == "load"][1:]
    assert [row.value for row in mine] == [float(number) for number in range(1, 50)]
    assert [row.at for row in mine] == [20_000 * 86_400 * 10**9 + 1000 * number for number in range(1, 50)]


async def test_a_wrong_fingerprint_is_refused_before_anything_secret_leaves(
    server: RealServer, tmp_path: Path
) -> None:
    server.users.seen.clear()
    error = await refused(source(server, tmp_path, server_certificate_sha256="ab" * 32))
    assert "AB:AB" in str(error)
    shown = fingerprint(server).upper()
    assert f"{shown[:2]}:{shown[2:4]}" in str(error)
    assert server.users.seen == [], "nobody tried to sign in"


async def test_without_a_fingerprint_nobody_connects_and_the_probe_shows_it(
    server: RealServer, tmp_path: Path
) -> None:
    server.users.seen.clear()
    reader = source(server, tmp_path, server_certificate_sha256=None)
    error = await refused(reader)
    assert "collector trust plc" in error.remedy
    (finding,) = await reader.probe()
    assert finding.hint == error.remedy
    shown = fingerprint(server).upper()
    spaced = ":".join(shown[n : n + 2] for n in range(0, 64, 2))
    assert spaced in str(error)
    assert spaced in finding.message
    assert server.users.seen == []


async def test_a_wrong_password_is_misconfigured(server: RealServer, tmp_path: Path) -> None:
    error = await refused(source(server, tmp_path, password="wrong"))
    assert "username and password" in error.remedy
    assert "wrong" not in str(error)


async def test_no_security_where_the_server_wants_it(server: RealServer, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured):
        async with source(
            server, tmp_path, security="none", username=None, password=None, server_certificate_sha256=None
        ).session(None):
            pytest.fail("entered")


async def test_the_probe_over_the_encrypted_channel(server: RealServer, tmp_path: Path) -> None:
    findings = await source(server, tmp_path).probe()
    assert [finding.level for finding in findings] == ["ok", "ok", "ok"]
    assert "SignAndEncrypt" in findings[0].message


def test_our_own_certificate_is_made_once_and_kept_for_us_alone(tmp_path: Path) -> None:
    first = own_certificate(str(tmp_path), None, None)
    assert own_certificate(str(tmp_path), None, None) == first
    store = tmp_path / "pki" / "own" / "collector.pem"
    if sys.platform != "win32":
        assert stat.S_IMODE(store.stat().st_mode) == 0o600
    assert (store.parent / "collector.der").read_bytes() == first.certificate
    assert {path.name for path in store.parent.iterdir()} == {"collector.pem", "collector.der"}
    known = x509.load_der_x509_certificate(first.certificate)
    names = known.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [first.application_uri]
    assert first.application_uri.startswith("urn:")


def _old(tmp_path: Path, *, uri: bool = True) -> tuple[Path, Path]:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([])
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), 1, start, start + dt.timedelta(days=36_500 if not uri else 1)
    )
    if uri:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier("urn:x")]), critical=False
        )
    made = builder.sign(key, hashes.SHA256())
    files = tmp_path / "c.der", tmp_path / "k.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.DER))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files


def test_an_own_certificate_that_ran_out_says_so(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="ran out on 2020-01-02") as caught:
        own_certificate(str(tmp_path), *_old(tmp_path))
    assert "trust" in caught.value.remedy


def test_own_certificates_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    certificate, key = _old(tmp_path, uri=False)
    other = own_certificate(str(tmp_path), None, None)
    (tmp_path / "other.der").write_bytes(other.key)
    for pair in (
        (certificate, tmp_path / "other.der"),
        (key, key),
        (Path("nowhere"), key),
        (certificate, certificate),
    ):
        with pytest.raises(Misconfigured) as caught:
            own_certificate(str(tmp_path), *pair)
        assert caught.value.remedy
