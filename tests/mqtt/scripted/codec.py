"""MQTT 3.1.1 and 5 as bytes, both directions: what a scripted peer must say and understand, and what it must get wrong on purpose.

Encoders take every field as it is and check nothing, so that a script may send what no library would: topics that are not UTF-8,
QoS 3, lengths that lie. Decoders are strict: what the collector sends must be right, or `Wrong` ends the test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(1, 8)
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = range(8, 16)
NAMES = (
    *("", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE"),
    *("SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"),
)
_FLAGS = {PUBREL: 2, SUBSCRIBE: 2, UNSUBSCRIBE: 2}
Properties = Mapping[str, Any]

# MQTT 5.0, 2.2.2.2: identifier -> name, type
_TABLE = {
    0x01: ("payload_format_indicator", "byte"),
    0x02: ("message_expiry_interval", "four"),
    0x03: ("content_type", "text"),
    0x08: ("response_topic", "text"),
    0x09: ("correlation_data", "binary"),
    0x0B: ("subscription_identifier", "varint"),
    0x11: ("session_expiry_interval", "four"),
    0x12: ("assigned_client_identifier", "text"),
    0x13: ("server_keep_alive", "two"),
    0x15: ("authentication_method", "text"),
    0x16: ("authentication_data", "binary"),
    0x17: ("request_problem_information", "byte"),
    0x18: ("will_delay_interval", "four"),
    0x19: ("request_response_information", "byte"),
    0x1A: ("response_information", "text"),
    0x1C: ("server_reference", "text"),
    0x1F: ("reason_string", "text"),
    0x21: ("receive_maximum", "two"),
    0x22: ("topic_alias_maximum", "two"),
    0x23: ("topic_alias", "two"),
    0x24: ("maximum_qos", "byte"),
    0x25: ("retain_available", "byte"),
    0x26: ("user_property", "pair"),
    0x27: ("maximum_packet_size", "four"),
    0x28: ("wildcard_subscription_available", "byte"),
    0x29: ("subscription_identifiers_available", "byte"),
    0x2A: ("shared_subscription_available", "byte"),
}
_BY_NAME = {name: (number, kind) for number, (name, kind) in _TABLE.items()}
_WIDTH = {"byte": 1, "two": 2, "four": 4}


class Wrong(AssertionError):
    """Bytes of the peer under test that break the standard."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet as received. What a kind does not have keeps its default; `raw` is everything behind the fixed header."""

    kind: int
    flags: int
    raw: bytes
    mid: int = 0
    codes: tuple[int, ...] = ()
    client_id: str = ""
    level: int = 0
    clean: bool = False
    keep_alive: int = 0
    username: str | None = None
    password: bytes | None = None
    filters: tuple[tuple[str, int], ...] = ()
    """SUBSCRIBE: filter and options; UNSUBSCRIBE: options 0."""
    topic: bytes = b""
    payload: bytes = b""
    present: bool = False
    properties: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return NAMES[self.kind]

    @property
    def qos(self) -> int:
        return (self.flags >> 1) & 3

    @property
    def dup(self) -> bool:
        return bool(self.flags & 8)


# --- writing


def varint(size: int) -> bytes:
    """MQTT 5.0, 1.5.5."""
    out = bytearray()
    while True:
        size, low = divmod(size, 128)
        out.append(low | (0x80 if size else 0))
        if not size:
            return bytes(out)


def binary(text: bytes | str) -> bytes:
    """A length of two bytes and the bytes; texts as UTF-8."""
    raw = text.encode() if isinstance(text, str) else text
    return len(raw).to_bytes(2, "big") + raw


def packet(kind: int, body: bytes, flags: int | None = None, declared: int | None = None) -> bytes:
    """declared: the length that is claimed, if it is not the true one."""
    first = kind << 4 | (_FLAGS.get(kind, 0) if flags is None else flags)
    return bytes([first]) + varint(len(body) if declared is None else declared) + body


def properties(wanted: Properties) -> bytes:
    body = b"".join(_property(name, value) for name, value in wanted.items())
    return varint(len(body)) + body


