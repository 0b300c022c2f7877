"""The laws of a sink for the one that publishes: over mosquitto, and over the scripted broker for what a real one does not do on request."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote

import numpy as np
import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from adapters.base import Bench, Sink
from adapters.clock import SystemClock
from adapters.mqtt.republish_settings import MqttSink
from pipelines.batch import Kind, batch_of
from pipelines.registry import Registry
from tests.contracts.rig import eventually
from tests.contracts.sink import SAMPLES, START, Place, Poisoned, SinkContract, SinkRig, contents, points
from tests.mqtt.peers import Mosquitto
from tests.mqtt.scripted.broker import Broker, Rules, scripted
from tests.mqtt.scripted.codec import Packet
from tests.servers import free_port

TOPIC = "{enterprise}/{site}/{area}/{machine}/{signal}"


def publisher(registry: Registry, port: int, **settings: Any) -> Sink:
    wanted = {"type": "mqtt", "url": f"mqtt://127.0.0.1:{port}", "topic": TOPIC, **settings}
    return MqttSink.model_validate(wanted).build(Bench(registry, SystemClock()))


def held(registry: Registry, messages: Sequence[tuple[str, bytes]]) -> dict[Place, Any]:
    """What somebody knows who has read these messages, by the standard library."""
    found: dict[Place, Any] = {}
    for topic, payload in messages:
        *_, machine, signal = map(unquote, topic.split("/"))
        if signal == "_meta":
            continue
        row = json.loads(payload)
        if row["q"] < 0x40000000 and row["v"] is not None:
            kind = registry.kind_of(machine, signal)
            value = np.array(row["v"]) if kind is Kind.WAVEFORM else row["v"]
            found[Place(machine, signal, nanoseconds(row["t"]))] = value
    return found


def nanoseconds(text: str) -> int:
    """RFC 3339 with nine digits, by the library's reader of seconds."""
    whole = np.datetime64(text.removesuffix("Z"), "ns")
    return int(whole.astype(np.int64))


class Listener:
    """A subscriber with paho's thread loop and a session that the broker keeps: it hears everything that was ever published.

    messages: what was heard in lives before this one, to be continued.
    """

    def __init__(
        self, port: int, name: str = "listener", messages: list[tuple[str, bytes]] | None = None
    ) -> None:
        self.messages: list[tuple[str, bytes]] = [] if messages is None else messages
        self.client = paho.Client(CallbackAPIVersion.VERSION2, name, clean_session=False)
        self.client.connect_timeout = 60
        self.client.reconnect_delay_set(1, 1)
        self.client.on_message = lambda _c, _d, message: self.messages.append(
            (message.topic, bytes(message.payload))
        )
        ready = threading.Event()
        self.client.on_subscribe = lambda *_: ready.set()
        self.client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert ready.wait(60)

    async def everything(self) -> list[tuple[str, bytes]]:
        """All that the broker has taken before this call: a mark comes behind it."""
        marks = len([topic for topic, _ in self.messages if topic == "mark"])
        self.client.publish("mark", b"", 1)
        await eventually(
            lambda: len([topic for topic, _ in self.messages if topic == "mark"]) > marks, "the mark comes"
        )
        return [message for message in self.messages if message[0] != "mark"]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class MosquittoRig(SinkRig):
    def __init__(self, folder: Path) -> None:
        self.registry = Registry()
        self.broker = Mosquitto(folder, ("max_queued_messages 0",))

    async def start(self) -> MosquittoRig:
        await self.broker.start()
        self.listener = Listener(self.broker.port)
        return self

    def sink(self) -> Sink:
        return publisher(self.registry, self.broker.port)

    def unreachable(self) -> Sink:
        return publisher(self.registry, free_port())

    async def stored(self) -> Mapping[Place, Any]:
        return held(self.registry, await self.listener.everything())

    async def down(self) -> bool:
        await self.broker.stop()
        return True

    async def up(self) -> None:
        await self.broker.start()
        self.listener.close()
        self.listener = Listener(self.broker.port, messages=self.listener.messages)

    async def poison(self) -> Poisoned | None:
        """NaN and infinity, for which JSON has no word; a text that is not Unicode."""
        numbers = points(self.registry, [Kind.NUMBER])[Kind.NUMBER]
        (text, *_) = points(self.registry, [Kind.TEXT])[Kind.TEXT]
        values = [1.5, float("nan"), 2.5, float("inf"), 3.5, float("-inf")]
        ids, at = [numbers[n % 2] for n in range(6)], [START + n for n in range(6)]
        mixed = batch_of(Kind.NUMBER, ids, at, values, received=START)
        words = batch_of(Kind.TEXT, [text] * 2, [START, START + 1], ["fine", "\ud800"], received=START)
        good = [mixed.take(np.array([0, 2, 4])), words.take(np.array([0]))]
        return Poisoned([mixed, words], contents(self.registry, good), 4)

    async def stop(self) -> None:
        self.listener.close()
        await self.broker.stop()


