"""Who may not be believed gets nothing: every wrong certificate and every trick of a man in between, over real sockets.

The server is the scripted one, on a codec of its own; it hears every byte, and could decrypt what is encrypted for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from adapters.base import Bench
from adapters.clock import SystemClock
from adapters.errors import AdapterError, Misconfigured
from adapters.opcua.settings import OpcUaRead, OpcUaSignal, OpcUaSource
from adapters.opcua.source import OpcUaReader
from adapters.settings import Reading
from pipelines.registry import Registry
from tests.opcua import certificates
from tests.opcua.certificates import Wish, authority, make, revocations, revoked, wrong
from tests.opcua.scripted import URI, Identity, ScriptedServer, Variable
from tests.opcua.scripted.codec.chunks import BASIC_URI, NONE_URI
from tests.opcua.scripted.entrance import NONE, SIGN, SIGN_AND_ENCRYPT, Offer

ROOT = authority()
GOOD = make(Wish(issuer=ROOT))
CANARY = "canary-7f3a"
STRONG = Offer(SIGN_AND_ENCRYPT, BASIC_URI)


def der(shown: Sequence[x509.Certificate]) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.DER) for one in shown)


def identity(of: certificates.Identity) -> Identity:
    return Identity(der(of.shown), of.key)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    made = ScriptedServer(identity=identity(GOOD))
    made.entrance.application_uri = certificates.URI
    made.entrance.users = {"reader": CANARY}
    made.variables["load"] = Variable()
    made.listen = True
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder that trusts ROOT, with its revocation list."""
    folder = tmp_path / "trust" / "trusted"
    (folder / "certs").mkdir(parents=True)
    (folder / "crl").mkdir()
    (folder / "certs" / "root.der").write_bytes(ROOT.der)
    crl = revocations(ROOT, revoked(ROOT).certificate)
    (folder / "crl" / "root.crl").write_bytes(crl.public_bytes(serialization.Encoding.DER))
    return tmp_path


def reader(server: ScriptedServer, state: Path, **keys: Any) -> OpcUaReader:
    given = {
        "type": "opcua",
        "url": server.url,
        "username": "reader",
        "password": CANARY,
        "request_timeout": "60s",
    }
    signals = [OpcUaSignal(name="load", node=f"nsu={URI};s=load")]
    reading = Reading(machine="m", tags={}, read=OpcUaRead(source="plc", signals=signals))
    settings = OpcUaSource.model_validate({k: v for k, v in {**given, **keys}.items() if v is not None})
    return OpcUaReader("plc", settings, (reading,), Bench(Registry(), SystemClock(), str(state)))


async def refused(server: ScriptedServer, state: Path, **keys: Any) -> AdapterError:
    """The refusal, once nobody has signed in and the password is in nothing that the server heard."""
    with pytest.raises(AdapterError) as caught:
        async with reader(server, state, **keys).session(None):
            pytest.fail("entered")
    assert server.record.users == []
    assert "ActivateSession" not in server.record.requests
    assert server.record.heard, "the server did listen"
    assert CANARY.encode() not in server.record.heard
    assert CANARY not in f"{caught.value} {caught.value.remedy}"
    return caught.value


async def test_the_good_one_gets_in(server: ScriptedServer, state: Path) -> None:
    """The other side of the scale: with nothing wrong the password does arrive, encrypted on the wire."""
    async with reader(server, state).session(None) as session:
        await anext(aiter(session))
        await asyncio.sleep(0)  # its jobs begin
        assert session.facts["security"] == "SignAndEncrypt Basic256Sha256, user reader"
    assert server.record.users[0] == ("reader", CANARY.encode())
    assert CANARY.encode() not in server.record.heard


@pytest.mark.parametrize("name", list(wrong(ROOT)))
async def test_wrong_certificates(server: ScriptedServer, state: Path, name: str) -> None:
    """U21: untrusted, expired, not yet valid, wrong URI, wrong host, revoked, wrong usage, weak key, SHA-1, broken chain, forged, signed by a machine."""
    assert len(wrong(ROOT)) == 12
    shown, status = wrong(ROOT)[name]
    server.entrance.identity = identity(shown)
    error = await refused(server, state)
    assert isinstance(error, Misconfigured)
    assert status in str(error)
    assert error.remedy
    assert "CreateSession" not in server.record.requests


@pytest.mark.parametrize(
    "offers",
    [
        [Offer(NONE, NONE_URI)],
        [Offer(SIGN, BASIC_URI), Offer(NONE, NONE_URI)],
        [Offer(SIGN_AND_ENCRYPT, "http://opcfoundation.org/UA/SecurityPolicy#Basic128Rsa15")],
        [Offer(SIGN_AND_ENCRYPT, NONE_URI)],
        [],
    ],
)
async def test_downgraded_endpoints(server: ScriptedServer, state: Path, offers: list[Offer]) -> None:
    """U21: the list of endpoints is edited to hold nothing but what is weak."""
    server.entrance.offers = offers or [Offer(NONE, NONE_URI, url="http://127.0.0.1")]
    error = await refused(server, state)
    assert isinstance(error, Misconfigured)
    assert "does not offer SignAndEncrypt" in str(error)
    assert "CreateSession" not in server.record.requests


