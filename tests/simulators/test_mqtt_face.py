"""What a stranger's subscriber receives over MQTT equals the truth: with the own broker, and with one that restarts."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from simulators.clock import FreeClock, RealClock
from simulators.core import drive
from simulators.errors import SimulatorError
from simulators.faces import mqtt
from simulators.faces.broker import Address, parse
from simulators.machines import kind
from simulators.workshop import Plan, open_workshop
from tests.mqtt.peers import Mosquitto
from tests.simulators.runs import START, rows

SECOND = 1_000_000_000
MACHINES = (("energy", "energy-1"), ("compressor", "compressor-1"))
Row = tuple[str, str, int | None, Any]


class Subscriber:
    """A persistent QoS 1 subscription to everything of the shop."""

    def __init__(self, address: Address) -> None:
        self.messages: list[tuple[str, bytes, bool]] = []
        self.subscribed = threading.Event()
        self.client = Client(
            CallbackAPIVersion.VERSION2,
            client_id="stranger",
            clean_session=False,
            protocol=MQTTProtocolVersion.MQTTv311,
        )
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = lambda c, *_: c.subscribe("shop/#", qos=1)
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.on_message = self._message
        self.client.connect_async(address.host, address.port)  # the broker runs on this test's loop

    def _message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self.messages.append((message.topic, bytes(message.payload), message.dup))

    def rows(self) -> list[Row]:
        """Decoded by hand, without the simulators' own knowledge of paths."""
        return [row for topic, payload, _ in self.messages for row in decode(topic, payload)]


def decode(topic: str, payload: bytes) -> Iterator[Row]:
    _, machine, name = topic.split("/")
    if name == "mode":
        yield machine, name, None, payload.decode()
    elif name == "dew_point":
        yield machine, name, None, float(payload)
    elif name != "energy":
        body = json.loads(payload)
        yield machine, name, body["ts"] * 1_000_000, body["value"]
    else:
        body = json.loads(payload)
        flat = {**{f"voltage_{p.lower()}": v for p, v in body["U"].items()}}
        flat |= {f"current_{p.lower()}": v for p, v in body["I"].items()}
        flat |= {
            "active_power": body["P_total"],
            "power_factor": body["PF"],
            "frequency": body["f"],
            "energy": body["E_total"],
        }
        for signal, value in flat.items():
            yield machine, signal, body["ts"] * 1_000_000, value


@contextmanager
def subscriber(address: Address) -> Iterator[Subscriber]:
    opened = Subscriber(address)
    opened.client.loop_start()
    try:
        yield opened
    finally:
        opened.client.disconnect()
        opened.client.loop_stop()


def told(path: Path) -> list[Row]:
    return [(r["machine"], r["signal"], r["t"], r["value"]) for r in rows(path)]


def plan(folder: Path, **more: Any) -> Plan:
    return Plan(
        machines=MACHINES, seed=42, truth=folder / "truth", config=folder / "config", start_ns=START, **more
    )  # fmt: skip


def key(row: Row) -> tuple[str, ...]:
    return tuple(map(str, row))


async def until(true: Any, seconds: float = 90.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)


async def test_received_equals_truth_with_the_own_broker(tmp_path: Path) -> None:
    async with open_workshop(plan(tmp_path)) as workshop:
        with subscriber(parse(workshop.endpoints["mqtt"])) as stranger:
            await until(stranger.subscribed.is_set)
            end = START + 60 * SECOND
            await drive(
                workshop.units, FreeClock(), workshop.truth, asyncio.Event(), origin_ns=START, until_ns=end
            )
            await workshop.drain()
            truth = told(tmp_path / "truth")
            await until(lambda: len(stranger.rows()) >= len(truth))
            assert len(truth) > 1000
            assert sorted(stranger.rows(), key=key) == sorted(truth, key=key)
            assert workshop.report() == {
                "emitted": {m: sum(r[0] == m for r in truth) for m in ("energy-1", "compressor-1")},
                "unconfirmed": {},
                "dropped": {},
                "undelivered": {},
            }


