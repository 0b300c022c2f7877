"""A machine that remembers what it said: an MQTT 3.1.1 broker with one client, and the only publisher behind it.

It speaks over a socket, as a broker does, and keeps what is not acknowledged as a persistent session does (MQTT 3.1.1,
4.1 and 4.4). That it is broker and publisher in one is the point: whether a value was acknowledged is known here exactly,
and nothing between the machine and the collector can lose one and be blamed for it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from collector.doors import shut
from collector.selftest.truth import Truth

WINDOW: Final = 100
"""Messages on the wire without PUBACK at most: fewer than the 128 whose time of receipt the collector remembers."""

WAITING: Final = 5_000
"""Messages that wait here while nobody takes them; then the machine stops talking, and nothing is lost by that."""

CONNECT, PUBACK, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT = 0x10, 0x40, 0x80, 0xA0, 0xC0, 0xE0


class Press:
    """`say` is what the machine is made to do; `acknowledged` and `unacknowledged` are counts of messages."""

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self.port = 0
        self.acknowledged = 0
        self.sessions = 0
        self._queue: deque[tuple[str, bytes]] = deque()
        self._flying: OrderedDict[int, bytes] = OrderedDict()
        self._mid = 0
        self._writer: asyncio.StreamWriter | None = None

    @property
    def unacknowledged(self) -> int:
        return len(self._queue) + len(self._flying)

    @property
    def backed_up(self) -> bool:
        return len(self._queue) >= WAITING

    @property
    def connected(self) -> bool:
        return self._writer is not None

    def say(self, topic: str, payload: bytes) -> None:
        self._queue.append((topic, payload))
        self._push()

    def _push(self) -> None:
        while self._writer is not None and self._queue and len(self._flying) < WINDOW:
            topic, payload = self._queue.popleft()
            self._mid = self._mid % 65_535 + 1
            name = topic.encode()
            rest = len(name).to_bytes(2) + name + self._mid.to_bytes(2) + payload
            self._flying[self._mid] = rest
            self._writer.write(_packet(0x32, rest))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One life of the collector's connection; a newer one takes over, as at any broker."""
        self.sessions += 1
        try:
            while (packet := await _read(reader)) is not None:
                self._answer(*packet, writer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            if self._writer is writer:
                self._writer = None
            writer.close()

    def _answer(self, kind: int, body: bytes, writer: asyncio.StreamWriter) -> None:
        if kind == CONNECT:
            writer.write(_packet(0x20, bytes([self.sessions > 1, 0])))
        elif kind == SUBSCRIBE:
            writer.write(_packet(0x90, body[:2] + b"\x01" * _filters(body)))
            self._take_over(writer)
        elif kind == UNSUBSCRIBE:
            writer.write(_packet(0xB0, body[:2]))
        elif kind == PINGREQ:
            writer.write(_packet(0xD0, b""))
        elif kind == DISCONNECT:
            writer.close()
        elif kind == PUBACK and self._flying.pop(int.from_bytes(body[:2]), None) is not None:
            self.acknowledged += 1
            self._push()

    def _take_over(self, writer: asyncio.StreamWriter) -> None:
        """What was not acknowledged comes again, in its order and marked as such, before anything new."""
        self._writer = writer
        for rest in self._flying.values():
            writer.write(_packet(0x3A, rest))
        self._push()


def _packet(first: int, rest: bytes) -> bytes:
    size, length = len(rest), bytearray()
    while True:
        size, digit = divmod(size, 128)
        length.append(digit | (0x80 if size else 0))
        if not size:
            return bytes([first]) + bytes(length) + rest


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes] | None:
    first = await reader.read(1)
    if not first:
        return None
    size = shift = 0
    while True:
        digit = (await reader.readexactly(1))[0]
        size |= (digit & 0x7F) << shift
        shift += 7
        if digit < 0x80:
            return first[0] & 0xF0, await reader.readexactly(size)


def _filters(body: bytes) -> int:
    place, count = 2, 0
    while place < len(body):
        place += 3 + int.from_bytes(body[place : place + 2])
        count += 1
    return count


@asynccontextmanager
async def press(truth: Truth) -> AsyncIterator[Press]:
    """Listening on a free port of this computer."""
    machine = Press(truth)
    server = await asyncio.start_server(machine.serve, "127.0.0.1", 0)
    machine.port = server.sockets[0].getsockname()[1]
    try:
        yield machine
    finally:
        await shut(server)
        if machine._writer is not None:  # noqa: SLF001 (its own module)
            machine._writer.close()  # noqa: SLF001
        with suppress(ConnectionError):
            await asyncio.sleep(0)
