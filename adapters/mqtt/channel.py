"""paho's client with its socket on our event loop, and our own receive path for PUBLISH. Everything private of paho is here.

paho asks the system for every single byte of a header and makes an object per message (34 µs each); a thread per client
and callbacks across threads would come on top. Here one `recv` takes what the system has, PUBLISH packets are cut out of it
directly, and every other packet goes to paho unchanged: handshake, session, subscriptions and keep-alive stay its business.
Pinned to paho-mqtt 2.2.0; tests/mqtt/test_channel.py compares this path with paho's own, packet by packet.

A PUBLISH beyond `max_packet` (brokers keep to it in MQTT 5, 3.1.2.11.4; in 3.1.1 nobody does) is not stored: its beginning is
kept for the quarantine, the rest is skipped, and it is acknowledged like any other. To drop the connection would bring it again.
"""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.exception import MalformedPacket
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from adapters.mqtt.websocket import WebSocket

PUBLISH = 0x30
PUBACK = 0x40
_ACK = (b"", b"\x40\x02", b"\x50\x02")  # PUBACK; PUBREC for what we never asked for
CHUNK = 1 << 16
KEPT = 1 << 16  # of an oversize message, for the quarantine


class Message(NamedTuple):
    """A PUBLISH as received. topic: the bytes of the wire. at: ns, our clock at receipt. size: of the payload, all of it."""

    topic: bytes
    payload: bytes
    mid: int
    qos: int
    dup: bool
    retain: bool
    at: int
    size: int


_made: Callable[[type[Message], tuple[Any, ...]], Message] = tuple.__new__
"""What `Message(…)` does, without a call of Python's."""


class Malformed(Exception):
    """Bytes that are not MQTT: the connection cannot go on."""


def varint(buffer: bytes | bytearray, place: int, end: int) -> tuple[int, int] | None:
    """A variable byte integer (MQTT 5, 1.5.5) and the place behind it; None if it is not complete."""
    if end - place > 1 and buffer[place + 1] < 0x80 <= buffer[place]:  # two bytes: nearly always
        return buffer[place] & 0x7F | buffer[place + 1] << 7, place + 2
    value = shift = 0
    for at in range(place, min(place + 4, end)):
        value |= (buffer[at] & 0x7F) << shift
        if buffer[at] < 0x80:
            return value, at + 1
        shift += 7
    if end - place >= 4:
        raise Malformed("a length of more than four bytes")
    return None


def parse_publish(first: int, body: bytes, size: int, at: int, *, five: bool) -> Message:
    """A PUBLISH from its flags and the bytes after the fixed header (MQTT 5, 3.3); size: of the whole body on the wire."""
    qos = (first >> 1) & 3
    try:
        place = 2 + (body[0] << 8 | body[1])
        topic = body[2:place]
        mid = 0
        if qos:
            mid = body[place] << 8 | body[place + 1]
            place += 2
        if five:
            place = place + 1 if body[place] == 0 else _behind_properties(body, place)
    except IndexError:
        raise Malformed("a PUBLISH that ends in its header") from None
    if qos == 3 or place > len(body) or (qos and not mid):
        raise Malformed("a PUBLISH with an impossible header")
    fields = topic, body[place:], mid, qos, first & 8 != 0, first & 1 != 0, at, size - place
    return _made(Message, fields)


def _behind_properties(body: bytes, place: int) -> int:
    length = varint(body, place, len(body))
    if length is None:
        raise Malformed("a PUBLISH that ends in its properties")
    return length[0] + length[1]


class Identity(NamedTuple):
    """Who connects and how. largest: bytes of a packet. visiting: the broker keeps no session."""

    client_id: str
    version: MQTTProtocolVersion
    largest: int
    visiting: bool
    now: Callable[[], int]