async def test_the_certificate_of_the_endpoint_is_not_the_servers(
    server: ScriptedServer, state: Path
) -> None:
    """U21: a good certificate is shown by somebody who has not its key: he can read nothing."""
    server.entrance.offers = [Offer(SIGN_AND_ENCRYPT, BASIC_URI, certificate=der(GOOD.shown))]
    server.entrance.identity = identity(make(Wish(key=2)))
    await refused(server, state)
    assert "CreateSession" not in server.record.requests


@pytest.mark.parametrize("own_key", [True, False])
async def test_the_certificate_of_the_session_is_another(
    server: ScriptedServer, state: Path, monkeypatch: pytest.MonkeyPatch, *, own_key: bool
) -> None:
    """U21: the answer to CreateSession has another certificate than the endpoint, with or without a proof that fits the first."""
    other, create = make(Wish(issuer=ROOT, key=2)), server.entrance._create
    swapped = Identity(der(other.shown), other.key if own_key else GOOD.key)

    def answer(connection: Any, asked: Any) -> bytes:
        server.entrance.identity = swapped
        return create(connection, asked)

    monkeypatch.setattr(server.entrance, "_create", answer)
    error = await refused(server, state)
    assert isinstance(error, Misconfigured)
    assert "CreateSession" in server.record.requests


@pytest.mark.parametrize(
    "hidden",
    [
        [
            STRONG,
            Offer(SIGN, BASIC_URI),
            Offer(SIGN_AND_ENCRYPT, BASIC_URI.replace("Basic256Sha256", "Aes256_Sha256_RsaPss")),
        ],
        [STRONG],
        [Offer(SIGN_AND_ENCRYPT, BASIC_URI, certificate=make(Wish(key=2)).der), Offer(SIGN, BASIC_URI)],
    ],
)
async def test_the_session_names_other_endpoints(
    server: ScriptedServer, state: Path, hidden: list[Offer]
) -> None:
    """U21: a stronger endpoint was cut out of the first list, one was added to it, or its certificate differs."""
    server.entrance.hidden = hidden
    error = await refused(server, state)
    assert isinstance(error, Misconfigured)
    assert "changed on the way" in str(error)


async def test_a_pin_is_for_one_machine_only(server: ScriptedServer, tmp_path: Path) -> None:
    """U21: what was trusted for one source does not open the door of another."""
    folder = tmp_path / "trust" / "pinned" / "another-plc"
    folder.mkdir(parents=True)
    (folder / "a.der").write_bytes(GOOD.der)
    assert "BadCertificateUntrusted" in str(await refused(server, tmp_path))


@pytest.mark.parametrize("part", ["trusted/certs/b.der", "trusted/crl/b.crl", "issuers/crl/b.crl"])
async def test_a_broken_file_in_the_list_is_no_shorter_list(
    server: ScriptedServer, state: Path, part: str
) -> None:
    """U21: a revocation list that cannot be read must not turn into trust."""
    file = state / "trust" / part
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"-----BEGIN X509 CRL-----\nrubbish")
    with pytest.raises(Misconfigured, match="cannot be read"):
        async with reader(server, state).session(None):
            pytest.fail("entered")
    assert server.record.users == []


async def test_no_password_where_the_server_lets_nobody_sign_in_so(
    server: ScriptedServer, state: Path
) -> None:
    server.entrance.offers = [Offer(SIGN_AND_ENCRYPT, BASIC_URI, tokens=(0,))]
    error = await refused(server, state)
    assert "it offers: anonymous" in str(error)


@pytest.mark.parametrize("policy", [NONE_URI, BASIC_URI, None])
async def test_the_passwords_own_encryption_is_respected(
    server: ScriptedServer, state: Path, policy: str | None
) -> None:
    server.entrance.offers = [Offer(SIGN_AND_ENCRYPT, BASIC_URI, token_policy=policy)]
    async with reader(server, state).session(None) as session:
        await anext(aiter(session))
        await asyncio.sleep(0)  # its jobs begin
    assert server.record.users[0] == ("reader", CANARY.encode())
    assert CANARY.encode() not in server.record.heard


async def test_an_unknown_encryption_of_the_password_is_no_reason_to_send_it_plain(
    server: ScriptedServer, state: Path
) -> None:
    server.entrance.offers = [Offer(SIGN_AND_ENCRYPT, BASIC_URI, token_policy=BASIC_URI + "_Next")]
    error = await refused(server, state)
    assert isinstance(error, Misconfigured), "told as something to change, not tried for ever"
