"""The bulk receive path says what paho's own decoder says, packet by packet, however the bytes are cut."""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import _packet
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from adapters.mqtt.channel import KEPT, Identity, Malformed, Message, Wire, parse_publish

V5, V311 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311
PINGRESP = b"\xd0\x00"


def test_the_library_is_the_one_whose_inside_is_known() -> None:
    assert version("paho-mqtt") == "2.2.0"


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def wire_on(sock: socket.socket, protocol: MQTTProtocolVersion = V5, largest: int = 1_000_000) -> Wire:
    clock = itertools.count(1)
    return Wire(sock, Identity("c", protocol, largest, False, lambda: next(clock)))


def length(size: int) -> bytes:
    out = bytearray()
    while True:
        size, low = divmod(size, 128)
        out.append(low | (0x80 if size else 0))
        if not size:
            return bytes(out)


def publish(
    topic: bytes, payload: bytes, *, qos: int, mid: int, flags: int, properties: bytes | None
) -> bytes:
    body = len(topic).to_bytes(2, "big") + topic + (mid.to_bytes(2, "big") if qos else b"")
    body += (properties or b"") + payload
    return bytes([0x30 | flags & 9 | qos << 1]) + length(len(body)) + body


def some_properties(text: str, aliases: int) -> bytes:
    properties: Any = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if text:
        properties.ContentType = text
        properties.UserProperty = ("key", text * 40)  # beyond 127 bytes: a length of two
    if aliases:
        properties.MessageExpiryInterval = aliases
    return bytes(properties.pack())


MESSAGES = st.lists(
    st.tuples(
        st.binary(min_size=1, max_size=20),
        st.binary(max_size=300),
        st.integers(0, 1),
        st.integers(1, 65535),
        st.sampled_from([0, 1, 8, 9]),
        st.text("ab", max_size=4),
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=12,
)


@given(MESSAGES, st.booleans(), st.lists(st.integers(1, 60), min_size=1))
def test_messages_are_those_of_paho_however_the_bytes_are_cut(
    drawn: list[Any], five: bool, cuts: list[int]
) -> None:
    protocol = V5 if five else V311
    packets, expected = [], []
    for topic, payload, qos, mid, flags, text, aliases in drawn:
        properties = some_properties(text, aliases) if five else None
        packet = publish(topic, payload, qos=qos, mid=mid, flags=flags, properties=properties)
        size = len(packet) - 1 - len(length(len(packet)))
        body = packet[len(packet) - size :] if len(packet) - size - 1 == len(length(size)) else packet[2:]
        known = _packet.decode_publish(packet[0], body, protocol)
        expected.append((known.topic, bytes(known.payload), known.mid, known.qos, known.dup, known.retain))
        packets += [packet, PINGRESP]
    stream = b"".join(packets)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        wire = wire_on(ours, protocol)
        place = 0
        for cut in itertools.cycle(cuts):
            wire.feed(stream[place : place + cut])
            place += cut
            if place >= len(stream):
                break
        wire.drop()
    assert [message[:6] for message in wire.messages] == expected
    assert [message.at for message in wire.messages] == list(range(1, len(expected) + 1))
    assert wire.received == len(expected)


@given(st.binary(max_size=60), st.integers(0, 15), st.booleans())
def test_a_broken_publish_is_malformed_and_nothing_else(body: bytes, flags: int, five: bool) -> None:
    try:
        message = parse_publish(0x30 | flags, body, len(body), 1, five=five)
    except Malformed:
        return
    assert isinstance(message, Message)


def test_an_oversize_message_is_skipped_and_the_stream_goes_on(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    wire = wire_on(pair[0], V311, largest=1000)
    huge = publish(b"t/huge", b"x" * 300_000, qos=1, mid=7, flags=0, properties=None)
    after = publish(b"t/small", b"1", qos=1, mid=8, flags=0, properties=None)
    stream = huge + after
    for start in range(0, len(stream), 50_000):
        wire.feed(stream[start : start + 50_000])
        assert len(wire._rest) <= KEPT + 50_000
    first, second = wire.messages
    assert (first.mid, first.size, len(first.payload)) == (7, 300_000, KEPT - 10)
    assert (second.mid, second.payload, second.size) == (8, b"1", 1)
    wire.drop()


def test_what_is_not_mqtt_is_malformed(pair: tuple[socket.socket, socket.socket]) -> None:
    wire = wire_on(pair[0])
    with pytest.raises(Malformed):
        wire.feed(b"\x30\xff\xff\xff\xff\x01")
    with pytest.raises(Malformed):
        wire_on(pair[1]).feed(b"\x36\x05\x00\x01a\x00\x00")  # QoS 3
    wire.drop()


def test_what_has_come_waits_until_it_is_taken(pair: tuple[socket.socket, socket.socket]) -> None:
    """No bound of its own: the session stops reading from the wire instead, and drops nothing."""
    wire = wire_on(pair[0], V311)
    for mid in range(1, 5_001):
        wire.feed(publish(b"t", b"%d" % mid, qos=1, mid=mid, flags=0, properties=None))
    assert [message.mid for message in wire.messages] == list(range(1, 5_001))
    wire.drop()


def test_acknowledgements_go_out_in_one_piece_and_in_order(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    wire = wire_on(ours, V311)
    wire.connect("127.0.0.1", 1883, 20)
    theirs.recv(1000)
    messages = [
        Message(b"t", b"", mid, qos, False, False, 1, 0) for mid, qos in ((5, 1), (3, 1), (0, 0), (9, 2))
    ]
    wire.acknowledge(messages)
    wire.loop_write()
    assert theirs.recv(1000) == b"\x40\x02\x00\x05\x40\x02\x00\x03\x50\x02\x00\x09"
    wire._packet(0x62, b"\x00\x09", 2)
    wire.loop_write()
    assert theirs.recv(1000) == b"\x70\x02\x00\x09", "QoS 2 that another client left behind is completed"
    wire.drop()
    wire.acknowledge(messages)
    assert not wire.want_write(), "nothing is sent for a connection that is gone"


@given(st.lists(st.binary(max_size=40), max_size=6), st.booleans())
def test_no_bytes_of_a_broker_raise_anything_but_malformed(chunks: list[bytes], five: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        wire = wire_on(ours, V5 if five else V311)
        wire.connect("127.0.0.1", 1883, 20)
        try:
            for chunk in chunks:
                wire.feed(chunk)
        except Malformed:
            pass
        wire.drop()


@given(
    st.sampled_from([0x20, 0x40, 0x50, 0x62, 0x70, 0x90, 0xB0, 0xD0, 0xE0, 0xF0]),
    st.binary(max_size=12),
    st.booleans(),
)
def test_no_packet_of_a_broker_raises_anything_but_malformed(first: int, body: bytes, five: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        wire = wire_on(ours, V5 if five else V311)
        wire.connect("127.0.0.1", 1883, 20)
        with contextlib.suppress(Malformed):
            wire.feed(bytes([first, len(body)]) + body)
        wire.drop()
