"""The laws of a source at a broker that is not mosquitto: aedes, which speaks MQTT 3.1.1 only, behind a fault proxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from adapters.base import Source
from simulators.proxy.server import Proxy, open_proxy
from tests.contracts.rig import eventually
from tests.contracts.source import SourceContract, SourceRig, key, taking
from tests.line.harness import Collector
from tests.line.harness import eventually as soon
from tests.mqtt.peers import Publisher, Shop, amqtt, parted
from tests.mqtt.test_contract import READS, MqttRig
from tests.peers import found
from tests.peers.found import Peer
from tests.servers import free_port


@pytest.fixture(scope="module")
def aedes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("aedes")
    peer = Peer([*found.node("aedes.js"), "0"], folder / "peer.log")
    yield int(peer.ready["port"])
    peer.stop()


@pytest.fixture(scope="module")
def demo_broker() -> Iterator[int]:
    with amqtt() as port:
        yield port


class BehindProxy(MqttRig):
    """The publisher has a way of its own, so that a cut loses the collector's connection only."""

    held = 1  # the proxy's, which keeps the port

    def __init__(self, port: int, proxy: Proxy, client: str) -> None:
        self.proxy, self.port, self.client = proxy, port, client
        self.version, self.bound, self.sent = "3.1.1", 64, 0
        self.shop = Shop(proxy.port)
        self.registry = self.shop.registry
        self.publisher = Publisher(port)

    def _source(self, port: int) -> Source:
        settings: dict[str, Any] = {"version": self.version, "receive_maximum": 64, "keep_alive": "30s"}
        self.shop.port = port
        return self.shop.source(*READS, **settings, client_id=self.client)

    def source(self) -> Source:
        return self._source(self.proxy.port)

    def unreachable(self) -> Source:
        return self._source(free_port())

    async def parted(self) -> None:
        await parted(self.proxy.port, self.port)

    async def cut(self) -> None:
        await self.proxy.set_door("closed")
        self.proxy.reset()

    async def restore(self) -> None:
        await self.proxy.set_door("open")

    async def stop(self) -> None:
        self.publisher.close()


class TestAedes(SourceContract):
    CANNOT: ClassVar[Mapping[str, str]] = {
        "test_law_9_a_loss_that_is_known_is_a_gap": "learns of a loss in the next session only: mqtt/test_broker.py",
    }

    @pytest.fixture
    async def rig(
        self, aedes: int, request: pytest.FixtureRequest, tmp_path: Path
    ) -> AsyncIterator[SourceRig]:
        async with open_proxy(("127.0.0.1", aedes)) as proxy:
            rig = BehindProxy(aedes, proxy, f"collector-{tmp_path.name}"[:60])
            yield rig
            await rig.stop()


class TestAmqtt(SourceContract):
    """amqtt speaks MQTT 3.1.1 and never answers MQTT 5."""

    CANNOT: ClassVar[Mapping[str, str]] = {
        "test_law_9_a_loss_that_is_known_is_a_gap": "learns of a loss in the next session only: mqtt/test_broker.py",
        "test_law_5_what_was_not_acknowledged_comes_again": "amqtt 0.12 says that it has kept the session, and never sends again "
        "what was not acknowledged: it is for demonstrations",
        **dict.fromkeys(
            (
                "test_law_2_a_lost_connection_ends_the_iterator_and_the_next_session_goes_on",
                "test_law_2_what_was_received_comes_before_the_end",
                "test_law_5_what_was_acknowledged_does_not_come_again",
                "test_law_8_an_undecodable_message_is_a_refusal",
            ),
            "amqtt 0.12 often sends nothing at all to a client that comes back while it is still ending the old connection "
            "(with paho alone: 20 times of 60 on a busy computer)",
        ),
    }

    @pytest.fixture
    async def rig(self, demo_broker: int, tmp_path: Path) -> AsyncIterator[SourceRig]:
        async with open_proxy(("127.0.0.1", demo_broker)) as proxy:
            rig = BehindProxy(demo_broker, proxy, f"collector-{tmp_path.name}"[:60])
            yield rig
            await rig.stop()


