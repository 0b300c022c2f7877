"""One MQTT 3.1.1 connection of an edge node: connect with a will, subscribe, publish, be cut off.

Not paho: a will that is wrong, a retained birth or a connection that dies at a chosen byte must be possible, and PINGREQ is
used as a fence: a broker reads in order, so everything published before it was taken when PINGRESP comes.
"""

import asyncio
import struct
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, cast

from simulators.awake import patient
from simulators.broker.packets import GOODBYE, packet, text
from simulators.errors import SimulatorError
from simulators.faces.broker import Address

ANSWER: Final = 5.0  # s
_CONNACK, _PUBLISH, _PUBACK, _SUBACK, _PINGRESP = 0x20, 0x30, 0x40, 0x90, 0xD0
_PINGREQ: Final = packet(0xC0, b"")
Heard = Callable[[str, bytes], None]


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes when the connection is lost."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


class Link(asyncio.Protocol):
    """Built by `open_link`; everything but the three that wait for an answer is written at once."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._number = 0
        self._waiting: defaultdict[int, deque[asyncio.Future[bytes]]] = defaultdict(deque)
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.lost.set()
        for waiting in self._waiting.values():
            for answer in waiting:
                if not answer.done():
                    answer.set_exception(ConnectionError("the broker closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (split := _first(self._received)) is not None:
            kind, body, self._received = split
            self._take(kind, body)

    def _take(self, kind: int, body: bytes) -> None:
        if kind & 0xF0 == _PUBLISH:
            self._message(kind, body)
        elif self._waiting[kind]:
            answer = self._waiting[kind].popleft()
            if not answer.done():
                answer.set_result(body)

    def _message(self, kind: int, body: bytes) -> None:
        """3.3; what came with QoS 1 is acknowledged before it is obeyed."""
        size = struct.unpack_from(">H", body)[0]
        topic, rest = body[2 : 2 + size].decode(), body[2 + size :]
        if kind & 0x06:
            self._write(packet(_PUBACK, rest[:2]))
            rest = rest[2:]
        self._heard(topic, rest)

    def _write(self, content: bytes) -> None:
        if self._transport is not None:
            self._transport.write(content)

    async def ask(self, content: bytes, answer: int) -> bytes:
        """Send a packet and wait for the answer of this type; ConnectionError or TimeoutError without one."""
        if self._transport is None:
            raise ConnectionError("the broker closed the connection")
        coming: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[answer].append(coming)
        self._transport.write(content)
        async with patient(ANSWER):
            return await coming

    async def subscribe(self, topics: Sequence[str]) -> None:
        """3.8, QoS 1."""
        self._number += 1
        wanted = b"".join(text(topic) + b"\x01" for topic in topics)
        await self.ask(packet(0x82, struct.pack(">H", self._number) + wanted), _SUBACK)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """QoS 0, as Sparkplug asks for everything but the will."""
        self._write(packet(0x30 | int(retain), text(topic) + payload))

    async def fence(self) -> None:
        """Everything published so far has been read by the broker."""
        await self.ask(_PINGREQ, _PINGRESP)

    def close(self) -> None:
        """In order: the broker forgets the will."""
        self._write(GOODBYE)
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Lose the connection: the broker publishes the will."""
        if self._transport is not None:
            self._transport.abort()


async def open_link(address: Address, client_id: str, will: Will | None, heard: Heard) -> Link:
    """A connection that the broker has accepted, with a clean session and without keep-alive."""
    link = Link(heard)
    try:
        async with patient(ANSWER):
            await asyncio.get_running_loop().create_connection(lambda: link, *address)
        answer = await link.ask(connect(client_id, will), _CONNACK)
    except (OSError, TimeoutError) as error:
        link.abort()  # or it is accepted later, and throws out the one that came after it
        raise SimulatorError(
            f"{address.url} does not answer ({error or 'time-out'}). Is the broker running?"
        ) from error
    if answer[1]:
        link.abort()
        raise SimulatorError(f"{address.url} refuses the connection (CONNACK {answer[1]}).")
    return link


def connect(client_id: str, will: Will | None) -> bytes:
    """3.1."""
    flags, content = 0x02, text(client_id)
    if will is not None:
        flags |= 0x04 | will.qos << 3 | int(will.retain) << 5
        content += text(will.topic) + struct.pack(">H", len(will.payload)) + will.payload
    return packet(0x10, text("MQTT") + bytes((4, flags, 0, 0)) + content)


def _first(received: bytes) -> tuple[int, bytes, bytes] | None:
    """The first whole packet: its first byte, its body, and what follows."""
    length = shift = 0
    for at in range(1, min(5, len(received))):
        length |= (received[at] & 0x7F) << shift
        shift += 7
        if received[at] < 0x80:
            end = at + 1 + length
            return (received[0], received[at + 1 : end], received[end:]) if end <= len(received) else None
    return None
