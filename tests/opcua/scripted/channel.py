"""The server's end of a secure channel: tokens and their overlap, sequence numbers, chunks in and out (OPC 10000-6, 6.7)."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from adapters.clock import Clock
from tests.opcua import encoder as enc
from tests.opcua.scripted import codes
from tests.opcua.scripted.codec import chunks, secure
from tests.opcua.scripted.codec.chunks import Asymmetric
from tests.opcua.scripted.codec.secure import Identity, Keys
from tests.opcua.scripted.codec.services import Asked, answer, decode_request
from tests.opcua.scripted.codec.wire import Reader

_OVERHEAD = 128  # of headers, padding and signature, generously


class Refused(Exception):
    """The channel cannot go on: args are the status code and words for the Error message."""


@dataclass
class Token:
    """Security token: keys of both directions (None without security) and until when it is good (s, monotonic)."""

    id: int
    until: float
    client: Keys | None = None
    server: Keys | None = None


@dataclass
class Channel:
    """identity: what the server proves itself with. largest: of a chunk that the client takes."""

    id: int
    clock: Clock
    identity: Identity | None
    lifetime: float
    off: float = 0.0  # s that its stamps are ahead
    largest: int = chunks.LARGEST
    policy: str = chunks.NONE_URI
    mode: int = 1
    client: bytes | None = None  # its certificate
    tokens: list[Token] = field(default_factory=list)
    sending: int = 0  # index into tokens: the old one until the client uses the new one
    sent: int = 0
    received: int | None = None
    partial: bytes = b""
    opened: int = 0
    _tokens: int = 0

    def open(self, body: bytes) -> Asked:
        """The request in an OPN chunk's body; answered by `granted`."""
        reader = Reader(body)
        reader.u32()
        head = Asymmetric.read(reader)
        front = struct.pack("<4sI", b"OPNF", len(body) + chunks.HEADER) + body[: reader.at]
        plain = reader.rest()
        if head.policy == chunks.BASIC_URI and self.identity is not None and head.certificate is not None:
            plain = secure.open_open(self.identity, head.certificate, front, plain)
        elif head.policy != chunks.NONE_URI:
            raise Refused(codes.SECURITY_CHECKS_FAILED, f"no such policy: {head.policy}")
        self.client, self.policy = head.certificate, head.policy
        sequence, request = struct.unpack_from("<II", plain)
        self._count(sequence)
        self.opened += 1
        return decode_request(plain[8:], request)

    def granted(self, asked: Asked) -> bytes:
        """The chunk that opens the channel, or gives it new keys. Sequence numbers are given when it is sent, so: send it."""
        self.mode = asked["mode"]
        nonce = b"" if self.policy == chunks.NONE_URI else os.urandom(32)
        lifetime = min(asked["lifetime"] / 1000, self.lifetime)
        self._issue(asked["nonce"] or b"", nonce, lifetime)
        token = struct.pack(
            "<IIqI",
            self.id,
            self.tokens[-1].id,
            enc.ticks((self.clock.now() + round(self.off * 1e9)) // 100 * 100),
            round(lifetime * 1000),
        )
        body = answer(asked, struct.pack("<I", 0) + token + enc.octets(nonce or None))
        return self._seal_open(asked.request_id, body)

    def _issue(self, theirs: bytes, ours: bytes, lifetime: float) -> None:
        """A quarter more than its lifetime a token is good for (OPC 10000-4, 5.6.2)."""
        self._tokens += 1
        made = Token(self._tokens, self.clock.monotonic() + lifetime * 1.25)
        if ours:
            made.client, made.server = secure.derived(ours, theirs), secure.derived(theirs, ours)
        self.tokens = [*self.tokens[-1:], made]
        self.sending = 0

    def _seal_open(self, request: int, body: bytes) -> bytes:
        plain = self._header(request) + body
        own = self.identity if self.policy != chunks.NONE_URI else None
        certificate, client = (own.certificate, self.client) if own else (None, None)
        thumb = secure.thumbprint(client) if client else None
        head = struct.pack("<I", self.id) + Asymmetric(self.policy, certificate, thumb).encode()
        if own is None or client is None:
            return chunks.framed(b"OPNF", head + plain)
        return secure.seal_open(own, client, head, plain)

    def _header(self, request: int) -> bytes:
        self.sent += 1
        return struct.pack("<II", self.sent & 0xFFFFFFFF, request)

    def _count(self, sequence: int) -> None:
        """Sequence numbers of chunks rise by one (6.7.2.4)."""
        if self.received is not None and sequence != self.received + 1 and sequence >= 1024:
            raise Refused(codes.SECURITY_CHECKS_FAILED, f"sequence number {sequence} after {self.received}")
        self.received = sequence

    def take(self, kind: bytes, body: bytes) -> tuple[int, bytes] | None:
        """(request id, message) when its last chunk has come. Raises Refused."""
        channel, token = struct.unpack_from("<II", body)
        known = next((t for t in self.tokens if t.id == token and self.clock.monotonic() <= t.until), None)
        if channel != self.id or known is None:
            raise Refused(codes.SECURE_CHANNEL_TOKEN_UNKNOWN, f"token {token} of channel {channel}")
        self.sending = self.tokens.index(known)
        plain = body[8:]
        if known.client is not None:
            front = struct.pack("<4sI", kind, len(body) + chunks.HEADER) + body[:8]
            plain = secure.unseal(front, plain, known.client, self.mode)
        sequence, request = struct.unpack_from("<II", plain)
        self._count(sequence)
        self.partial += plain[8:]
        if kind[3:] == b"C":
            return None
        message, self.partial = self.partial, b""
        return (request, message) if kind[3:] == b"F" else None

    def put(self, request: int, body: bytes) -> Iterator[bytes]:
        """The chunks of an answer."""
        token = self.tokens[min(self.sending, len(self.tokens) - 1)]
        head = struct.pack("<II", self.id, token.id)
        for last, piece in chunks.pieces(body, self.largest - _OVERHEAD):
            plain = self._header(request) + piece
            if token.server is None:
                yield chunks.framed(b"MSG" + last, head + plain)
            else:
                yield secure.seal(b"MSG" + last, head, plain, token.server, self.mode)