async def test_a_broker_that_refuses_mqtt_5_is_spoken_to_in_3_1_1(aedes: int) -> None:
    """`version: auto`, the default: aedes answers MQTT 5 with a refusal or by hanging up."""
    async with open_proxy(("127.0.0.1", aedes)) as proxy:
        rig = BehindProxy(aedes, proxy, "collector-auto")
        rig.version = "auto"
        async with taking(rig) as taker:
            emitted = await rig.emit(9)
            await eventually(lambda: taker.has(emitted), "values arrive")
        await rig.stop()


async def test_aedes_sends_again_without_saying_so(aedes: int) -> None:
    """M2: aedes repeats what was not acknowledged under its old packet id, but without DUP (against MQTT 3.1.1, 3.3.1.1).

    Packet id and content show it: also what has no time of its own keeps the time of its first receipt.
    """
    async with open_proxy(("127.0.0.1", aedes)) as proxy:
        rig = BehindProxy(aedes, proxy, "collector-again")
        async with taking(rig, acking=False) as first:
            emitted = await rig.emit(12)
            await eventually(lambda: first.has(emitted), "values arrive")
        async with taking(rig, resume=first.deliveries[-1].checkpoint) as second:
            await eventually(lambda: second.has(emitted), "what was not acknowledged comes again")
            assert second.session is not None
            assert second.session.facts["repeats_without_dup"].startswith("8 messages")
        assert {key(row): row.at for row in first.rows} == {key(row): row.at for row in second.rows}
        await rig.stop()


CONFIG = """
version: 1
page: off
sources:
  broker: {{type: mqtt, url: "mqtt://127.0.0.1:{port}", client_id: collector-killed}}
machines:
  - id: m1
    read: [{{source: broker, topic: "killed/{{signal}}", payload: number, adopt: true}}]
"""


async def stored(running: Collector, values: int) -> None:
    """Until the collector has so many values of the broker in its buffer."""

    def there() -> bool:
        rows = (running.books() or {"sources": ()})["sources"]
        return any(row["name"] == "broker" and row["journaled"] >= values for row in rows)

    await asyncio.to_thread(soon, there, f"{values} values are stored")


async def test_killed_before_its_acknowledgements_arrive(aedes: int, tmp_path: Path) -> None:
    """M2, P1: kill -9 with everything stored and no acknowledgement through to aedes: it all comes again, and is there once."""
    config = tmp_path / "shop.yaml"
    publisher = Publisher(aedes)
    sent = [("killed/" + "ab"[n % 2], str(n)) for n in range(400)]
    async with open_proxy(("127.0.0.1", aedes)) as proxy:
        config.write_text(CONFIG.format(port=proxy.port))
        running = Collector(config)
        try:
            for life in range(2):
                await asyncio.to_thread(running.start)
                await asyncio.to_thread(running.wait_connected, "broker")
                await publisher.send(*sent[life * 200 : life * 200 + 100])  # acknowledged as it should be
                await stored(running, life * 200 + 100)
                proxy.up.set(blackhole=True)
                await publisher.send(*sent[life * 200 + 100 : life * 200 + 200])
                await stored(running, life * 200 + 200)
                await asyncio.to_thread(running.kill)
                proxy.clear()
            await asyncio.to_thread(running.start)
            await asyncio.to_thread(running.wait_connected, "broker")
            await asyncio.to_thread(running.wait_settled)
            books = await asyncio.to_thread(running.stop)
        finally:
            running.close()
            publisher.close()
        found = await asyncio.to_thread(running.export)
    for rest, name in enumerate("ab"):
        values = [value for _, value in sorted(found["m1", name].items())]
        assert values == [float(n) for n in range(400) if n % 2 == rest]
    (row,) = [row for row in books["sources"] if row["name"] == "broker"]
    assert row["decoded"] > 0
    assert books["unaccounted"] == 0
