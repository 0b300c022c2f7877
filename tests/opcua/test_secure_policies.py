"""Every policy, mode and way to sign in, against asyncua's own server: the strongest is taken, the weak only by name."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.server import Server

from adapters.base import Bench
from adapters.clock import SystemClock
from adapters.errors import Misconfigured
from adapters.opcua.settings import OpcUaRead, OpcUaSignal, OpcUaSource
from adapters.opcua.source import OpcUaReader
from adapters.settings import Reading
from pipelines.registry import Registry
from tests.opcua.certificates import Wish, make
from tests.opcua.real import URI, RealServer
from tests.servers import free_port

Kind = ua.SecurityPolicyType
PERSON = make(Wish(name="reader", uri=None, hosts=(), key=9))
ALL = (
    Kind.NoSecurity, Kind.Basic128Rsa15_SignAndEncrypt, Kind.Basic256_SignAndEncrypt, Kind.Basic256Sha256_Sign,
    Kind.Basic256Sha256_SignAndEncrypt, Kind.Aes128Sha256RsaOaep_Sign, Kind.Aes128Sha256RsaOaep_SignAndEncrypt,
    Kind.Aes256Sha256RsaPss_Sign, Kind.Aes256Sha256RsaPss_SignAndEncrypt,
)  # fmt: skip


class Everybody:
    """Lets everybody in whom it knows: by password, by certificate, or as nobody. `seen`: (name, password, certificate)."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, Any, Any]] = []

    def get_user(
        self, iserver: Any, username: str | None = None, password: Any = None, certificate: Any = None
    ) -> User | None:
        self.seen.append((username, password, certificate))
        known = username is None or password in ("right", b"right")
        return User(role=UserRole.User, name=username or "somebody") if known else None


class ManyDoors(RealServer):
    """Offers what it is told to."""

    def __init__(self, folder: Path, doors: tuple[ua.SecurityPolicyType, ...]) -> None:
        super().__init__(folder)
        self.everybody, self._doors = Everybody(), doors

    async def _start(self) -> None:
        server = self._server = Server(user_manager=self.everybody)  # type: ignore[arg-type]
        await server.init()
        await server.set_application_uri(self.own.application_uri)
        server.set_endpoint(self.url)
        await server.load_certificate(self.own.certificate)
        await server.load_private_key(self.own.key)
        server.set_security_policy(list(self._doors))
        server.set_identity_tokens(
            [ua.AnonymousIdentityToken, ua.UserNameIdentityToken, ua.X509IdentityToken]
        )
        index = await server.register_namespace(URI)
        node_id: Any = ua.NodeId
        await server.nodes.objects.add_variable(node_id("load", index), "load", 0.5)
        await server.start()


def served(folder: Path, doors: tuple[ua.SecurityPolicyType, ...]) -> ManyDoors:
    made = ManyDoors(folder, doors)
    made.start(free_port())
    return made


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManyDoors]:
    made = served(tmp_path_factory.mktemp("server"), ALL)
    yield made
    made.stop()


def source(server: ManyDoors, folder: Path, **keys: Any) -> OpcUaReader:
    patient = {"publishing_interval": "20ms", "request_timeout": "60s"}
    given: dict[str, Any] = {"type": "opcua", "url": server.url, **patient, **keys}
    if given.get("security") != "none":
        given["server_certificate_sha256"] = hashlib.sha256(server.own.certificate).hexdigest()
    signals = [OpcUaSignal(name="load", node=f"nsu={URI};s=load")]
    reading = Reading(machine="m", tags={}, read=OpcUaRead(source="plc", signals=signals))
    return OpcUaReader(
        "plc", OpcUaSource.model_validate(given), (reading,), Bench(Registry(), SystemClock(), str(folder))
    )


