"""MQTT over WebSocket (MQTT 5.0, 6; RFC 6455) as an object that looks like a non-blocking socket.

paho has one too, but shakes hands with blocking calls, one byte at a time, and holds a whole frame in memory before it gives the first byte
away. Frames mean nothing to MQTT, so their content is passed on as it comes and nothing is collected: a frame of a gigabyte costs
no more than its chunks. Bytes of the server are never trusted: what is not RFC 6455 ends the connection.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import socket
import ssl
from typing import NamedTuple

import numpy as np

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
LONGEST = 16_384  # bytes of the server's answer
BINARY, CLOSE, PING, PONG = 2, 8, 9, 10


class Refused(ConnectionError):
    """The server does not speak WebSocket, or not MQTT over it."""


class Hello(NamedTuple):
    """The client's opening request, and the key that its answer must fit."""

    request: bytes
    key: bytes


def hello(host: str, port: int, path: str) -> Hello:
    key = base64.b64encode(os.urandom(16))
    name = f"[{host}]" if ":" in host else host
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {name}:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key.decode()}",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: mqtt",
        "",
        "",
    )
    return Hello("\r\n".join(lines).encode("ascii"), key)


def check(answer: bytes, key: bytes) -> None:
    """Raises Refused unless this is the right answer (RFC 6455, 4.1)."""
    status, *lines = answer.decode("latin-1").split("\r\n")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    words = status.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.1") or words[1] != "101":
        raise Refused(f"no WebSocket there: it answers {status[:80]!r}")
    expected = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest()).decode()
    if headers.get("sec-websocket-accept") != expected or headers.get("upgrade", "").lower() != "websocket":
        raise Refused("its answer to the WebSocket request is not the right one")
    if headers.get("sec-websocket-protocol") != "mqtt":
        raise Refused("it speaks WebSocket there, but not MQTT over it")


def says_goodbye(early: bytes) -> bool:
    """Whether a closing frame is among the first: nothing more comes then, and nobody would be woken to read it. Raises Refused."""
    place = 0
    while (header := _header(early, place)) is not None and header.control:
        if header.opcode == CLOSE:
            return True
        place = header.body + header.size
    return False


class WebSocket:
    """The part of a socket's interface that paho and the event loop use. early: bytes that came behind the server's answer."""

    def __init__(self, inner: socket.socket, early: bytes = b"") -> None:
        self.inner = inner
        self._head = bytearray(early)
        self._left = 0  # of the frame's content, not yet come
        self._out = bytearray()
        self._claim = 0

    def fileno(self) -> int:
        return self.inner.fileno()

    def close(self) -> None:
        self.inner.close()

    def setblocking(self, blocking: bool) -> None:
        self.inner.setblocking(blocking)

    def recv(self, size: int) -> bytes:
        """Content of data frames; empty at the end. Raises BlockingIOError while there is none."""
        chunk = self.inner.recv(size)
        if not chunk:
            return b""
        content = self._content(chunk)
        if content is None:
            return b""
        if not content:
            raise BlockingIOError
        return content

    def _content(self, chunk: bytes) -> bytes | None:
        """What the chunk brings of data frames; None at a closing frame."""
        data, found = bytes(self._head) + chunk if self._head else chunk, []
        self._head.clear()
        place = 0
        while place < len(data):
            if self._left:
                part = data[place : place + self._left]
                found.append(part)
                place += len(part)
                self._left -= len(part)
                continue
            header = _header(data, place)
            if header is None or (header.control and header.body + header.size > len(data)):
                self._head += data[place:]
                break
            place = header.body
            if header.control:
                if header.opcode == CLOSE:
                    return b"".join(found) or None
                if header.opcode == PING:
                    self._pong(data[place : place + header.size])
                place += header.size
            else:
                self._left = header.size
        return b"".join(found)

    def send(self, data: bytes | bytearray) -> int:
        """Takes all of the data or none: paho offers the same bytes again after BlockingIOError."""
        if not self._claim:
            self._frame(BINARY, bytes(data))
            self._claim = len(data)
        while self._out:
            del self._out[: self.inner.send(self._out)]
        claim, self._claim = self._claim, 0
        return claim

    def _pong(self, content: bytes) -> None:
        """At once if the system takes it, else before the next packet."""
        if len(self._out) > LONGEST:
            raise Refused("it asks for answers and does not read them")
        self._frame(PONG, content)
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            del self._out[: self.inner.send(self._out)]

    def _frame(self, opcode: int, content: bytes) -> None:
        """A masked frame (RFC 6455, 5.3) behind what waits to be sent."""
        size, mask = len(content), os.urandom(4)
        if size < 126:
            length = bytes([0x80 | size])
        elif size < 1 << 16:
            length = b"\xfe" + size.to_bytes(2, "big")
        else:
            length = b"\xff" + size.to_bytes(8, "big")
        self._out += bytes([0x80 | opcode]) + length + mask + _masked(content, mask)


class _Header(NamedTuple):
    opcode: int
    size: int
    body: int

    @property
    def control(self) -> bool:
        return self.opcode >= CLOSE


def _header(data: bytes, place: int) -> _Header | None:
    """RFC 6455, 5.2; None while it is not complete."""
    if len(data) - place < 2:
        return None
    first, second = data[place], data[place + 1]
    opcode, size, body = first & 15, second & 0x7F, place + 2
    if first & 0x70 or second & 0x80 or opcode not in (0, BINARY, CLOSE, PING, PONG):
        raise Refused("a frame that MQTT over WebSocket does not have")
    if opcode >= CLOSE and (size > 125 or not first & 0x80):
        raise Refused("a control frame that is too long")
    width = {126: 2, 127: 8}.get(size, 0)
    if len(data) < body + width:
        return None
    if width:
        size = int.from_bytes(data[body : body + width], "big")
    return _Header(opcode, size, body + width)


def _masked(content: bytes, mask: bytes) -> bytes:
    size = len(content)
    pattern = np.frombuffer(mask * (size // 4 + 1), np.uint8)[:size]
    return (np.frombuffer(content, np.uint8) ^ pattern).tobytes()
