"""Who the server is, is always verified, and nothing is told to one that is not who it should be."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from adapters.errors import Misconfigured
from adapters.influxdb.wire import _shut
from tests.contracts.sink import write_once
from tests.influxdb.rigs import FakeV2Rig, bench, some_numbers


def certificate(folder: Path, address: str) -> Path:
    """A self-signed certificate for an address, with its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / f"{address}.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


async def served(folder: Path, address: str) -> tuple[FakeV2Rig, Path]:
    rig = FakeV2Rig()
    path = certificate(folder, address)
    rig.server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    rig.server.tls.load_cert_chain(path)
    return await rig.start(), path


async def test_a_certificate_of_an_own_authority(tmp_path: Path) -> None:
    """S12: refused while nobody vouches for it, with the remedy; taken when `ca` names it."""
    rig, path = await served(tmp_path, "127.0.0.1")
    try:
        with pytest.raises(Misconfigured) as caught:
            await write_once(rig.sink(), some_numbers(rig.registry, 3))
        assert "ca" in caught.value.remedy
        assert rig.server.requests == [], "not even the token was sent"
        await write_once(rig.settings(ca=str(path)).build(bench(rig.registry)), some_numbers(rig.registry, 3))
        assert len(await rig.stored()) == 3
    finally:
        await rig.stop()


async def test_a_certificate_for_another_host(tmp_path: Path) -> None:
    """S12: trusted, but made out for another address: refused, and nothing sent."""
    rig, path = await served(tmp_path, "127.0.0.2")
    try:
        with pytest.raises(Misconfigured, match=r"mismatch|not valid for"):
            await write_once(
                rig.settings(ca=str(path)).build(bench(rig.registry)), some_numbers(rig.registry, 3)
            )
        assert rig.server.requests == []
    finally:
        await rig.stop()


def test_a_connection_that_is_cut_off_says_nothing_in_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S12: the thread of the requests sends in the very moment in which another one ends its connection."""
    path = certificate(tmp_path, "127.0.0.1")
    trusted = ssl.create_default_context(cafile=path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(path)
    ours, theirs = socket.socketpair()
    with ThreadPoolExecutor(1) as threads:
        accepted = threads.submit(serving.wrap_socket, theirs, server_side=True)
        client = trusted.wrap_socket(ours, server_hostname="127.0.0.1")
        server = accepted.result()
    shutdown = socket.socket.shutdown

    def cut(ending: socket.socket, how: int) -> None:
        with suppress(OSError, ValueError):
            ending.sendall(b"Authorization: Token secret")
        shutdown(ending, how)

    monkeypatch.setattr(socket.socket, "shutdown", cut)
    with client, server:
        _shut(client)
        heard = bytearray()
        while more := socket.socket.recv(server, 65536):
            heard += more
    assert heard, "it was sent, and could not be read"
    assert b"secret" not in heard