async def test_the_own_broker_keeps_messages_for_a_collector_that_restarts(tmp_path: Path) -> None:
    async with open_workshop(plan(tmp_path)) as workshop:
        address = parse(workshop.endpoints["mqtt"])
        with subscriber(address) as stranger:
            await until(stranger.subscribed.is_set)
        end = START + 5 * SECOND
        await drive(
            workshop.units, FreeClock(), workshop.truth, asyncio.Event(), origin_ns=START, until_ns=end
        )
        await workshop.drain()
        truth = told(tmp_path / "truth")
        with subscriber(address) as stranger:
            await until(lambda: len(stranger.rows()) >= len(truth))
            assert sorted(stranger.rows(), key=key) == sorted(truth, key=key)


@pytest.fixture
async def mosquitto(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    """It keeps its sessions over a clean stop."""
    server = Mosquitto(tmp_path, ["max_queued_messages 0"])
    await server.start()
    yield server
    await server.stop()


@pytest.mark.server("mosquitto")
async def test_what_is_told_is_received_although_the_broker_was_away(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    stop, address = asyncio.Event(), Address("127.0.0.1", mosquitto.port)
    async with open_workshop(plan(tmp_path, broker=address)) as workshop:
        with subscriber(address) as stranger:
            await until(stranger.subscribed.is_set)
            async with asyncio.TaskGroup() as group:
                group.create_task(
                    drive(workshop.units, RealClock(20), workshop.truth, stop, origin_ns=START)
                )  # fmt: skip
                await until(lambda: len(stranger.messages) > 100)
                await mosquitto.stop()
                assert workshop.publisher is not None
                await until(lambda: not workshop.publisher.connected.is_set())
                await until(lambda: workshop.publisher.pending > 100)
                await mosquitto.start()
                await until(lambda: workshop.publisher.connected.is_set() and workshop.publisher.pending < 20)
                stop.set()
            await workshop.drain()
            truth = told(tmp_path / "truth")
            await until(lambda: set(stranger.rows()) >= set(truth))
            once = dict.fromkeys(
                (topic, payload) for topic, payload, dup in stranger.messages if b"ts" in payload
            )
            received = [row for topic, payload in once for row in decode(topic, payload)]
            assert sorted(received, key=key) == sorted((r for r in truth if r[2] is not None), key=key)
            assert not workshop.publisher.dropped
            for signal in {r[1] for r in truth if r[2] is not None}:
                times = [r[2] for r in truth if r[1] == signal and r[2] is not None]
                assert times == sorted(set(times)), signal


async def test_no_socket_is_left_to_the_garbage_collector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paho itself leaves two: its own way to stop is put back here (see tests/conftest.py)."""
    own: Any = Client.loop_stop
    monkeypatch.setattr(Client, "loop_stop", own.__wrapped__)
    async with open_workshop(plan(tmp_path)) as workshop:
        assert workshop.publisher is not None
        client: Any = workshop.publisher._client
        assert client._sockpairR is not None
    assert (client._sockpairR, client._sockpairW) == (None, None)


async def test_a_missing_broker_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "CONNECT_S", 0.2)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = Address("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(SimulatorError, match="no MQTT broker answers"):
            async with open_workshop(plan(tmp_path, broker=nobody)):
                pass


@pytest.mark.parametrize(
    "url", ["http://x", "mqtts://x:8883", "localhost:1883", "mqtt://", "mqtt://x:no", "mqtt://u:p@x"]
)
def test_what_is_no_broker_is_refused(url: str) -> None:
    with pytest.raises(SimulatorError, match="mqtt://host:port"):
        parse(url)


def test_payloads() -> None:
    model = kind("energy")("energy-1", 1)
    model.begin(START)
    (message,) = mqtt.messages(model, START, {})
    body = json.loads(message.payload)
    assert message.topic == "shop/energy-1/energy"
    assert body["ts"] == START // 1_000_000
    assert set(body) == {"ts", "U", "I", "P_total", "PF", "f", "E_total"}
    assert set(body["U"]) == {"L1", "L2", "L3"}
    compressor = kind("compressor")("compressor-1", 1)
    values = compressor.begin(START)
    said = {m.topic.rpartition("/")[2]: m for m in mqtt.messages(compressor, START, values)}
    assert said["mode"].payload == b"LOADED"
    assert said["dew_point"].payload == b"3.0"
    assert said["mode"].t is said["dew_point"].t is None
    assert json.loads(said["loaded"].payload) == {"ts": START // 1_000_000, "value": True}
    assert mqtt.messages(compressor, START, {}) == []
