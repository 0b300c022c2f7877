"""Messages and chunks (OPC 10000-6, 6.7 and 7.1): what stands before the body, and how a long body is cut."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.opcua import encoder as enc
from tests.opcua.scripted.codec.wire import Reader

HEADER: Final = 8
LARGEST: Final = 65_535
NONE_URI: Final = "http://opcfoundation.org/UA/SecurityPolicy#None"
BASIC_URI: Final = "http://opcfoundation.org/UA/SecurityPolicy#Basic256Sha256"


@dataclass(frozen=True)
class Hello:
    version: int
    receive: int
    send: int
    message: int
    chunks: int
    url: str | None


def decode_hello(body: bytes) -> Hello:
    reader = Reader(body)
    return Hello(reader.u32(), reader.u32(), reader.u32(), reader.u32(), reader.u32(), reader.string())


def acknowledge(hello: Hello, largest: int = LARGEST) -> bytes:
    """No larger than the client asked for (7.1.2.4); 0 messages and chunks: no limit of ours."""
    receive, send = min(largest, hello.send), min(largest, hello.receive)
    return framed(b"ACKF", struct.pack("<IIIII", 0, receive, send, 0, 0))


def error(code: int, reason: str) -> bytes:
    return framed(b"ERRF", struct.pack("<I", code) + enc.string(reason))


def framed(kind: bytes, body: bytes) -> bytes:
    return struct.pack("<4sI", kind, HEADER + len(body)) + body


@dataclass(frozen=True)
class Asymmetric:
    """The security header of an OpenSecureChannel message (6.7.2.3)."""

    policy: str | None
    certificate: bytes | None
    thumbprint: bytes | None

    @classmethod
    def read(cls, reader: Reader) -> Asymmetric:
        return cls(reader.string(), reader.octets(), reader.octets())

    def encode(self) -> bytes:
        return enc.string(self.policy) + enc.octets(self.certificate) + enc.octets(self.thumbprint)


def pieces(body: bytes, room: int) -> Iterator[tuple[bytes, bytes]]:
    """(C or F, piece) of at most `room` bytes each."""
    last = max(0, (len(body) - 1) // room) * room
    for at in range(0, last, room):
        yield b"C", body[at : at + room]
    yield b"F", body[last:]
