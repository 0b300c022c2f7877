"""`primary_host`: STATE as Sparkplug B 3.0 asks of a host (4.2.3, 5.3, 5.13, 5.14, 6.4.27), seen by another client of a real broker."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from adapters.mqtt.channel import Message
from adapters.mqtt.connection import Connection
from adapters.mqtt.session import MqttSession
from adapters.mqtt.settings import MqttSource
from adapters.mqtt.sparkplug.primary import Primary
from simulators.faces.broker import Address
from simulators.sparkplug.book import Book
from simulators.sparkplug.cell import PLAIN, open_cell
from simulators.sparkplug.edge import Edge, Place, now_ms
from simulators.sparkplug.habits import Habits
from simulators.sparkplug.run import end
from simulators.truth import open_truth
from tests.contracts.rig import eventually
from tests.mqtt.peers import Mosquitto, Publisher, Shop
from tests.mqtt.sparkplug.test_broker import READS

pytestmark = pytest.mark.server("mosquitto")
TOPIC = "spBv1.0/STATE/shopfloor"


class Ear:
    """What a client of the broker hears of STATE: (online, timestamp, QoS, retained), in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[bool, int, int, bool]] = []

    def take(self, _client: Any, _data: Any, message: Any) -> None:
        said = json.loads(message.payload)
        assert set(said) == {"online", "timestamp"}
        assert message.topic == TOPIC
        self.heard.append((said["online"], said["timestamp"], message.qos, message.retain))

    @property
    def states(self) -> list[bool]:
        return [each[0] for each in self.heard]


@contextmanager
def ear(broker: Mosquitto) -> Iterator[Ear]:
    listening = Ear()
    other = Publisher(broker.port)
    subscribed = threading.Event()
    other.client.on_message = listening.take
    other.client.on_subscribe = lambda *_: subscribed.set()
    other.client.subscribe("spBv1.0/STATE/#", 1)
    try:
        assert subscribed.wait(60), "no SUBACK: what is said first would be heard as retained"
        yield listening
    finally:
        other.close()


@asynccontextmanager
async def hosting(broker: Mosquitto, **settings: Any) -> AsyncIterator[MqttSession]:
    source = Shop(broker.port).source(*READS, primary_host="shopfloor", **settings)
    async with source.session(None) as session, asyncio.TaskGroup() as group:
        task = group.create_task(collect(session))
        yield session
        task.cancel()


async def collect(session: MqttSession) -> None:
    async for delivery in session:
        await delivery.ack()


async def test_the_birth_is_said_after_the_subscription_and_the_death_before_leaving(
    broker: Mosquitto,
) -> None:
    """tck-id-host-topic-phid-birth-qos, -retain, -topic, -payload, -sub-required; -death-payload-timestamp-disconnect-clean."""
    with ear(broker) as heard:
        async with hosting(broker):
            await eventually(lambda: heard.states == [True], "online")
            with ear(broker) as late:
                await eventually(lambda: [each[3] for each in late.heard] == [True], "it is retained")
        await eventually(lambda: heard.states == [True, False], "offline")
    (_, born, *birth), (_, died, *death) = heard.heard
    assert birth == death == [1, False]
    assert born <= died <= now_ms()
    log = (broker.folder / "broker.log").read_text()
    asked, said = (
        log.index("Received SUBSCRIBE from shopfloor-b"),
        log.index("Received PUBLISH from shopfloor-b"),
    )
    assert asked < log.index(f"{TOPIC} (QoS 1)", asked) < said


