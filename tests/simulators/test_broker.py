"""The built-in broker keeps what it acknowledged, whatever happens to its readers: asked by paho and by raw bytes, not by its own code."""

import asyncio
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from simulators.broker.filters import is_filter, matches
from simulators.broker.session import WINDOW
from simulators.faces.broker import OwnBroker, own_broker
from simulators.proxy.server import Proxy, open_proxy

V2 = CallbackAPIVersion.VERSION2


class Stranger:
    """A client of paho in its own thread."""

    def __init__(self, client_id: str = "", *, clean: bool = True) -> None:
        self.got: list[tuple[str, bytes, int, bool]] = []
        self.connected, self.subscribed = threading.Event(), threading.Event()
        self.present = False
        self.client = Client(
            V2, client_id=client_id, clean_session=clean, protocol=MQTTProtocolVersion.MQTTv311
        )
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = self._up
        self.client.on_disconnect = lambda *_: self.connected.clear()
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.on_message = self._message

    def _up(self, _client: Client, _data: Any, flags: Any, *_: Any) -> None:
        self.present = flags.session_present
        self.connected.set()

    def _message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self.got.append((message.topic, bytes(message.payload), message.qos, message.retain))

    async def open(self, port: int, *filters: str, qos: int = 1, keepalive: int = 20) -> "Stranger":
        self.client.connect_async("127.0.0.1", port, keepalive)
        self.client.loop_start()
        await until(self.connected.is_set)
        if filters:
            self.client.subscribe([(text, qos) for text in filters])
            await until(self.subscribed.is_set)
        return self

    async def say(self, topic: str, payload: bytes, qos: int = 1, *, retain: bool = False) -> None:
        told = self.client.publish(topic, payload, qos, retain)
        await until(told.is_published)

    async def close(self) -> None:
        self.client.disconnect()
        await asyncio.to_thread(self.client.loop_stop)


