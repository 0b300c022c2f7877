"""A broker that does what a test says and nothing else, and writes down every packet with the number of its connection.

It answers CONNECT, SUBSCRIBE, UNSUBSCRIBE and PINGREQ as `Rules` say; messages are sent by the test, one packet at a time.
It also judges: an acknowledgement of what is not in flight on this connection (stale, or given twice), one out of the order
of receipt (MQTT 5.0, 4.6), more in flight than was allowed, or a packet that breaks the standard is written into
`complaints`, and leaving the broker with complaints fails the test.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from simulators.doors import shut
from tests.contracts.rig import eventually
from tests.mqtt.scripted import codec
from tests.mqtt.scripted.codec import Packet


@dataclass(slots=True)
class Rules:
    """How every connection from now on is treated; may be changed at any time.

    levels: protocol levels that are understood; others get `refusal`, or the raw bytes in `stranger` if that is set.
    granted: SUBACK code by filter, else the QoS asked for. slices: bytes per write (0: all at once).
    silent: CONNECT gets no answer. mute: SUBSCRIBE gets none. short: it gets one code less than it asks for. pings: PINGREQ is answered.
    deaf: a client's messages get no answer, unless the test has the link `take` them.
    takes: the reason code of the PUBACK for a client's message; None: it is taken, and the connection is cut in place of an answer.
    """

    code: int = 0
    present: bool = False
    props: Mapping[str, Any] = field(default_factory=dict)
    levels: Sequence[int] = (4, 5)
    stranger: bytes | None = None
    granted: Mapping[str, int] = field(default_factory=dict)
    slices: int = 0
    silent: bool = False
    mute: bool = False
    short: bool = False
    pings: bool = True
    deaf: bool = False
    takes: Callable[[Packet], int | None] = lambda _packet: 0


class Seen(NamedTuple):
    """One packet of a client, and on which connection (counted from 1) it came."""

    link: int
    packet: Packet


class Link:
    """One connection of a client."""

    def __init__(self, broker: Broker, number: int, writer: asyncio.StreamWriter) -> None:
        self.number, self.level, self.client_id = number, 4, ""
        self.subscribed: dict[str, int] = {}
        self.in_flight: deque[int] = deque()
        self.completing: set[int] = set()
        self.acknowledged: list[int] = []
        self.allowed = 65_535
        self.ended = asyncio.Event()
        self._broker, self._writer = broker, writer

    def send(self, raw: bytes) -> None:
        """These bytes, whatever they are, cut as the rules say."""
        step = self._broker.rules.slices or max(1, len(raw))
        for start in range(0, len(raw), step):
            self._writer.write(raw[start : start + step])

    async def drain(self) -> None:
        await self._writer.drain()

    def publish(self, topic: bytes | str, payload: bytes, *, mid: int = 0, qos: int = 1, **rest: Any) -> None:
        """One PUBLISH; with a mid it is in flight from now on."""
        if qos:
            self.in_flight.append(mid)
        if len(self.in_flight) > self.allowed:
            self._broker.complaints.append(f"the test itself sends more than Receive Maximum {self.allowed}")
        self.send(codec.publish(self.level, topic, payload, mid=mid, qos=qos, **rest))

    def disconnect(self, code: int, props: Mapping[str, Any] | None = None) -> None:
        """DISCONNECT with a reason (MQTT 5.0, 3.14) and the end of the connection."""
        self.send(codec.disconnect(code, props))
        self._writer.close()

    def hang_up(self) -> None:
        """FIN, as brokers of 3.1.1 end a connection."""
        self._writer.close()

    def cut(self) -> None:
        """RST: what is on its way is lost, in both directions."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def gone(self) -> None:
        """Whatever is left of the connection is thrown away, and the socket closed."""
        self._writer.transport.abort()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    def seen(self, kind: int) -> list[Packet]:
        return [
            seen.packet for seen in self._broker.log if seen.link == self.number and seen.packet.kind == kind
        ]

    async def subscribes(self, n: int) -> None:
        """Until it has subscribed to n filters."""
        await eventually(lambda: len(self.subscribed) >= n, f"{n} subscriptions")

    async def acknowledges(self, n: int) -> list[int]:
        """The packet ids of the acknowledgements, when there are n of them."""
        await eventually(
            lambda: len(self.acknowledged) >= n, f"{n} acknowledgements on connection {self.number}"
        )
        return self.acknowledged

    async def serves(self, reader: asyncio.StreamReader) -> None:
        try:
            while (packet := await codec.read_packet(reader, self.level)) is not None:
                self._broker.log.append(Seen(self.number, packet))
                self._answer(packet)
        except codec.Wrong as wrong:
            self._broker.complaints.append(f"connection {self.number}: {wrong}")
        finally:
            self.ended.set()
            self._writer.close()

    def _answer(self, packet: Packet) -> None:
        if packet.kind == codec.CONNECT:
            self._greet(packet)
        elif packet.kind in (codec.SUBSCRIBE, codec.UNSUBSCRIBE):
            if not self._broker.rules.mute:
                self._grant(packet)
        elif packet.kind == codec.PUBLISH and packet.qos and not self._broker.rules.deaf:
            self.take(packet)
        elif packet.kind == codec.PINGREQ and self._broker.rules.pings:
            self.send(codec.packet(codec.PINGRESP, b""))
        elif packet.kind in (codec.PUBACK, codec.PUBREC):
            self._settle(packet)
        elif packet.kind == codec.PUBCOMP and packet.mid not in self.completing:
            self._broker.complaints.append(
                f"connection {self.number}: PUBCOMP of {packet.mid} without PUBREL"
            )

    def take(self, packet: Packet) -> None:
        """A client's message: it is there when the broker has it, whatever becomes of the answer."""
        if packet.qos != 1 or not packet.mid or packet.dup:
            self._broker.complaints.append(f"connection {self.number}: a PUBLISH that was not expected")
        code = self._broker.rules.takes(packet)
        if code is None or code < 0x80:
            self._broker.taken.append(packet)
        if code is None:
            self.cut()
            return
        reason = bytes([code]) if code else b""
        self.send(codec.packet(codec.PUBACK, packet.mid.to_bytes(2, "big") + reason))

    def _greet(self, packet: Packet) -> None:
        rules = self._broker.rules
        self.level, self.client_id = packet.level, packet.client_id
        self.allowed = packet.properties.get("receive_maximum", 65_535)
        if rules.silent:
            return
        if packet.level not in rules.levels:
            self.send(codec.connack(5, 0x84) if rules.stranger is None else rules.stranger)
            self._writer.close()
            return
        self.send(codec.connack(packet.level, rules.code, present=rules.present, props=rules.props))
        if rules.code:
            self._writer.close()

    def _grant(self, packet: Packet) -> None:
        if packet.kind == codec.UNSUBSCRIBE:
            codes = [0] * len(packet.filters) if self.level == 5 else []
            self.send(codec.suback(self.level, packet.mid, codes, codec.UNSUBACK))
            return
        codes = [self._broker.rules.granted.get(name, options & 3) for name, options in packet.filters]
        self.subscribed.update({name: code for (name, _), code in zip(packet.filters, codes, strict=True)})
        self.send(codec.suback(self.level, packet.mid, codes[: len(codes) - self._broker.rules.short]))

    def _settle(self, packet: Packet) -> None:
        where = f"connection {self.number}: {packet.name} of {packet.mid}"
        if packet.mid not in self.in_flight:
            self._broker.complaints.append(f"{where}, which is not in flight here (stale, or given twice)")
            return
        if packet.mid != self.in_flight[0]:
            self._broker.complaints.append(f"{where} before that of {self.in_flight[0]}")
        self.in_flight.remove(packet.mid)
        self.acknowledged.append(packet.mid)
        if packet.kind == codec.PUBREC:
            self.completing.add(packet.mid)
            self.send(codec.acknowledgement(codec.PUBREL, packet.mid))


class Broker:
    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.port = 0
        self.log: list[Seen] = []
        self.taken: list[Packet] = []
        self.links: list[Link] = []
        self.complaints: list[str] = []

    async def link(self, number: int = 0) -> Link:
        """Connection `number` (0: the newest), once it has subscribed."""
        await eventually(lambda: len(self.links) >= max(1, number), f"connection {number}")
        found = self.links[number - 1]
        await eventually(lambda: bool(found.subscribed), "a SUBSCRIBE")
        return found

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(self, len(self.links) + 1, writer)
        self.links.append(link)
        await link.serves(reader)


@asynccontextmanager
async def scripted(rules: Rules | None = None, port: int = 0) -> AsyncIterator[Broker]:
    """A scripted broker on a free port; leaves when every client has gone, and fails if it has a complaint."""
    broker = Broker(rules or Rules())
    server = await asyncio.start_server(broker._play, "127.0.0.1", port, limit=1 << 20)
    try:
        broker.port = server.sockets[0].getsockname()[1]
        yield broker
        await eventually(lambda: all(link.ended.is_set() for link in broker.links), "every client has gone")
    finally:
        await shut(server)
        for link in broker.links:
            await link.gone()
    if broker.complaints:
        raise AssertionError("; ".join(broker.complaints))