@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_the_will_bears_the_time_of_the_birth(broker: Mosquitto, version: str) -> None:
    """tck-id-host-topic-phid-death-qos, -retain, -required; -birth-payload-timestamp: the same as in the will of this CONNECT."""
    with ear(broker) as heard:
        async with hosting(broker, version=version) as session:
            await eventually(lambda: heard.states == [True], "online")
            session._connection.wire.drop()  # no DISCONNECT: as a crash or a cut cable
            await eventually(lambda: heard.states == [True, False], "the broker speaks the will")
    log = (broker.folder / "broker.log").read_text()
    assert f"as shopfloor-b (p{5 if version == '5' else 2}, c1," in log, "a clean session"
    assert heard.heard[0][1] == heard.heard[1][1]
    assert [each[2] for each in heard.heard] == [1, 1]


async def test_who_says_that_we_are_away_is_contradicted(broker: Mosquitto) -> None:
    """tck-id-message-flow-hid-sparkplug-state-message-delivered: at once, with the time of the birth."""
    with ear(broker) as heard:
        async with hosting(broker):
            await eventually(lambda: heard.states == [True], "online")
            other = Publisher(broker.port)
            await other.send((TOPIC, json.dumps({"online": False, "timestamp": now_ms()})), retain=True)
            await eventually(lambda: heard.states == [True, False, True], "online again")
            other.close()
    assert heard.heard[2][1] == heard.heard[0][1]


async def test_edges_that_wait_for_their_host_are_born_when_it_comes(broker: Mosquitto) -> None:
    """tck-id-message-flow-edge-node-birth-publish-phid-wait, seen from the host: NBIRTH after its STATE; they leave when it leaves."""
    place = Place(Address("127.0.0.1", broker.port), host="shopfloor")
    with open_truth(broker.folder / "truth.jsonl") as truth:
        edge = Edge(place, open_cell(7, 1, 5, PLAIN, now_ms()), Habits(), Book(truth))
        await edge.connect()
        try:
            assert not edge.born
            async with hosting(broker):
                await eventually(lambda: edge.born, "it is born")
            await eventually(lambda: not edge.connected, "it leaves")
        finally:
            await end(edge)


async def test_a_look_around_says_nothing(broker: Mosquitto) -> None:
    """`check --online` and a dry run are no host."""
    with ear(broker) as heard:
        shop = Shop(broker.port)
        await shop.source(*READS, primary_host="shopfloor").probe()
        async with hosting(broker):
            await eventually(lambda: heard.states == [True], "the first that is heard is the host itself")


def test_what_it_means_is_said() -> None:
    """The settings refuse an id that is no topic level; `check` says what is published."""
    settings = MqttSource(url="mqtts://x", client_id="c", primary_host="shopfloor")
    assert "publishes STATE" in " ".join(settings.review(()))
    for wrong in ("a/b", "a+", "#"):
        with pytest.raises(ValueError, match="primary_host"):
            MqttSource(url="mqtts://x", primary_host=wrong)
    now = 1_700_000_000_123_456_789
    host = Primary("scada", lambda: now)
    for nonsense in (b"\xff", b"", b"[]", b'{"online": null}', b"ONLINE"):
        host.heard(Message(TOPIC.encode(), nonsense, 0, 1, False, False, 0, 1))
    assert host.will == ("spBv1.0/STATE/scada", b'{"online":false,"timestamp":1700000000123}')


async def test_who_is_cancelled_while_it_says_goodbye_closes_the_connection(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker stands still and does not answer its last message: a stop that cannot wait leaves no connection behind."""
    said = asyncio.Event()
    monkeypatch.setattr(Connection, "unsubscribe", lambda _, names: said.set() if names == [TOPIC] else None)
    held: list[MqttSession] = []

    async def stay() -> None:
        async with hosting(broker) as session:
            held.append(session)
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(stay())
        await eventually(lambda: bool(held), "it is connected")
        assert broker.process is not None
        broker.process.send_signal(signal.SIGSTOP)
        try:
            task.cancel()
            await asyncio.wait_for(said.wait(), 60)
            task.cancel()
            await asyncio.wait([task])
        finally:
            broker.process.send_signal(signal.SIGCONT)
    assert held[0]._connection.wire.socket() is None
