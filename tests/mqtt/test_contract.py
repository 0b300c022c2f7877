"""The laws of a source, with a real mosquitto: MQTT 5 and 3.1.1, values with and without a time of their own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from adapters.base import Source
from tests.contracts.source import Emitted, SourceContract, SourceRig
from tests.mqtt.certificates import authority
from tests.mqtt.peers import Mosquitto, Publisher, Shop, parted, password_file
from tests.servers import free_port

READS: Sequence[dict[str, Any]] = (
    {"topic": "shop/{machine}/{signal}", "payload": "number", "adopt": True},
    {
        "topic": "meter/{machine}",
        "payload": {"type": "json", "time": "t", "time_unit": "ns"},
        "signals": [{"name": "power", "value": "P.total"}, {"name": "energy", "value": "E"}],
    },
)

LOGIN = {"username": "ann", "password": "secret"}


class MqttRig(SourceRig):
    bound = 64  # Receive Maximum; in 3.1.1 mosquitto has 20 in flight

    def __init__(self, broker: Mosquitto, version: str) -> None:
        self.broker = broker
        self.version = version
        self.bound = 64 if version == "5" else 20
        self.shop = Shop(broker.port)
        self.registry = self.shop.registry
        self.publisher = self.publishing()
        self.sent = 0

    def publishing(self) -> Publisher:
        return Publisher(self.broker.port)

    def _source(self, port: int) -> Source:
        settings: dict[str, Any] = {"version": self.version, "receive_maximum": 64, "keep_alive": "30s"}
        self.shop.port = port
        return self.shop.source(*READS, **settings)

    def source(self) -> Source:
        return self._source(self.broker.port)

    def unreachable(self) -> Source:
        return self._source(free_port())

    async def emit(self, n: int) -> Sequence[Emitted]:
        emitted, messages = [], []
        for _ in range(n):
            self.sent += 1
            value, topic = float(self.sent), ("load", "speed", "power")[self.sent % 3]
            if topic == "power":
                at = 1_700_000_000_000_000_000 + self.sent
                emitted.append(Emitted("power", at, value))
                messages.append(("meter/m1", json.dumps({"t": at, "P": {"total": value}})))
            else:
                emitted.append(Emitted(topic, None, value))
                messages.append((f"shop/m1/{topic}", str(self.sent)))
        await self.publisher.send(*messages)
        return emitted

    async def parted(self) -> None:
        await parted(self.shop.port)

    async def garbage(self) -> int:
        await self.publisher.send(("shop/m1/load", "1,5"), ("meter/m1", '{"P": {'), ("meter/m1", '{"x": 1}'))
        return 3

    async def blank(self) -> str | None:
        await self.publisher.send(("meter/m1", '{"E": 1}'), ("meter/m1", '{"E": null}'))
        return "energy"

    async def cut(self) -> None:
        self.publisher.close()
        await self.broker.stop()

    async def restore(self) -> None:
        await self.broker.start()
        self.publisher = self.publishing()

    async def stop(self) -> None:
        self.publisher.close()
        await self.broker.stop()


class TestMqtt5(SourceContract):
    CANNOT: ClassVar[Mapping[str, str]] = {
        "test_law_9_a_loss_that_is_known_is_a_gap": "learns of a loss in the next session only: test_broker.py"
    }

    @pytest.fixture
    async def rig(self, tmp_path: Path) -> AsyncIterator[SourceRig]:
        broker = Mosquitto(tmp_path)
        await broker.start()
        rig = MqttRig(broker, "5")
        yield rig
        await rig.stop()


class TlsRig(MqttRig):
    """Over TLS, with a password and an access list: what a shop floor should have."""

    def __init__(self, broker: Mosquitto, ca: Path) -> None:
        self.ca = ca
        super().__init__(broker, "5")

    def publishing(self) -> Publisher:
        return Publisher(self.broker.port, ca=self.ca, **LOGIN)

    def _source(self, port: int) -> Source:
        settings: dict[str, Any] = {"receive_maximum": 64, "keep_alive": "30s", **LOGIN, "ca": str(self.ca)}
        return self.shop.source(*READS, url=f"mqtts://127.0.0.1:{port}", **settings)


class TestMqttTls(SourceContract):
    CANNOT: ClassVar[Mapping[str, str]] = {
        "test_law_9_a_loss_that_is_known_is_a_gap": "learns of a loss in the next session only: test_broker.py"
    }

    @pytest.fixture
    async def rig(self, tmp_path: Path) -> AsyncIterator[SourceRig]:
        ours, acl = authority(tmp_path / "ours"), tmp_path / "acl"
        acl.write_text("user ann\ntopic readwrite shop/#\ntopic readwrite meter/#\n")
        server = ours.issue("server")
        lines = (f"certfile {server}", f"keyfile {server}", "allow_anonymous false", f"acl_file {acl}")
        broker = Mosquitto(tmp_path, (*lines, f"password_file {await password_file(tmp_path)}"))
        await broker.start()
        rig = TlsRig(broker, ours.ca)
        yield rig
        await rig.stop()


class TestMqtt311(SourceContract):
    CANNOT: ClassVar[Mapping[str, str]] = {
        "test_law_9_a_loss_that_is_known_is_a_gap": "learns of a loss in the next session only: test_broker.py"
    }

    @pytest.fixture
    async def rig(self, tmp_path: Path) -> AsyncIterator[SourceRig]:
        broker = Mosquitto(tmp_path)
        await broker.start()
        rig = MqttRig(broker, "3.1.1")
        yield rig
        await rig.stop()
