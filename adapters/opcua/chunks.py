"""The chunk that nearly every message is, one that is whole and sealed with the present keys, without the library's objects for it.

The library makes a dozen objects and derives its contexts anew for every chunk: 15 µs for a notification and its request, 40
with security. Here keys and rules stay the library's (OPC 10000-6, 6.7.2), and contexts are kept for as long as its keys. What is not as
expected in any way, a failed signature included, is not judged here: `None` has the library look at the very same bytes.
"""

from __future__ import annotations

import hmac as constant_time
import struct
from typing import Any, Final, NamedTuple

from asyncua.crypto import security_policies as library
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher, modes

_crypto: Final[Any] = library  # has no types
_HEAD: Final = struct.Struct("<4sIII")  # kind, size, channel, token
_NUMBERS: Final = struct.Struct("<II")  # sequence number, request id
_WHOLE: Final = b"MSGF"
_CLEAR: Final = _HEAD.size + _NUMBERS.size
_SIGNATURE: Final = 32
_BLOCK: Final = 16
_LONGEST: Final = 4096  # bytes of a request that are sealed here
_LAST: Final = 0xFFFFFFFF


class Taken(NamedTuple):
    """end: where the chunk ends."""

    request_id: int
    body: bytes
    end: int


class Seal:
    """HMAC-SHA256 with AES-CBC or without, both ways, with the keys that the library has now."""

    def __init__(self) -> None:
        self._theirs: Any = None
        self._ours: Any = None
        self._decryptor: Any = None
        self._front = b""

    def opened(self, crypto: Any, head: bytes, sealed: bytes) -> bytes | None:
        """What was sealed, numbers first; None if it is not sealed with the present keys, or not at all in this way."""
        verifier = crypto.Verifier
        if verifier is not self._theirs:
            self._learn_theirs(crypto)
        if self._theirs is None or len(sealed) < _SIGNATURE + _NUMBERS.size:
            return None
        if crypto.is_encrypted:
            if len(sealed) % _BLOCK:
                return None
            # The context goes on from chunk to chunk: the vector as a block of its own begins each of them anew.
            sealed = self._decryptor.update(self._front + sealed)[_BLOCK:]
            crypto.revolved_expired_key()
        mac = self._their_mac.copy()
        mac.update(head + sealed[:-_SIGNATURE])
        if not constant_time.compare_digest(mac.finalize(), sealed[-_SIGNATURE:]):
            return None
        return sealed[: -_SIGNATURE - (sealed[-_SIGNATURE - 1] + 1 if crypto.is_encrypted else 0)]

    def _learn_theirs(self, crypto: Any) -> None:
        self._theirs = None
        decryptor = crypto.Decryptor
        if (
            type(crypto.Verifier) is not _crypto.VerifierHMac256
            or type(decryptor) is not _crypto.DecryptorAesCbc
        ):
            return
        self._their_mac = hmac.HMAC(crypto.Verifier.key, hashes.SHA256())
        self._decryptor, self._front = decryptor.cipher.decryptor(), _vector(decryptor.cipher)
        self._theirs = crypto.Verifier

    def closed(self, crypto: Any, head: tuple[int, int], plain: bytes) -> bytes | None:
        """The whole chunk. head: channel, token. plain: numbers and body. None where the library should do it."""
        if crypto.Signer is not self._ours:
            self._learn_ours(crypto)
        if self._ours is None:
            return None
        padded = plain + crypto.padding(len(plain)) if crypto.is_encrypted else plain
        front = _HEAD.pack(_WHOLE, _HEAD.size + len(padded) + _SIGNATURE, *head)
        mac = self._our_mac.copy()
        mac.update(front + padded)
        signed = padded + mac.finalize()
        return front + (crypto.Encryptor.cipher.encryptor().update(signed) if crypto.is_encrypted else signed)

    def _learn_ours(self, crypto: Any) -> None:
        self._ours = None
        if type(crypto.Signer) is _crypto.SignerHMac256 and type(crypto.Encryptor) is _crypto.EncryptorAesCbc:
            self._our_mac = hmac.HMAC(crypto.Signer.key, hashes.SHA256())
            self._ours = crypto.Signer


def _vector(cipher: Cipher[modes.CBC]) -> bytes:
    return bytes(cipher.mode.initialization_vector)


class Chunks:
    """For one connection of the library's: its numbers are read and moved on as the library does it."""

    def __init__(self, connection: Any) -> None:
        self._connection, self._seal = connection, Seal()

    def take(self, data: bytes, at: int) -> Taken | None:
        """The whole message that begins there; None if it is none, not all there, or not beyond doubt."""
        connection = self._connection
        if len(data) - at < _CLEAR or connection._incoming_parts:  # noqa: SLF001
            return None
        kind, size, channel, token = _HEAD.unpack_from(data, at)
        present, end = connection.security_token, at + size
        expected = kind == _WHOLE and channel == present.ChannelId and token == present.TokenId
        if not expected or not _CLEAR <= size <= connection._limits.max_recv_buffer or end > len(data):  # noqa: SLF001
            return None
        plain = self._opened(data, at, end)
        if plain is None or len(plain) < _NUMBERS.size:
            return None
        sequence, request_id = _NUMBERS.unpack_from(plain)
        if connection._peer_sequence_number is None or sequence != connection._peer_sequence_number + 1:  # noqa: SLF001
            return None
        connection._peer_sequence_number = sequence  # noqa: SLF001
        return Taken(request_id, plain[_NUMBERS.size :], end)

    def _opened(self, data: bytes, at: int, end: int) -> bytes | None:
        crypto: Any = self._connection.security_policy.symmetric_cryptography
        body = at + _HEAD.size
        if type(crypto) is _crypto.CryptographyNone:
            return data[body:end]
        if type(crypto) is _crypto.Cryptography:
            return self._seal.opened(crypto, data[at:body], data[body:end])
        return None

    def put(self, message: bytes, request_id: int) -> bytes:
        """The message as a chunk with the next number; the library's own work where this is not for us."""
        connection = self._connection
        sequence = connection._sequence_number + 1  # noqa: SLF001
        made = self._closed(_NUMBERS.pack(sequence, request_id) + message) if sequence <= _LAST else None
        if made is None or len(message) > _LONGEST:
            return bytes(connection.message_to_binary(message, request_id=request_id))
        connection._sequence_number = sequence  # noqa: SLF001
        return made

    def _closed(self, plain: bytes) -> bytes | None:
        crypto: Any = self._connection.security_policy.symmetric_cryptography
        token = self._connection.security_token
        head = (token.ChannelId, token.TokenId)
        if type(crypto) is _crypto.CryptographyNone:
            return _HEAD.pack(_WHOLE, _HEAD.size + len(plain), *head) + plain
        return self._seal.closed(crypto, head, plain) if type(crypto) is _crypto.Cryptography else None
