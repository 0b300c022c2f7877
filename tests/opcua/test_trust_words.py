"""What a person is told when the machine refuses us, or a user may not: who has to do what, by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from adapters.errors import Misconfigured
from adapters.opcua.certificate import own_certificate
from adapters.opcua.errors import status_error, to_border
from tests.opcua.scripted import Refuse, ScriptedServer
from tests.opcua.scripted.channel import Channel, Refused
from tests.opcua.scripted.codec.chunks import BASIC_URI
from tests.opcua.scripted.codec.services import Asked
from tests.opcua.test_trust_command import trust, written
from tests.opcua.test_trust_refused import CANARY, reader, server, state

__all__ = ["server", "state"]
UNTRUSTED, CHECKS, CERTIFICATE = 0x801A0000, 0x80130000, 0x80120000
DENIED, REJECTED, TOKEN = 0x801F0000, 0x80210000, 0x80200000


async def refusal(server: ScriptedServer, state: Path) -> Misconfigured:
    with pytest.raises(Misconfigured) as caught:
        async with reader(server, state).session(None):
            pytest.fail("entered")
    assert CANARY not in f"{caught.value}{caught.value.remedy}"
    return caught.value


@pytest.mark.parametrize("code", [UNTRUSTED, CHECKS, CERTIFICATE])
@pytest.mark.parametrize("service", ["CreateSession", "ActivateSession"])
async def test_a_machine_that_does_not_know_us_yet(
    server: ScriptedServer, state: Path, code: int, service: str
) -> None:
    """The certificate to accept is named as machines list it: by common name and fingerprint, and where the file is."""
    server.scripts.append(Refuse(service, code=code))
    error = await refusal(server, state)
    assert "the machine does not trust this collector yet" in str(error)
    own = x509.load_der_x509_certificate(own_certificate(str(state), None, None).certificate)
    assert own.fingerprint(hashes.SHA1()).hex(":").upper() in error.remedy
    assert own.fingerprint(hashes.SHA256()).hex(":").upper() in error.remedy
    assert "shopfloor-collector@" in error.remedy
    assert str(state / "pki" / "own" / "collector.der") in error.remedy


async def test_a_machine_that_does_not_even_open_the_channel(
    server: ScriptedServer, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most servers refuse an unknown client here, with an Error message instead of an answer (OPC 10000-6, 7.1.2.5)."""
    opened = Channel.open

    def refuse(channel: Channel, body: bytes) -> Asked:
        if BASIC_URI.encode() in body:
            raise Refused(CHECKS, "")
        return opened(channel, body)

    monkeypatch.setattr(Channel, "open", refuse)
    error = await refusal(server, state)
    assert "the machine does not trust this collector yet" in str(error)
    assert server.record.users == []


@pytest.mark.parametrize("code", [DENIED, REJECTED, TOKEN])
async def test_a_user_who_may_not(server: ScriptedServer, state: Path, code: int) -> None:
    server.scripts.append(Refuse("ActivateSession", code=code))
    error = await refusal(server, state)
    assert "user" in error.remedy
    assert "trust this collector" not in str(error)


def test_certificates_of_an_unprotected_connection_are_not_named() -> None:
    error = to_border(status_error(CHECKS), "opc.tcp://plc:4840")
    assert isinstance(error, Misconfigured)
    assert error.remedy


async def test_check_online_says_what_to_run_and_no_secret(
    server: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """S7: nothing that `check`, `check --online` and `trust` print holds the password."""
    import asyncio

    from collector.__main__ import main

    config = written(server, tmp_path)
    for words in (["check"], ["check", "--online"], ["check", "--online", "--json"]):
        await asyncio.to_thread(main, [*words, str(config)])
    out, err = capsys.readouterr()
    assert "collector trust plc" in out
    findings = json.loads(out.splitlines()[-1])["findings"]
    assert any("collector trust plc" in finding["hint"] for finding in findings)
    await trust(config, "plc", "--yes")
    await asyncio.to_thread(main, ["check", "--online", str(config)])
    more, errors = capsys.readouterr()
    assert "connected to" in more
    assert server.record.users[-1] == ("reader", CANARY.encode()), "it was really used"
    assert not [text for text in (out, err, more, errors) if CANARY in text]
