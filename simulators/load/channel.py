"""Secure channels without security, server side: chunks to message bodies and back (OPC 10000-6, 6.7 and 7.1).

Not asyncua's server: it makes objects for every chunk and every value, and would be the limit of what is measured.
"""

import asyncio
import itertools
import struct
from collections.abc import Callable, Iterable
from typing import Any, Protocol, cast

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary

CHUNK = 65_535
MESSAGE = 64 * 2**20
POLICY = "http://opcfoundation.org/UA/SecurityPolicy#None"
LIFETIME_MS = 3_600_000
_HEADER, _FRAME = struct.Struct("<3scI"), struct.Struct("<3scIIIII")
_CHANNELS = itertools.count(1)


class Listener(Protocol):
    """Who is told what comes in over a channel."""

    def message(self, channel: "Channel", request: int, body: bytes) -> None: ...

    def closed(self, channel: "Channel") -> None: ...


class Channel(asyncio.Protocol):
    """One connection. A peer that breaks the rules is disconnected without a word: this is load, not a conformance test."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._parts = bytearray()
        self._sequence = 0
        self._id, self._token = 0, 0
        self.congested = False
        self._handlers: dict[bytes, Callable[[bytes], None]] = {
            b"HEL": self._hello,
            b"OPN": self._open,
            b"MSG": self._message,
            b"CLO": lambda _: self.close(),
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=4 * CHUNK)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._listener.closed(self)

    def pause_writing(self) -> None:
        self.congested = True

    def resume_writing(self) -> None:
        self.congested = False

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._received += data
        while len(self._received) >= _HEADER.size:
            kind, _, size = _HEADER.unpack_from(self._received)
            if kind not in self._handlers or not _HEADER.size <= size <= CHUNK:
                return self.close()
            if len(self._received) < size:
                break
            frame = bytes(self._received[:size])
            del self._received[:size]
            self._handlers[kind](frame)
        return None

    def _hello(self, frame: bytes) -> None:
        self._write(struct.pack("<3scIIIIII", b"ACK", b"F", 28, 0, CHUNK, CHUNK, MESSAGE, 0))

    def _open(self, frame: bytes) -> None:
        body = Buffer(frame[12:])
        struct_from_binary(ua.AsymmetricAlgorithmHeader, body)
        request_id = struct_from_binary(ua.SequenceHeader, body).RequestId
        request = struct_from_binary(ua.OpenSecureChannelRequest, body)
        answer: Any = ua.OpenSecureChannelResponse()
        answer.ResponseHeader.RequestHandle = request.RequestHeader.RequestHandle
        self._id, self._token = self._id or next(_CHANNELS), self._token + 1
        token = answer.Parameters.SecurityToken
        token.ChannelId, token.TokenId, token.RevisedLifetime = self._id, self._token, LIFETIME_MS
        self._write(self._opened(request_id, struct_to_binary(answer)))

    def _opened(self, request: int, body: bytes) -> bytes:
        self._sequence += 1
        uri = POLICY.encode()
        secured = struct.pack("<I", len(uri)) + uri + b"\xff" * 8
        rest = secured + struct.pack("<II", self._sequence, request) + body
        return struct.pack("<3scII", b"OPN", b"F", 12 + len(rest), self._id) + rest

    def _message(self, frame: bytes) -> None:
        *_, request = struct.unpack_from("<IIII", frame, 8)
        self._parts += frame[24:]
        if frame[3:4] == b"C" and len(self._parts) <= MESSAGE:
            return
        body, self._parts = bytes(self._parts), bytearray()
        if frame[3:4] == b"F":
            self._listener.message(self, request, body)

    def send(self, request: int, body: bytes) -> None:
        """A message of any length, in chunks."""
        room = CHUNK - _FRAME.size
        while len(body) > room:
            self._write(self._frame(b"C", request, room) + body[:room])
            body = body[room:]
        self._write(self._frame(b"F", request, len(body)) + body)

    def send_parts(self, request: int, parts: Iterable[bytes | memoryview]) -> None:
        """A message in pieces, which are copied once."""
        body = b"".join(parts)
        if len(body) > CHUNK - _FRAME.size:
            return self.send(request, body)
        return self._write(self._frame(b"F", request, len(body)) + body)

    def _frame(self, final: bytes, request: int, size: int) -> bytes:
        self._sequence += 1
        return _FRAME.pack(b"MSG", final, _FRAME.size + size, self._id, self._token, self._sequence, request)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)
