"""Chunks without the library's objects: byte for byte what the library makes and takes, and nothing that it would not take.

The library's own connection is the peer, in both directions; node-opcua is another one (tests/peers).
"""

from __future__ import annotations

import struct
import time
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.connection import SecureConnection, TransportLimits
from asyncua.common.utils import Buffer
from asyncua.crypto import security_policies
from asyncua.ua.ua_binary import header_from_binary
from hypothesis import given
from hypothesis import strategies as st

from adapters.opcua.chunks import Chunks

LIBRARY: Any = security_policies
CHANNEL, TOKEN = 7, 3
MODES = ("None", "Sign", "SignAndEncrypt")


class Keys:
    """Of one direction."""

    def __init__(self, seed: int, bits: int) -> None:
        self.signing, self.vector = bytes([seed]) * 32, bytes([seed + 1]) * 16
        self.encrypting = bytes([seed + 2]) * (bits // 8)


def policy(mode: str, own: Keys, peer: Keys) -> Any:
    made = LIBRARY.SecurityPolicyNone()
    if mode != "None":
        made.symmetric_cryptography = LIBRARY.Cryptography(ua.MessageSecurityMode[mode])
        give(made, own, peer)
    return made


def give(made: Any, own: Keys, peer: Keys) -> None:
    """Keys, the present theirs becoming the previous ones, as a renewal does it."""
    crypto = made.symmetric_cryptography
    crypto.Prev_Verifier, crypto.Prev_Decryptor = crypto.Verifier, crypto.Decryptor
    crypto.key_expiration = crypto.prev_key_expiration = time.monotonic() + 3600
    crypto.Signer, crypto.Encryptor = (
        LIBRARY.SignerHMac256(own.signing),
        LIBRARY.EncryptorAesCbc(own.encrypting, own.vector),
    )
    crypto.Verifier = LIBRARY.VerifierHMac256(peer.signing)
    crypto.Decryptor = LIBRARY.DecryptorAesCbc(peer.encrypting, peer.vector)


def pair(mode: str, bits: int = 256) -> tuple[SecureConnection, SecureConnection]:
    """(client, server) over an open channel; the server has said something already."""
    ours, theirs = Keys(1, bits), Keys(11, bits)
    made = []
    for own, peer in ((ours, theirs), (theirs, ours)):
        connection = SecureConnection(policy(mode, own, peer), TransportLimits())
        connection.security_token.ChannelId, connection.security_token.TokenId = CHANNEL, TOKEN
        made.append(connection)
    client, server = made
    assert read(client, server.message_to_binary(b"first", request_id=1)) == (1, b"first")
    return client, server


def read(connection: SecureConnection, chunk: bytes) -> tuple[int, bytes]:
    """As the library reads it."""
    buffer = Buffer(chunk)
    message = connection.receive_from_header_and_body(header_from_binary(buffer), buffer)
    return message.request_id(), bytes(message.body())


@pytest.mark.parametrize("bits", [128, 256])
@pytest.mark.parametrize("mode", MODES)
@given(bodies=st.lists(st.binary(min_size=1, max_size=700), min_size=1, max_size=8))
def test_the_librarys_chunks_are_taken_and_made(mode: str, bits: int, bodies: list[bytes]) -> None:
    client, server = pair(mode, bits)
    chunks = Chunks(client)
    stream = b"".join(server.message_to_binary(body, request_id=n) for n, body in enumerate(bodies, 2))
    at, got = 0, []
    while taken := chunks.take(stream, at):
        got.append((taken.request_id, taken.body))
        at = taken.end
    assert at == len(stream)
    assert got == list(enumerate(bodies, 2))
    twin, _ = pair(mode, bits)
    for n, body in enumerate(bodies, 2):
        made = chunks.put(body, n)
        assert made == twin.message_to_binary(body, request_id=n), "byte for byte"
        assert read(server, made) == (n, body)


@pytest.mark.parametrize("mode", MODES[1:])
@given(where=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_one_wrong_bit_is_never_taken(mode: str, where: int, bit: int) -> None:
    client, server = pair(mode)
    whole = server.message_to_binary(b"a notification of some values", request_id=2)
    broken = bytearray(whole)
    broken[where % len(broken)] ^= 1 << bit
    chunks = Chunks(client)
    assert chunks.take(bytes(broken), 0) is None
    assert client._peer_sequence_number == 1
    assert chunks.take(whole, 0) == (2, b"a notification of some values", len(whole)), (
        "the next is not spoilt by it"
    )


@pytest.mark.parametrize("mode", MODES)
def test_what_is_not_beyond_doubt_is_the_librarys(mode: str) -> None:
    """Not whole, another kind, channel or token, out of turn, too large, in pieces, or before the server's first word."""
    client, server = pair(mode)
    chunks = Chunks(client)
    whole = server.message_to_binary(b"body", request_id=2)
    assert [chunks.take(whole[:n], 0) for n in range(len(whole))] == [None] * len(whole)
    for place, wrong in (
        (0, b"OPNF"),
        (0, b"MSGC"),
        (0, b"MSGA"),
        (8, struct.pack("<I", 8)),
        (12, struct.pack("<I", 4)),
    ):
        assert chunks.take(whole[:place] + wrong + whole[place + len(wrong) :], 0) is None
    later = server.message_to_binary(b"later", request_id=3)
    assert chunks.take(later, 0) is None, "out of turn"
    assert read(client, whole) == (2, b"body")
    client._limits.max_recv_buffer = len(later) - 1
    assert chunks.take(later, 0) is None, "too large"
    client._limits.max_recv_buffer = 65_535
    client._incoming_parts.append(None)  # type: ignore[arg-type]
    assert chunks.take(later, 0) is None, "the end of something in pieces"
    client._incoming_parts.clear()
    client._peer_sequence_number = None
    assert chunks.take(later, 0) is None, "nobody knows which number is next"


@pytest.mark.parametrize("mode", MODES[1:])
def test_new_keys_are_used_as_soon_as_the_library_has_them(mode: str) -> None:
    client, server = pair(mode)
    chunks = Chunks(client)
    old = server.message_to_binary(b"old", request_id=2)
    assert chunks.take(old, 0) is not None
    read(server, chunks.put(b"mine", 1))
    late = server.message_to_binary(b"sealed with the old keys", request_id=3)
    ours, theirs = Keys(101, 256), Keys(111, 256)
    give(client.security_policy, ours, theirs)
    give(server.security_policy, theirs, ours)
    assert chunks.take(late, 0) is None
    assert read(client, late) == (3, b"sealed with the old keys")
    new = server.message_to_binary(b"new", request_id=4)
    assert chunks.take(new, 0) == (4, b"new", len(new))
    assert read(server, chunks.put(b"mine", 5)) == (5, b"mine")


def test_long_requests_and_the_last_number_are_the_librarys() -> None:
    client, server = pair("SignAndEncrypt")
    chunks = Chunks(client)
    assert read(server, chunks.put(bytes(10_000), 2)) == (2, bytes(10_000))
    client._sequence_number = server._peer_sequence_number = 0xFFFFFFFE
    assert read(server, chunks.put(b"last", 3)) == (3, b"last")
    assert client._sequence_number == 0xFFFFFFFF
    assert read(server, chunks.put(b"first again", 4)) == (4, b"first again")
    assert client._sequence_number == 1


@pytest.mark.parametrize("name", ["SignerHMac256", "VerifierHMac256", "EncryptorAesCbc", "DecryptorAesCbc"])
def test_the_library_still_has_what_is_read_here(name: str) -> None:
    made = getattr(LIBRARY, name)(*([bytes(32)] if "HMac" in name else [bytes(32), bytes(16)]))
    assert (made.key if "HMac" in name else made.cipher.mode.initialization_vector) in (bytes(32), bytes(16))