def _property(name: str, value: Any) -> bytes:
    number, kind = _BY_NAME[name]
    if kind == "pair":
        return b"".join(bytes([number]) + binary(key) + binary(word) for key, word in value)
    if kind in _WIDTH:
        return bytes([number]) + int(value).to_bytes(_WIDTH[kind], "big")
    return bytes([number]) + (varint(value) if kind == "varint" else binary(value))


def connack(level: int, code: int = 0, *, present: bool = False, props: Properties | None = None) -> bytes:
    return packet(CONNACK, bytes([present, code]) + (properties(props or {}) if level == 5 else b""))


def publish(
    level: int,
    topic: bytes | str,
    payload: bytes,
    *,
    mid: int = 0,
    qos: int = 1,
    dup: bool = False,
    retain: bool = False,
    props: Properties | None = None,
    declared: int | None = None,
) -> bytes:
    """declared: the length of the payload that is claimed."""
    body = binary(topic) + (mid.to_bytes(2, "big") if qos else b"")
    body += properties(props or {}) if level == 5 else b""
    claimed = None if declared is None else len(body) + declared
    return packet(PUBLISH, body + payload, dup << 3 | qos << 1 | retain, claimed)


def acknowledgement(kind: int, mid: int) -> bytes:
    """PUBACK, PUBREC, PUBREL or PUBCOMP without a reason: the same in both versions."""
    return packet(kind, mid.to_bytes(2, "big"))


def suback(level: int, mid: int, codes: Sequence[int], kind: int = SUBACK) -> bytes:
    return packet(kind, mid.to_bytes(2, "big") + (b"\0" if level == 5 else b"") + bytes(codes))


def disconnect(code: int, props: Properties | None = None) -> bytes:
    return packet(DISCONNECT, bytes([code]) + properties(props or {}))


class Login(NamedTuple):
    client_id: str
    clean: bool = True
    keep_alive: int = 60
    props: Properties = MappingProxyType({})


def connect(level: int, login: Login) -> bytes:
    body = binary("MQTT") + bytes([level, 2 if login.clean else 0]) + login.keep_alive.to_bytes(2, "big")
    body += properties(login.props) if level == 5 else b""
    return packet(CONNECT, body + binary(login.client_id))


# --- reading


class Cursor:
    """Takes a body apart; what is missing is `Wrong`."""

    def __init__(self, raw: bytes) -> None:
        self.raw, self.place = raw, 0

    def take(self, n: int) -> bytes:
        if self.place + n > len(self.raw):
            raise Wrong(f"a packet ends too early: {self.raw[:40].hex()}")
        self.place += n
        return self.raw[self.place - n : self.place]

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def binary(self) -> bytes:
        return self.take(self.number(2))

    def text(self) -> str:
        return self.binary().decode()

    def varint(self) -> int:
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise Wrong("a length of more than four bytes")

    def properties(self) -> dict[str, Any]:
        inner = Cursor(self.take(self.varint()))
        found: dict[str, Any] = {}
        while not inner.done:
            name, kind = _TABLE[inner.varint()]
            if kind == "pair":
                found.setdefault(name, []).append((inner.text(), inner.text()))
            elif name in found:
                raise Wrong(f"{name} stands twice")
            else:
                found[name] = inner._value(kind)
        return found

    def _value(self, kind: str) -> Any:
        if kind in _WIDTH:
            return self.number(_WIDTH[kind])
        return {"text": self.text, "binary": self.binary, "varint": self.varint}[kind]()

    @property
    def done(self) -> bool:
        return self.place >= len(self.raw)

    def rest(self) -> bytes:
        return self.take(len(self.raw) - self.place)


def decode(first: int, raw: bytes, level: int) -> Packet:
    """A packet of a client (or of a broker, for the raw client). level: 4 or 5; of CONNECT it is read."""
    kind, flags, cursor = first >> 4, first & 15, Cursor(raw)
    if kind != PUBLISH and flags != _FLAGS.get(kind, 0):
        raise Wrong(f"{NAMES[kind]} with the flags {flags}")
    found = _READERS[kind](cursor, flags, level)
    if not cursor.done:
        raise Wrong(f"{NAMES[kind]} is longer than what it says: {raw.hex()}")
    return Packet(kind, flags, raw, **found)


