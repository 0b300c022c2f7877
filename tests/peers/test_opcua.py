"""The laws of a source over OPC UA servers that are not ours: asyncua's, python-opcua's, node-opcua's."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

import pytest

from adapters.errors import Misconfigured
from pipelines.batch import Flag
from simulators.proxy.server import open_proxy
from tests.contracts.rig import eventually
from tests.contracts.source import SourceContract, taking
from tests.peers.opcua import START_MS, PeerRig, Server
from tests.servers import free_port

CANNOT: Mapping[str, str] = {
    "test_law_5_what_was_not_acknowledged_comes_again": "says redelivers = False (adapters/opcua/README.md)",
    "test_law_7_what_is_not_acknowledged_is_bounded": "these servers put everything into one notification: scripted only",
    "test_law_8_an_undecodable_message_is_a_refusal": "these servers send none: scripted only",
    "test_law_9_a_loss_that_is_known_is_a_gap": "cannot be told to lose anything: scripted only",
}


@pytest.fixture
async def rig(server: Server) -> AsyncIterator[PeerRig]:
    if any(value is None for value in server.last.values()):
        raise AssertionError("a test left a signal without a value")
    down = bytearray()

    def heard(direction: str, _: int, content: bytes) -> None:
        if direction == "down":
            down.extend(content)

    async with open_proxy(("127.0.0.1", server.port), port=free_port(), tee=heard) as proxy:
        rig = PeerRig(server, proxy, down)
        yield rig
    await rig.emit(3)  # after a test of bad values every signal has a good one
    await asyncio.sleep(0)


@pytest.mark.parametrize("server", ["asyncua"], indirect=True)
@pytest.mark.xdist_group("peers-asyncua")
class TestAsyncua(SourceContract):
    CANNOT: ClassVar[Mapping[str, str]] = CANNOT


@pytest.mark.parametrize("server", ["python-opcua"], indirect=True)
@pytest.mark.xdist_group("peers-python-opcua")
class TestPythonOpcua(SourceContract):
    CANNOT: ClassVar[Mapping[str, str]] = CANNOT


@pytest.mark.parametrize("server", ["node-opcua"], indirect=True)
@pytest.mark.xdist_group("peers-node-opcua")
class TestNodeOpcua(SourceContract):
    CANNOT: ClassVar[Mapping[str, str]] = CANNOT


@pytest.mark.parametrize("server", ["node-opcua"], indirect=True)
@pytest.mark.xdist_group("peers-node-opcua")
@pytest.mark.parametrize("picoseconds", [0, 10, 1000, 9990])
async def test_node_opcua_says_where_picoseconds_stand(rig: PeerRig, picoseconds: int) -> None:
    """The order of DataValue's fields (OPC 10000-6, 5.2.2.17): an encoder that is neither asyncua's nor ours decides.

    Read in another order, source picoseconds of 1000 would turn the server time into nonsense, or the value's time.
    """
    async with taking(rig) as taker:
        await eventually(lambda: len(taker.rows) >= 3, "first values")
        rig.server.count += 1
        at, value = START_MS + rig.server.count, float(rig.server.count)
        rig.server.last["load"] = value
        await asyncio.to_thread(rig.server.write, [("load", value, at, picoseconds)])
        await eventually(lambda: any(row.value == value for row in taker.rows), "the value arrives")
    row = next(row for row in taker.rows if row.value == value)
    assert row.at == at * 1_000_000 + picoseconds // 1000
    assert not row.flags & Flag.NO_VALUE
    assert taker.refused == []


def fingerprint(server: Server) -> str:
    """Of node-opcua's own certificate, from where it keeps it; not over the wire."""
    text = (server.folder / "pki" / "own" / "certs" / "certificate.pem").read_text()
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(text)).hexdigest()


@pytest.mark.parametrize("server", ["node-opcua"], indirect=True)
@pytest.mark.xdist_group("peers-node-opcua")
async def test_node_opcua_signs_encrypts_and_knows_its_user(rig: PeerRig) -> None:
    """Its Basic256Sha256 is its own (OpenSSL through Node.js): keys, signatures, padding and the password's encryption."""
    rig.wishes = {
        "username": "reader",
        "password": "right",
        "server_certificate_sha256": fingerprint(rig.server),
    }
    async with taking(rig) as taker:
        emitted = await rig.emit(30)
        await eventually(lambda: taker.has(emitted), "values arrive")
    rig.wishes["password"] = "wrong"
    with pytest.raises(Misconfigured, match="BadUserAccessDenied"):
        async with rig.source().session(None):
            pytest.fail("a wrong password was let in")


@pytest.mark.parametrize("server", ["node-opcua"], indirect=True)
@pytest.mark.xdist_group("peers-node-opcua")
async def test_node_opcua_with_another_certificate_is_not_trusted(rig: PeerRig) -> None:
    rig.wishes = {"server_certificate_sha256": "0" * 64}
    with pytest.raises(Misconfigured, match="certificate"):
        async with rig.source().session(None):
            pytest.fail("a stranger was trusted")