async def first(reader: OpcUaReader) -> str:
    """Read one value; what the facts say about security."""
    async with reader.session(None) as session:
        deliveries = aiter(session)
        assert (await anext(deliveries)).decoded == 0, "that it listens"
        assert (await anext(deliveries)).decoded == 1
        return session.facts["security"]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, "SignAndEncrypt Aes256_Sha256_RsaPss, anonymous"),
        ({"policy": "Basic256Sha256"}, "SignAndEncrypt Basic256Sha256, anonymous"),
        ({"policy": "Aes128_Sha256_RsaOaep"}, "SignAndEncrypt Aes128_Sha256_RsaOaep, anonymous"),
        ({"security": "sign"}, "Sign Aes256_Sha256_RsaPss, anonymous"),
        ({"security": "sign", "policy": "Basic256Sha256"}, "Sign Basic256Sha256, anonymous"),
        ({"security": "sign", "policy": "Aes128_Sha256_RsaOaep"}, "Sign Aes128_Sha256_RsaOaep, anonymous"),
        ({"policy": "Basic256"}, "SignAndEncrypt Basic256, anonymous"),
        ({"policy": "Basic128Rsa15"}, "SignAndEncrypt Basic128Rsa15, anonymous"),
        ({"security": "none"}, "none, anonymous"),
    ],
)
async def test_values_over_every_policy_and_mode(
    server: ManyDoors, tmp_path: Path, keys: dict[str, Any], words: str
) -> None:
    """S9: the strongest policy is the default; signing alone, weak policies and none come by name."""
    assert await first(source(server, tmp_path, **keys)) == words


async def test_weak_policies_are_never_taken_by_themselves(tmp_path: Path) -> None:
    """S9: a server that offers None, Basic128Rsa15 and Basic256 only is refused, and nobody signs in."""
    weak = served(
        tmp_path / "s", (Kind.NoSecurity, Kind.Basic128Rsa15_SignAndEncrypt, Kind.Basic256_SignAndEncrypt)
    )
    try:
        with pytest.raises(Misconfigured, match="it offers None None, SignAndEncrypt Basic128Rsa15"):
            await first(source(weak, tmp_path, username="reader", password="right"))
        assert weak.everybody.seen == []
    finally:
        weak.stop()


@pytest.mark.parametrize("policy", ["Aes256_Sha256_RsaPss", "Basic256Sha256", "Aes128_Sha256_RsaOaep"])
async def test_a_user_name_over_every_policy(server: ManyDoors, tmp_path: Path, policy: str) -> None:
    server.everybody.seen.clear()
    words = await first(source(server, tmp_path, policy=policy, username="reader", password="right"))
    assert words == f"SignAndEncrypt {policy}, user reader"
    assert [(name, password) for name, password, _ in server.everybody.seen] == [("reader", "right")]


@pytest.mark.parametrize("security", ["sign_and_encrypt", "sign"])
@pytest.mark.parametrize("policy", ["Aes256_Sha256_RsaPss", "Basic256Sha256", "Aes128_Sha256_RsaOaep"])
async def test_a_certificate_signs_in(server: ManyDoors, tmp_path: Path, policy: str, security: str) -> None:
    """The server checks the signature over its nonce and gives the user manager the user's certificate."""
    server.everybody.seen.clear()
    certificate, key = PERSON.write(tmp_path, "person")
    keys = {
        "user_certificate": str(certificate),
        "user_key": str(key),
        "policy": policy,
        "security": security,
    }
    words = await first(source(server, tmp_path, **keys))
    assert "user certificate" in words
    assert [one for _, _, one in server.everybody.seen] == [PERSON.der]


async def test_a_user_certificate_that_cannot_be_read_says_which(server: ManyDoors, tmp_path: Path) -> None:
    certificate, _ = PERSON.write(tmp_path, "person")
    _, key = make(Wish(key=8)).write(tmp_path, "other")
    for file in (key, tmp_path / "nowhere"):
        with pytest.raises(Misconfigured, match="the user's certificate cannot be") as caught:
            await first(source(server, tmp_path, user_certificate=str(certificate), user_key=str(file)))
        assert caught.value.remedy


async def test_secrets_are_in_no_log_whatever_the_level(
    server: ManyDoors, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """S7: user and password canaries, every library at DEBUG, success and failure: no line, fact or finding has them."""
    secret = "canary-5ecret"
    for name in ("", "asyncua", "asyncua.client.ua_client", "asyncua.uaprotocol", "adapters", "collector"):
        caplog.set_level(logging.DEBUG, name)
    heard: list[str] = []
    for policy in ("Aes256_Sha256_RsaPss", "Basic256Sha256"):
        reader = source(server, tmp_path, policy=policy, username="reader", password=secret)
        with pytest.raises(Misconfigured) as caught:
            await first(reader)
        heard += [str(caught.value), repr(caught.value), caught.value.remedy]
        heard += [str(finding) for finding in await reader.probe()]
    assert server.everybody.seen[-1][1] == secret, "it was really sent"
    # the server in this process is asyncua's too: its own lines are not ours
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith("asyncua.server")]
    assert heard
    assert not [line for line in [*ours, *heard] if secret in line or secret.encode().hex() in line]