class TestMosquitto(SinkContract):
    CANNOT: ClassVar[Mapping[str, str]] = {
        "test_law_2_a_lost_answer_does_no_harm": "a real broker loses no answer on request; the scripted one does",
        "test_law_2_throttled_says_how_long": "mosquitto has no quota; the scripted broker has",
    }

    @pytest.fixture
    async def rig(self, tmp_path: Path) -> AsyncIterator[SinkRig]:
        rig = await MosquittoRig(tmp_path).start()
        yield rig
        await rig.stop()


class ScriptedRig(SinkRig):
    """The scripted broker: also one that cuts in place of an answer, has a quota, or refuses a machine's topics."""

    def __init__(self, broker: Broker) -> None:
        self.registry = Registry()
        self.broker = broker
        self.port = broker.port

    def sink(self) -> Sink:
        return publisher(self.registry, self.broker.port, version="5")

    def unreachable(self) -> Sink:
        return publisher(self.registry, free_port())

    async def stored(self) -> Mapping[Place, Any]:
        return held(self.registry, [(packet.topic.decode(), packet.payload) for packet in self.broker.taken])

    async def lose_answer(self) -> bool:
        """Of the tenth message: nine are confirmed, and what was under way behind it is lost."""
        count = 0

        def takes(_packet: Packet) -> int | None:
            nonlocal count
            count += 1
            return None if count == 10 else 0

        self.broker.rules.takes = takes
        return True

    async def throttle(self) -> bool:
        count = 0

        def takes(_packet: Packet) -> int:
            nonlocal count
            count += 1
            return 0x97 if count == 5 else 0

        self.broker.rules.takes = takes
        return True

    async def poison(self) -> Poisoned | None:
        """Topics of one machine are forbidden."""
        self.broker.rules.takes = lambda packet: 0x87 if b"/mill-1/" in packet.topic else 0
        ids = points(self.registry, [Kind.NUMBER])[Kind.NUMBER]
        samples = SAMPLES[Kind.NUMBER]
        mixed = batch_of(
            Kind.NUMBER,
            [ids[n % 2] for n in range(6)],
            [START + n for n in range(6)],
            samples,
            received=START,
        )
        good = mixed.take(np.array([0, 2, 4]))
        return Poisoned([mixed], contents(self.registry, [good]), 3)

    async def stop(self) -> None: ...


class TestScripted(SinkContract):
    CANNOT: ClassVar[Mapping[str, str]] = {
        "test_law_2_not_connected_then_the_same_again": "the scripted broker cannot go away; mosquitto does",
    }

    @pytest.fixture
    async def rig(self) -> AsyncIterator[SinkRig]:
        async with AsyncExitStack() as stack:
            yield ScriptedRig(await stack.enter_async_context(scripted(Rules())))
