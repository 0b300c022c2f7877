"""The codec of the scripted peers says what mosquitto and paho say: two that share no line with it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.mqtt.peers import Mosquitto
from tests.mqtt.scripted import codec
from tests.mqtt.scripted.broker import Rules, scripted
from tests.mqtt.scripted.codec import Login
from tests.mqtt.scripted.raw import raw

LEVELS = pytest.mark.parametrize("level", [4, 5])


@LEVELS
async def test_mosquitto_understands_it_and_is_understood(tmp_path: Path, level: int) -> None:
    broker = Mosquitto(tmp_path)
    await broker.start()
    async with raw(broker.port, level, Login("listener")) as listener, raw(broker.port, level) as sender:
        body = (7).to_bytes(2, "big") + (codec.properties({}) if level == 5 else b"")
        await listener.send(codec.packet(codec.SUBSCRIBE, body + codec.binary("a/#") + b"\x01"))
        granted = await listener.receive(codec.SUBACK)
        assert granted is not None
        assert (granted.mid, granted.codes) == (7, (1,))
        props = {"content_type": "text", "user_property": [("k", "v")]} if level == 5 else None
        assert await sender.publish("a/b", b"x" * 300, props=props)
        heard = await listener.receive(codec.PUBLISH)
        assert heard is not None
        assert (heard.topic, heard.payload, heard.qos) == (b"a/b", b"x" * 300, 1)
        assert heard.properties == (props or {})
    await broker.stop()


@LEVELS
async def test_paho_understands_the_scripted_broker(level: int) -> None:
    version = MQTTProtocolVersion.MQTTv5 if level == 5 else MQTTProtocolVersion.MQTTv311
    client = paho.Client(CallbackAPIVersion.VERSION2, "p", protocol=version)
    heard: list[tuple[str, bytes]] = []
    client.on_message = lambda _client, _data, message: heard.append((message.topic, bytes(message.payload)))
    client.on_connect = lambda *_: client.subscribe("t/#", 1) and None
    wanted = Properties(PacketTypes.CONNECT) if level == 5 else None  # type: ignore[no-untyped-call]
    if wanted is not None:
        wanted.ReceiveMaximum = 9
    async with scripted(Rules(slices=1)) as broker:
        await asyncio.to_thread(client.connect, "127.0.0.1", broker.port, properties=wanted)
        client.loop_start()
        link = await broker.link()
        assert link.subscribed == {"t/#": 1}
        assert link.allowed == (9 if level == 5 else 65_535)
        link.publish("t/1", b"one", mid=1)
        link.publish("t/2", b"two", mid=2)
        assert await link.acknowledges(2) == [1, 2]
        await asyncio.to_thread(client.disconnect)
        await asyncio.to_thread(client.loop_stop)
    assert heard == [("t/1", b"one"), ("t/2", b"two")]


async def _acknowledged(*mids: int) -> None:
    async with scripted() as broker, raw(broker.port) as client:
        for mid in (1, 2):
            broker.links[0].publish("t", b"", mid=mid)
        for mid in mids:
            await client.send(codec.acknowledgement(codec.PUBACK, mid))


@pytest.mark.parametrize(
    ("mids", "words"),
    [
        ((7,), "7, which is not in flight"),
        ((1, 1), "1, which is not in flight"),
        ((2,), "2 before that of 1"),
    ],
)
async def test_wrong_acknowledgements_are_complaints(mids: tuple[int, ...], words: str) -> None:
    await _acknowledged(1, 2)
    with pytest.raises(AssertionError, match=words):
        await _acknowledged(*mids)


def test_what_breaks_the_standard_is_wrong() -> None:
    for first, raw_bytes in ((0x80, b"\0\1"), (0x82, b"\0"), (0x10, b"\0\4MQTX"), (0xC0, b"\0")):
        with pytest.raises(codec.Wrong):
            codec.decode(first, raw_bytes, 4)
