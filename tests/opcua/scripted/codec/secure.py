"""Basic256Sha256 as OPC 10000-6, 6.7 and OPC 10000-7, 6.6.165 have it, both for Sign and for SignAndEncrypt.

RSA PKCS 1 v1.5 with SHA-256 signs, RSA OAEP with SHA-1 encrypts the OpenSecureChannel messages; HMAC-SHA256 and AES-256-CBC
do it for all others, with keys from P_SHA256 over the nonces. Certificates are used as they are given, whatever is wrong with them.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.opcua.scripted.codec.chunks import HEADER

SIGN, SIGN_AND_ENCRYPT = 2, 3
SIGNATURE_URI: Final = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
_BLOCK, _MAC, _OAEP_OVERHEAD = 16, 32, 42


class Forged(Exception):
    """A signature, a padding or a key does not fit."""


class Keys(NamedTuple):
    """Of one direction."""

    signing: bytes
    encrypting: bytes
    vector: bytes


@dataclass(frozen=True)
class Identity:
    """What a server shows (DER, maybe a chain, leaf first) and the key that it signs with, which may be of another one."""

    certificate: bytes
    key: rsa.RSAPrivateKey

    @classmethod
    def load(cls, certificate: bytes, key: bytes) -> Identity:
        """Both DER; the key as PKCS 8, not encrypted."""
        made = serialization.load_der_private_key(key, None)
        assert isinstance(made, rsa.RSAPrivateKey)
        return cls(certificate, made)


def derived(secret: bytes, seed: bytes) -> Keys:
    """P_SHA256 (RFC 5246, 5): 32 bytes to sign, 32 to encrypt, 16 for the vector (OPC 10000-6, 6.7.5)."""
    made, link = b"", seed
    while len(made) < 80:
        link = hmac.digest(secret, link, "sha256")
        made += hmac.digest(secret, link + seed, "sha256")
    return Keys(made[:32], made[32:64], made[64:80])


def leaf(chain: bytes) -> bytes:
    """The first certificate of a chain, cut by its DER length."""
    if chain[1] < 0x80:
        return chain[: 2 + chain[1]]
    width = chain[1] & 0x7F
    return chain[: 2 + width + int.from_bytes(chain[2 : 2 + width], "big")]


def thumbprint(chain: bytes) -> bytes:
    return hashlib.sha1(leaf(chain), usedforsecurity=False).digest()


def public_key(chain: bytes) -> rsa.RSAPublicKey:
    return cast("rsa.RSAPublicKey", x509.load_der_x509_certificate(leaf(chain)).public_key())


def sign(key: rsa.RSAPrivateKey, data: bytes) -> bytes:
    return key.sign(data, padding.PKCS1v15(), hashes.SHA256())


def verify(key: rsa.RSAPublicKey, signature: bytes, data: bytes) -> None:
    """Raises cryptography's InvalidSignature."""
    key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())


def _oaep() -> padding.OAEP:
    weak: Any = hashes.SHA1  # the policy says so
    return padding.OAEP(padding.MGF1(weak()), weak(), None)


def decrypt(key: rsa.RSAPrivateKey, data: bytes) -> bytes:
    size = key.key_size // 8
    return b"".join(key.decrypt(data[at : at + size], _oaep()) for at in range(0, len(data), size))


def encrypt(key: rsa.RSAPublicKey, data: bytes) -> bytes:
    room = key.key_size // 8 - _OAEP_OVERHEAD
    return b"".join(key.encrypt(data[at : at + room], _oaep()) for at in range(0, len(data), room))


def seal_open(own: Identity, client: bytes, head: bytes, plain: bytes) -> bytes:
    """An OPN chunk: head is everything between message header and sequence header, plain from there on (6.7.2)."""
    key = public_key(client)
    size, room = key.key_size // 8, key.key_size // 8 - _OAEP_OVERHEAD
    extra = size > 256
    unpadded = len(plain) + 1 + extra + own.key.key_size // 8
    fill = -unpadded % room
    body = plain + bytes([fill & 0xFF]) * (fill + 1) + (bytes([fill >> 8]) if extra else b"")
    total = (unpadded + fill) // room * size
    front = struct.pack("<4sI", b"OPNF", HEADER + len(head) + total) + head
    return front + encrypt(key, body + sign(own.key, front + body))


def open_open(own: Identity, client: bytes, front: bytes, sealed: bytes) -> bytes:
    """The plain text of a client's OPN chunk, from the sequence header on; front is everything before it."""
    plain = decrypt(own.key, sealed)
    key = public_key(client)
    size = key.key_size // 8
    verify(key, plain[-size:], front + plain[:-size])
    return unpadded(plain[:-size], own.key.key_size > 2048)


def unpadded(plain: bytes, extra: bool) -> bytes:
    fill = plain[-1] << 8 | plain[-2] if extra else plain[-1]
    return plain[: -(fill + 1 + extra)]


def seal(kind: bytes, head: bytes, plain: bytes, keys: Keys, mode: int) -> bytes:
    """A MSG or CLO chunk; head is channel and token, plain begins with the sequence header."""
    if mode == SIGN:
        front = struct.pack("<4sI", kind, HEADER + len(head) + len(plain) + _MAC) + head + plain
        return front + hmac.digest(keys.signing, front, "sha256")
    fill = -(len(plain) + 1 + _MAC) % _BLOCK
    body = plain + bytes([fill]) * (fill + 1)
    front = struct.pack("<4sI", kind, HEADER + len(head) + len(body) + _MAC) + head
    cipher = Cipher(algorithms.AES(keys.encrypting), modes.CBC(keys.vector)).encryptor()
    return front + cipher.update(body + hmac.digest(keys.signing, front + body, "sha256")) + cipher.finalize()


def unseal(front: bytes, sealed: bytes, keys: Keys, mode: int) -> bytes:
    """The plain text of a chunk, from the sequence header on. Raises Forged."""
    if mode == SIGN_AND_ENCRYPT:
        cipher = Cipher(algorithms.AES(keys.encrypting), modes.CBC(keys.vector)).decryptor()
        sealed = cipher.update(sealed) + cipher.finalize()
    plain, mac = sealed[:-_MAC], sealed[-_MAC:]
    if not hmac.compare_digest(mac, hmac.digest(keys.signing, front + plain, "sha256")):
        raise Forged
    return unpadded(plain, extra=False) if mode == SIGN_AND_ENCRYPT else plain
