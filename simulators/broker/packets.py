"""MQTT 3.1.1 packets as a broker reads and writes them. Sections are those of the OASIS standard."""

import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = (
    *(0x80, 0x90, 0xA0, 0xB0, 0xC0, 0xD0),
    0xE0,
)
LARGEST: Final = 16_000_000  # bytes of one packet


def text(content: str) -> bytes:
    """1.5.3: two bytes of length, then UTF-8."""
    encoded = content.encode()
    return struct.pack(">H", len(encoded)) + encoded


def packet(kind: int, body: bytes) -> bytes:
    """2.2: packet type and flags, remaining length in groups of seven bits."""
    length, digits = len(body), bytearray()
    while True:
        length, digit = length >> 7, length & 0x7F
        digits.append(digit | (0x80 if length else 0))
        if not length:
            return bytes((kind, *digits)) + body


PONG: Final = packet(PINGRESP, b"")
GOODBYE: Final = packet(DISCONNECT, b"")


class Malformed(Exception):
    """Bytes that are no MQTT; the connection ends (4.8)."""


class Message(NamedTuple):
    """What is passed on. payload: as it came."""

    topic: str
    payload: bytes
    qos: int
    retain: bool = False


class Connect(NamedTuple):
    """3.1. level: 4 is MQTT 3.1.1. keep_alive: s, 0 for none. will: None for none."""

    level: int
    client_id: str
    clean: bool
    keep_alive: int
    will: Message | None


class Reader:
    """Takes the fields of a packet one by one."""

    def __init__(self, body: bytes) -> None:
        self._body, self._at = body, 0

    def __bool__(self) -> bool:
        return self._at < len(self._body)

    def take(self, size: int) -> bytes:
        if self._at + size > len(self._body):
            raise Malformed("a packet ends too early")
        self._at += size
        return self._body[self._at - size : self._at]

    def number(self, size: int = 2) -> int:
        return int.from_bytes(self.take(size), "big")

    def binary(self) -> bytes:
        return self.take(self.number())

    def text(self) -> str:
        """1.5.3: without U+0000."""
        try:
            said = self.binary().decode()
        except UnicodeDecodeError:
            raise Malformed("a text that is not UTF-8") from None
        if "\0" in said:
            raise Malformed("a text with U+0000")
        return said

    def rest(self) -> bytes:
        return self.take(len(self._body) - self._at)


def split(received: bytearray) -> Iterator[tuple[int, bytes]]:
    """First byte and body of each whole packet at the beginning, which are taken away."""
    while (header := _header(received)) is not None:
        begin, length = header
        if length > LARGEST:
            raise Malformed(f"a packet of {length} bytes")
        if len(received) < begin + length:
            return
        kind, body = received[0], bytes(received[begin : begin + length])
        del received[: begin + length]
        yield kind, body


def _header(received: bytearray) -> tuple[int, int] | None:
    """Where the body begins and how long it is (2.2.3); None: not known yet."""
    length = 0
    for place in range(1, min(5, len(received))):
        length |= (received[place] & 0x7F) << 7 * (place - 1)
        if received[place] < 0x80:
            return place + 1, length
    if len(received) >= 5:
        raise Malformed("a length of more than four bytes")
    return None


def read_connect(body: bytes) -> Connect:
    """3.1. What follows the will, a user and a password, is for others."""
    fields = Reader(body)
    name, level, flags, keep_alive = fields.text(), fields.number(1), fields.number(1), fields.number()
    if name not in ("MQTT", "MQIsdp"):
        raise Malformed(f"the protocol '{name[:20]}'")
    if level > 4:
        return Connect(level, "", clean=True, keep_alive=0, will=None)
    client_id, will = fields.text(), None
    if flags & 0x04:
        will = Message(fields.text(), fields.binary(), min(flags >> 3 & 3, 1), bool(flags & 0x20))
    return Connect(level, client_id, bool(flags & 0x02), keep_alive, will)


def read_publish(flags: int, body: bytes) -> tuple[Message, int]:
    """3.3: the message and its packet identifier, 0 with QoS 0."""
    fields, qos = Reader(body), flags >> 1 & 3
    topic = fields.text()
    if not topic or "+" in topic or "#" in topic or qos == 3:
        raise Malformed(f"a message to '{topic[:80]}'")
    number = fields.number() if qos else 0
    return Message(topic, fields.rest(), qos, bool(flags & 1)), number


def read_subscribe(body: bytes) -> tuple[int, Sequence[tuple[str, int]]]:
    """3.8: the packet identifier, and the filters with the QoS that is wanted."""
    fields, wanted = Reader(body), []
    number = fields.number()
    while fields:
        wanted.append((fields.text(), fields.number(1)))
    return number, wanted


def read_unsubscribe(body: bytes) -> tuple[int, Sequence[str]]:
    """3.10."""
    fields, filters = Reader(body), []
    number = fields.number()
    while fields:
        filters.append(fields.text())
    return number, filters


def publish(message: Message, qos: int, number: int, *, again: bool = False) -> bytes:
    """3.3."""
    identifier = struct.pack(">H", number) if qos else b""
    flags = int(message.retain) | qos << 1 | again << 3
    return packet(PUBLISH | flags, text(message.topic) + identifier + message.payload)


def answer(kind: int, number: int, content: bytes = b"") -> bytes:
    """Whatever answers with a packet identifier. PUBREL has its second bit set (2.2.2)."""
    return packet(kind, struct.pack(">H", number) + content)


def connack(code: int, *, present: bool = False) -> bytes:
    """3.2."""
    return packet(CONNACK, bytes((present, code)))