def _connect(cursor: Cursor, _flags: int, _level: int) -> dict[str, Any]:
    if cursor.text() != "MQTT":
        raise Wrong("the protocol's name is not MQTT")
    level, bits, keep_alive = cursor.number(1), cursor.number(1), cursor.number(2)
    props = cursor.properties() if level == 5 else {}
    client_id = cursor.text()
    if bits & 4:
        raise Wrong("the collector leaves no will")
    username = cursor.text() if bits & 0x80 else None
    password = cursor.binary() if bits & 0x40 else None
    return {
        "client_id": client_id,
        "level": level,
        "clean": bool(bits & 2),
        "keep_alive": keep_alive,
        "username": username,
        "password": password,
        "properties": props,
    }


def _connack(cursor: Cursor, _flags: int, level: int) -> dict[str, Any]:
    present, code = cursor.number(1), cursor.number(1)
    return {
        "present": bool(present),
        "codes": (code,),
        "properties": cursor.properties() if level == 5 else {},
    }


def _publish(cursor: Cursor, flags: int, level: int) -> dict[str, Any]:
    topic = cursor.binary()
    mid = cursor.number(2) if flags & 6 else 0
    props = cursor.properties() if level == 5 else {}
    return {"topic": topic, "mid": mid, "properties": props, "payload": cursor.rest()}


def _acknowledgement(cursor: Cursor, _flags: int, level: int) -> dict[str, Any]:
    mid = cursor.number(2)
    code = 0 if cursor.done or level != 5 else cursor.number(1)
    props = {} if cursor.done or level != 5 else cursor.properties()
    return {"mid": mid, "codes": (code,), "properties": props}


def _subscribe(cursor: Cursor, _flags: int, level: int) -> dict[str, Any]:
    mid = cursor.number(2)
    props = cursor.properties() if level == 5 else {}
    filters = []
    while not cursor.done:
        filters.append((cursor.text(), cursor.number(1)))
    return {"mid": mid, "properties": props, "filters": tuple(filters)}


def _unsubscribe(cursor: Cursor, _flags: int, level: int) -> dict[str, Any]:
    mid = cursor.number(2)
    props = cursor.properties() if level == 5 else {}
    filters = []
    while not cursor.done:
        filters.append((cursor.text(), 0))
    return {"mid": mid, "properties": props, "filters": tuple(filters)}


def _answer(cursor: Cursor, _flags: int, level: int) -> dict[str, Any]:
    mid = cursor.number(2)
    props = cursor.properties() if level == 5 else {}
    return {"mid": mid, "properties": props, "codes": tuple(cursor.rest())}


def _empty(_cursor: Cursor, _flags: int, _level: int) -> dict[str, Any]:
    return {}


def _disconnect(cursor: Cursor, _flags: int, level: int) -> dict[str, Any]:
    code = 0 if cursor.done else cursor.number(1)
    return {"codes": (code,), "properties": {} if cursor.done or level != 5 else cursor.properties()}


_READERS = {
    CONNECT: _connect,
    CONNACK: _connack,
    PUBLISH: _publish,
    **dict.fromkeys((PUBACK, PUBREC, PUBREL, PUBCOMP), _acknowledgement),
    SUBSCRIBE: _subscribe,
    **dict.fromkeys((SUBACK, UNSUBACK), _answer),
    UNSUBSCRIBE: _unsubscribe,
    **dict.fromkeys((PINGREQ, PINGRESP), _empty),
    **dict.fromkeys((DISCONNECT, AUTH), _disconnect),
}


async def read_packet(reader: asyncio.StreamReader, level: int) -> Packet | None:
    """The next packet, or None at the end of the stream."""
    try:
        first = (await reader.readexactly(1))[0]
        size = shift = 0
        while True:
            byte = (await reader.readexactly(1))[0]
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
            if shift > 21:
                raise Wrong("a length of more than four bytes")
        return decode(first, await reader.readexactly(size), level)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