async def until(true: Callable[[], object], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


def ours(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the broker said; the event loop has its own words about what other tests have left."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("simulators.broker")]


@asynccontextmanager
async def bed() -> AsyncIterator[tuple[OwnBroker, Proxy]]:
    """A broker, and a way to it that can be disturbed."""
    async with own_broker("127.0.0.1", 0) as broker, open_proxy(("127.0.0.1", broker.address.port)) as door:
        yield broker, door


@asynccontextmanager
async def strangers(*all_: Stranger) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for each in all_:
            await each.close()


async def test_nothing_acknowledged_is_lost_by_cuts() -> None:
    """amqtt lost what was in flight at each."""
    reader, writer = Stranger("reader", clean=False), Stranger()
    async with bed() as (broker, door), strangers(reader, writer):
        await reader.open(door.port, "shop/#")
        await writer.open(broker.address.port)
        for part in range(4):
            for number in range(250):
                writer.client.publish("shop/a", b"%d" % (part * 250 + number), 1)
            door.cut("both")
        await until(lambda: len({payload for _, payload, _, _ in reader.got}) == 1000)
        await broker.drain(5)
    first = list(dict.fromkeys(int(payload) for _, payload, _, _ in reader.got))
    assert first == list(range(1000)), "in order, apart from what comes again"
    assert not any(retain for *_, retain in reader.got)


async def test_who_is_away_gets_it_later_and_who_wanted_a_clean_session_does_not() -> None:
    writer, keeps, forgets = Stranger(), Stranger("keeps", clean=False), Stranger("forgets")
    async with bed() as (broker, _), strangers(writer, keeps, forgets):
        port = broker.address.port
        for name in ("keeps", "forgets"):
            async with strangers(first := Stranger(name, clean=name == "forgets")):
                await first.open(port, "a/+")
                assert not first.present
        await writer.open(port)
        for number in range(3 * WINDOW):
            writer.client.publish("a/b", b"%d" % number, 1 + number % 2)
        await writer.say("a/b", b"never", 0)
        await writer.say("a/c", b"last", 2)
        await keeps.open(port)
        await forgets.open(port)
        await until(lambda: len(keeps.got) == 3 * WINDOW + 1)
        assert (keeps.present, forgets.present) == (True, False)
        assert [payload for _, payload, _, _ in keeps.got] == [
            *(b"%d" % n for n in range(3 * WINDOW)),
            b"last",
        ]
        assert forgets.got == []


async def test_qos_is_the_lower_of_both() -> None:
    low, high, writer = Stranger(), Stranger(), Stranger()
    async with bed() as (broker, _), strangers(low, high, writer):
        await low.open(broker.address.port, "t", qos=0)
        await high.open(broker.address.port, "t", "#", qos=2)
        await writer.open(broker.address.port)
        for qos in (0, 1, 2):
            await writer.say("t", b"%d" % qos, qos)
        await until(lambda: len(low.got) == len(high.got) == 3)
        assert [qos for _, _, qos, _ in low.got] == [0, 0, 0]
        assert [qos for _, _, qos, _ in high.got] == [0, 1, 1], "once each, though two filters want it"


async def test_retained_messages_and_their_end() -> None:
    before, after, later, writer = Stranger(), Stranger(), Stranger(), Stranger()
    async with bed() as (broker, _), strangers(before, after, later, writer):
        port = broker.address.port
        await before.open(port, "t")
        await writer.open(port)
        await writer.say("t", b"kept", retain=True)
        await after.open(port, "#")
        await until(lambda: after.got and before.got)
        assert (before.got[0][3], after.got[0][3]) == (False, True)
        await writer.say("t", b"", retain=True)
        await later.open(port, "t", "end")
        await writer.say("end", b".")
        await until(lambda: later.got)
        assert [topic for topic, *_ in later.got] == ["end"]


async def test_what_is_thrown_away_is_counted_and_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("simulators.broker.session.LIMIT", 5)
    keeps, writer = Stranger("keeps", clean=False), Stranger()
    async with bed() as (broker, _), strangers(keeps, writer):
        port = broker.address.port
        async with strangers(first := Stranger("keeps", clean=False)):
            await first.open(port, "t")
        await writer.open(port)
        for number in range(8):
            await writer.say("t", b"%d" % number)
        assert broker.undelivered == {"keeps": 3}
        await keeps.open(port)
        await until(lambda: len(keeps.got) == 5)
        await writer.say("t", b"after")
        await until(lambda: keeps.got[-1][1] == b"after")
        assert broker.undelivered == {"keeps": 3}
    assert ours(caplog) == ["keeps does not get what is said now: 5 messages wait for it already."]


async def test_what_a_reader_of_qos_0_is_too_slow_for_is_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("simulators.broker.server.BACKLOG", -1)
    slow, writer = Stranger("slow"), Stranger()
    async with bed() as (broker, _), strangers(slow, writer):
        await slow.open(broker.address.port, "t", qos=0)
        await writer.open(broker.address.port)
        for _ in range(2):
            await writer.say("t", b"1")
        assert broker.undelivered == {"slow": 2}
    assert ours(caplog) == ["slow does not get what is said now: -1 bytes wait in its connection already."]


@pytest.mark.parametrize("orderly", [True, False])
async def test_the_will_is_spoken_for_who_is_lost_and_for_nobody_else(orderly: bool) -> None:
    reader, dying = Stranger(), Stranger("dying")
    dying.client.will_set("will", b"gone", 1)
    async with bed() as (broker, door), strangers(reader, dying):
        await reader.open(broker.address.port, "will", "end")
        await dying.open(door.port)
        if orderly:
            await dying.close()
        else:
            await door.set_door("closed")
            door.cut("both")
            await until(lambda: reader.got)
        writer = await Stranger().open(broker.address.port)
        async with strangers(writer):
            await writer.say("end", b".")
            await until(lambda: reader.got and reader.got[-1][0] == "end")
        assert [topic for topic, *_ in reader.got] == (["end"] if orderly else ["will", "end"])


async def test_the_newer_of_two_with_one_name_stays() -> None:
    async with bed() as (broker, _):
        reader, first = await _raw(broker, b"one")
        _, second = await _raw(broker, b"one")
        assert await reader.read() == b""
        for each in (first, second):
            each.close()


async def test_who_is_silent_for_too_long_is_gone() -> None:
    async with bed() as (broker, _):
        reader, writer = await _raw(broker, b"silent", keep_alive=1)
        async with asyncio.timeout(60):
            assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"\x10\x10\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x03abc", b"\x20\x02\x00\x01"),  # MQTT 5 is refused in words of 3.1.1
        (b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x00\x00\x00", b"\x20\x02\x00\x02"),  # a session needs a name
        (b"\x10\x0c\x00\x04HTTP\x04\x02\x00\x00\x00\x00", b""),
        (b"GET / HTTP/1.1\r\n\r\n", b""),
        (b"\xc0\x00", b""),
        (b"\x30\xff\xff\xff\xff\x7f", b""),
        (b"\x10\x03\x00\x04M", b""),
    ],
)  # fmt: skip
async def test_what_is_no_mqtt_of_its_ends(said: bytes, answer: bytes) -> None:
    async with bed() as (broker, _):
        reader, writer = await asyncio.open_connection(*broker.address)
        writer.write(said)
        async with asyncio.timeout(60):
            assert await reader.read() == answer
        writer.close()


async def _raw(
    broker: OwnBroker, name: bytes, keep_alive: int = 0
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(*broker.address)
    body = b"\x00\x04MQTT\x04\x02" + struct.pack(">HH", keep_alive, len(name)) + name
    writer.write(bytes((0x10, len(body))) + body)
    assert await reader.readexactly(4) == b"\x20\x02\x00\x00"
    return reader, writer


def test_filters_as_the_standard_has_them() -> None:
    """4.7.1, its own examples."""
    sport = "sport/tennis/player1"
    wanted = {"sport/tennis/player1/#": [sport, f"{sport}/ranking"], "sport/#": ["sport", sport], "+": ["sport"], "+/+": ["/finance"],
              "/+": ["/finance"], "sport/+": ["sport/"], "#": [sport], "$SYS/#": ["$SYS/a"], "$SYS/+": ["$SYS/a"]}  # fmt: skip
    for text, topics in wanted.items():
        assert is_filter(text)
        assert all(matches(text, topic) for topic in topics), text
    unwanted = {
        "sport/+": ["sport"],
        "+": ["/finance", "$SYS"],
        "#": ["$SYS/a"],
        "+/monitor": ["$SYS/monitor"],
        "a/b": ["a/b/c", "a"],
    }
    for text, topics in unwanted.items():
        assert not any(matches(text, topic) for topic in topics), text
    assert not any(map(is_filter, ["", "sport/tennis#", "sport/#/ranking", "sport+", "a+/b"]))


async def test_a_port_that_is_taken_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(Exception, match="cannot listen on"):
            async with own_broker("127.0.0.1", taken.getsockname()[1]):
                pass
