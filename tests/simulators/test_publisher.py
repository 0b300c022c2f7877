"""The publisher's queue against a paho that is only pretended: order, window, bound, and what counts as emitted."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTErrorCode

from simulators.faces import mqtt
from simulators.faces.mqtt import Message, Publisher
from simulators.truth import open_truth
from tests.simulators.runs import rows


class FakePaho:
    """Takes messages and remembers them; acknowledges when told to."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def publish(self, topic: str, payload: bytes, qos: int) -> SimpleNamespace:
        assert qos == 1
        self.sent.append(payload)
        return SimpleNamespace(rc=MQTTErrorCode.MQTT_ERR_SUCCESS, mid=len(self.sent))


def message(number: int) -> Message:
    return Message("shop/m/n", str(number).encode(), "m", number, {"n": number})


class Bench:
    def __init__(self, truth: Any, path: Path) -> None:
        self.paho = FakePaho()
        self.path = path
        self.publisher = Publisher(cast("Client", self.paho), truth, asyncio.get_running_loop())

    async def connect(self) -> None:
        self.publisher.on_connect(
            cast("Client", self.paho), None, None, SimpleNamespace(is_failure=False), None
        )
        await asyncio.sleep(0)

    async def lose(self) -> None:
        self.publisher.on_disconnect(cast("Client", self.paho), None, None, None, None)
        await asyncio.sleep(0)

    async def acknowledge(self, *mids: int) -> None:
        for mid in mids:
            self.publisher.on_publish(cast("Client", self.paho), None, mid, None, None)
        await asyncio.sleep(0)

    def told(self) -> list[int]:
        return [row["value"] for row in rows(self.path)]


async def test_only_acknowledged_values_are_true(tmp_path: Path) -> None:
    with open_truth(tmp_path / "t") as truth:
        bench = Bench(truth, tmp_path / "t")
        bench.publisher.publish(message(1))
        assert bench.paho.sent == []
        await bench.connect()
        assert (bench.paho.sent, bench.told()) == ([b"1"], [])
        await bench.acknowledge(1)
        assert bench.told() == [1]
        assert bench.publisher.idle.is_set()


async def test_the_window_is_kept_and_slides(tmp_path: Path) -> None:
    with open_truth(tmp_path / "t") as truth:
        bench = Bench(truth, tmp_path / "t")
        await bench.connect()
        for number in range(1, 101):
            bench.publisher.publish(message(number))
        assert len(bench.paho.sent) == mqtt.WINDOW
        for mid in range(1, 101):
            await bench.acknowledge(mid)
        assert bench.told() == list(range(1, 101))


async def test_nothing_new_overtakes_what_paho_repeats(tmp_path: Path) -> None:
    with open_truth(tmp_path / "t") as truth:
        bench = Bench(truth, tmp_path / "t")
        await bench.connect()
        bench.publisher.publish(message(1))
        bench.publisher.publish(message(2))
        await bench.lose()
        bench.publisher.publish(message(3))
        await bench.connect()
        assert bench.paho.sent == [b"1", b"2"], "3 must wait for the repetition of 1 and 2"
        await bench.acknowledge(1)
        assert bench.paho.sent == [b"1", b"2"]
        await bench.acknowledge(2)
        assert bench.paho.sent == [b"1", b"2", b"3"]


async def test_beyond_the_bound_is_dropped_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "LIMIT", 5)
    with open_truth(tmp_path / "t") as truth:
        bench = Bench(truth, tmp_path / "t")
        for number in range(8):
            bench.publisher.publish(message(number))
        assert bench.publisher.unconfirmed() == {"m": 5}
        assert bench.publisher.dropped == {"m": 3}
        assert [row["t"] for row in rows(tmp_path / "t", "dropped")] == [5, 6, 7]