class Wire(paho.Client):
    """The client of one connection. `messages` grows as they come; nothing here calls back for a message."""

    def __init__(self, prepared: socket.socket | WebSocket, who: Identity) -> None:
        self._prepared: socket.socket | WebSocket | None = prepared
        self._five = who.version == MQTTProtocolVersion.MQTTv5
        super().__init__(
            CallbackAPIVersion.VERSION2,
            who.client_id,
            clean_session=None if self._five else who.visiting,
            protocol=who.version,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        self.messages: deque[Message] = deque()
        self.confirmed: deque[tuple[int, int]] | None = None  # of `post`: packet id, reason code
        self.received = self.volume = 0
        self._largest, self._now = who.largest, who.now
        self._rest = bytearray()
        self._skipping = self._needed = 0
        self._heard = paho.time_func()
        self.hung_up = False  # the broker ended the connection in good order
        self.broken: OSError | None = None

    def _create_socket(self) -> Any:
        """Connected already, by the event loop: paho's own way blocks it for name resolution and TLS."""
        if self._prepared is None:
            raise ConnectionError("one connection, one client")
        prepared, self._prepared = self._prepared, None
        return prepared

    def receive(self) -> MQTTErrorCode:
        """Take what the system has, without waiting. What is not MQTT ends the connection."""
        try:
            chunk = self._sock_recv(CHUNK)
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        except OSError as error:
            self.broken = error
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        if not chunk:
            self.hung_up = True
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        self._heard = self._last_bytes_received = paho.time_func()
        try:
            return self._loop_rc_handle(self.feed(chunk))
        except Malformed:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_PROTOCOL)

    def feed(self, chunk: bytes) -> MQTTErrorCode:
        """Cut packets out of the bytes; the incomplete last one waits for more."""
        if self._skipping:
            passed = min(self._skipping, len(chunk))
            self._skipping -= passed
            chunk = chunk[passed:]
        if self._rest:
            self._rest += chunk
            if len(self._rest) < self._needed:
                return MQTTErrorCode.MQTT_ERR_SUCCESS
            chunk = bytes(self._rest)
        place, rc = self._cut(chunk)
        self._rest = bytearray(chunk[place:])
        return rc

    def _cut(self, chunk: bytes) -> tuple[int, MQTTErrorCode]:
        """Handle the complete packets; returns how far they reach."""
        place, end, five = 0, len(chunk), self._five
        while end - place >= 2:
            first, size, body = chunk[place], chunk[place + 1], place + 2
            if size >= 0x80:
                length = varint(chunk, place + 1, end)
                if length is None:
                    break
                size, body = length
            wanted = size if size <= self._largest else min(size, KEPT)
            if body + wanted > end:
                self._needed = body + wanted - place
                return place, MQTTErrorCode.MQTT_ERR_SUCCESS
            if first & 0xF0 == PUBLISH:
                message = parse_publish(first, chunk[body : body + wanted], size, self._now(), five=five)
                self.messages.append(message)
                self.received += 1
                self.volume += len(message[1])
                rc = MQTTErrorCode.MQTT_ERR_SUCCESS
            else:
                rc = self._packet(first, chunk[body : body + wanted], size)
            place = body + size
            if place > end:
                self._skipping, place = place - end, end
            if rc:
                return place, rc
        self._needed = 0
        return place, MQTTErrorCode.MQTT_ERR_SUCCESS

    def _packet(self, first: int, body: bytes, size: int) -> MQTTErrorCode:
        if len(body) < size:
            raise Malformed("a packet beyond max_packet")
        if first & 0xF0 == PUBACK and self.confirmed is not None and size >= 2:
            self.confirmed.append((body[0] << 8 | body[1], body[2] if size > 2 else 0))
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        self._in_packet = {
            "command": first,
            "have_remaining": 1,
            "remaining_count": [],
            "remaining_mult": 1,
            "remaining_length": size,
            "packet": bytearray(body),
            "to_process": 0,
            "pos": 0,
        }
        try:
            return self._packet_handle()
        except MalformedPacket as error:
            raise Malformed(str(error)) from error

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Acknowledge these, in this order, in one piece (MQTT 5, 4.6)."""
        acks = b"".join(
            _ACK[message.qos] + message.mid.to_bytes(2, "big") for message in messages if message.qos
        )
        if self._sock is not None and acks:
            self._packet_queue(PUBACK, acks, messages[-1].mid, 1)

    def post(self, packets: bytes) -> None:
        """Whole PUBLISH packets of QoS 1, in one piece. Their acknowledgements go to `confirmed`, and nobody sends them again."""
        if self.confirmed is None:
            self.confirmed = deque()
        self._packet_queue(PUBLISH, packets, 0, 1)

    def _handle_pubrel(self) -> MQTTErrorCode:
        """We never ask for QoS 2, but another client may have left it in our session: paho would never complete it."""
        mid = int.from_bytes(self._in_packet["packet"][:2], "big")
        rc = super()._handle_pubrel()
        return rc or self._send_pubcomp(mid)

    @property
    def brought(self) -> tuple[int, int, int]:
        """What came of messages so far, also of the one that is not complete; an answer to a ping changes nothing."""
        return self.received, len(self._rest), self._skipping

    def silence(self) -> float:
        """Seconds since the broker was last heard, while it owes an answer to a ping; else 0."""
        return paho.time_func() - self._heard if self._ping_t else 0.0

    def keep_alive_of(self, seconds: float) -> None:
        """A broker that wants no pings (Server Keep Alive 0) gets them all the same: how else would a dead link be found."""
        self._keepalive = self._keepalive or round(seconds)

    def pardon(self) -> None:
        """While the socket is left unread on purpose, answers to pings are unread too: they do not count as missing."""
        self._ping_t = 0.0
        self._heard = self._last_bytes_received = paho.time_func()

    def excuse(self, seconds: float) -> None:
        """So long nobody looked at the socket: what the broker owes and said counts from that much later on."""
        now = paho.time_func()
        self._heard = min(now, self._heard + seconds)
        self._last_bytes_received = min(now, self._last_bytes_received + seconds)
        self._ping_t = min(now, self._ping_t + seconds) if self._ping_t else 0.0

    def drop(self) -> None:
        """Close the socket now."""
        self._sock_close()
        if self._prepared is not None:
            self._prepared.close()


def connect_properties(session_expiry: float, receive_maximum: int, largest: int) -> Properties:
    """What MQTT 5 lets us ask for in CONNECT (3.1.2.11)."""
    wanted: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    wanted.SessionExpiryInterval = min(round(session_expiry), 0xFFFFFFFF)
    wanted.ReceiveMaximum = receive_maximum
    wanted.MaximumPacketSize = largest
    return wanted  # type: ignore[no-any-return]


def say_goodbye(wire: Wire) -> None:
    """Send what is queued and DISCONNECT, as far as the socket takes it without waiting, and close."""
    with contextlib.suppress(OSError):
        wire.disconnect()
        wire.loop_write()
    wire.drop()
