"""The MQTT load: its packets as paho and a real mosquitto read them."""

from __future__ import annotations

import asyncio
import json
import queue
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from simulators.broker.packets import packet
from simulators.load import mqtt
from simulators.load.edges import Edges
from simulators.load.mqtt import Publisher, Publishing
from simulators.load.packets import Round, acknowledged
from simulators.load.series import Series
from tests.mqtt.peers import Mosquitto
from tests.simulators.sparkplug import reader

START = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z
LAST = 65_535


def read_publish(packets: bytes) -> Iterator[tuple[str, int, dict[str, float]]]:
    """(topic, packet id, document) of PUBLISH packets with QoS 1."""
    for topic, body in publishes(packets, 0x32):
        yield topic, int.from_bytes(body[:2], "big"), json.loads(body[2:])


def publishes(packets: bytes, kind: int) -> Iterator[tuple[str, bytes]]:
    """A reader of its own: (topic, what follows it) of PUBLISH packets (MQTT 3.1.1, 3.3)."""
    at = 0
    while at < len(packets):
        assert packets[at] == kind
        length, shift, at = 0, 0, at + 1
        while True:
            digit, at = packets[at], at + 1
            length, shift = length | (digit & 127) << shift, shift + 7
            if digit < 128:
                break
        body, at = packets[at : at + length], at + length
        size = int.from_bytes(body[:2], "big")
        yield body[2 : 2 + size].decode(), body[2 + size :]


@given(tick=st.integers(0, 1_000_000), first=st.integers(0, 2**40), prefix=st.sampled_from(["l", "x" * 200]))
def test_a_round_is_one_right_packet_for_every_topic(tick: int, first: int, prefix: str) -> None:
    series = Series(12, 10, START)
    read = list(read_publish(bytes(Round(series, prefix, 1).packets(tick, first))))
    assert [topic for topic, _, _ in read] == [f"{prefix}/v{n:05d}" for n in range(12)]
    assert [number for _, number, _ in read] == [(first + n) % LAST + 1 for n in range(12)]
    at_ms = START // 1_000_000 + tick * 100
    assert [doc for _, _, doc in read] == [{"ts": at_ms, "value": 100_000 + n + tick / 8} for n in range(12)]


@given(tick=st.integers(0, 1_000_000), qos=st.sampled_from([0, 1]), per=st.sampled_from([2, 50]))
def test_many_values_in_one_document(tick: int, qos: int, per: int) -> None:
    """The value of variable topic * per + place is under the name of the place; all digits right, none of a neighbour."""
    read = publishes(
        bytes(Round(Series(3 * per, 10, START), "p", qos, per).packets(tick, 7)), 0x30 | qos << 1
    )
    documents = {topic: json.loads(body[2 * qos :]) for topic, body in read}
    at_ms = START // 1_000_000 + tick * 100
    for topic in range(3):
        values = {f"v{place:05d}": 100_000 + topic * per + place + tick / 8 for place in range(per)}
        assert documents[f"p/v{topic:05d}"] == {"ts": at_ms, **values}


@given(tick=st.integers(0, 2000), per=st.sampled_from([1, 10, 127]))
def test_sparkplug_data_by_alias(tick: int, per: int) -> None:
    """Read by the tests' own reader: seq rises by one from the birth's 0 and wraps, whatever its length as a varint."""
    edges = Edges(Series(3 * per, 10, START), "hall", per)
    packets = bytes(edges.packets(tick, 3 * tick))
    assert len(packets) == 3 * edges.size
    at_ms = START // 1_000_000 + tick * 100
    for edge, (topic, body) in enumerate(publishes(packets, 0x30)):
        read = reader.payload(body)
        assert (topic, read.seq, read.timestamp) == (
            f"spBv1.0/hall/NDATA/v{edge:05d}",
            (tick + 1) % 256,
            at_ms,
        )
        assert [metric["alias"] for metric in read.metrics] == list(range(per))
        assert [metric["double"] for metric in read.metrics] == [
            100_000 + edge * per + place + tick / 8 for place in range(per)
        ]
        assert all(metric["timestamp"] == at_ms and len(metric) == 3 for metric in read.metrics)


def test_sparkplug_births_come_first() -> None:
    births = list(publishes(Edges(Series(20, 10, START), "hall", 10).opening(), 0x30))
    assert [topic for topic, _ in births] == ["spBv1.0/hall/NBIRTH/v00000", "spBv1.0/hall/NBIRTH/v00001"]
    read = reader.payload(births[1][1])
    assert read.seq == 0
    assert read.metric("bdSeq")["long"] == 0
    assert read.metric("Node Control/Rebirth")["boolean"] == 0
    assert read.metric("v00009") == {
        "name": "v00009",
        "alias": 9,
        "timestamp": START // 1_000_000,
        "datatype": 10,
        "is_null": 1,
    }


@given(length=st.integers(0, 70_000))
def test_the_remaining_length_is_a_variable_byte_integer(length: int) -> None:
    made = packet(0xE0, bytes(length))
    digits = made[1 : len(made) - length]
    assert sum((digit & 127) << 7 * place for place, digit in enumerate(digits)) == length
    assert all(digit & 128 for digit in digits[:-1])
    assert digits[-1] < 128


def test_acknowledgements_must_come_in_order() -> None:
    ids = np.arange(LAST - 1, LAST + 2) % LAST + 1
    pubacks = b"".join(b"\x40\x02" + int(number).to_bytes(2, "big") for number in ids)
    assert acknowledged(pubacks, LAST - 1) == 3
    with pytest.raises(ValueError, match="PUBACK"):
        acknowledged(pubacks, LAST)
    with pytest.raises(ValueError, match="PUBACK"):
        acknowledged(b"\xd0\x00\x00\x00", 0)


@contextmanager
def mosquitto(folder: Path) -> Iterator[int]:
    lines = ["max_queued_messages 0", "max_inflight_messages 0"]
    broker = Mosquitto(folder, lines, persistence=False)
    asyncio.run(broker.start())
    try:
        yield broker.port
    finally:
        asyncio.run(broker.stop())


@contextmanager
def subscriber(port: int, topic: str) -> Iterator[queue.Queue[tuple[str, bytes]]]:
    got: queue.Queue[tuple[str, bytes]] = queue.Queue()
    subscribed: queue.Queue[bool] = queue.Queue()
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _client, _data, message: got.put((message.topic, bytes(message.payload)))
    client.on_subscribe = lambda *_: subscribed.put(True)
    client.connect("127.0.0.1", port)
    client.subscribe(topic, qos=1)
    client.loop_start()
    try:
        assert subscribed.get(timeout=90)
        yield got
    finally:
        client.disconnect()
        client.loop_stop()


@pytest.mark.server("mosquitto")
@pytest.mark.parametrize("qos", [0, 1])
def test_every_message_arrives_as_stated(tmp_path: Path, qos: int) -> None:
    options = [
        "--topics=100",
        "--rate=2000",
        "--seconds=1",
        f"--qos={qos}",
        "--prefix=hall/m7",
        "--window=50",
        "--drain=90",
    ]
    with mosquitto(tmp_path) as port, subscriber(port, "hall/m7/+") as got:
        command = [
            sys.executable,
            "-m",
            "simulators.load",
            "mqtt",
            f"--broker=mqtt://127.0.0.1:{port}",
            *options,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=True)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        received = [got.get(timeout=90) for _ in range(2000)]
    events = {line["event"]: line for line in lines}
    assert events["finished"]["emitted"] == events["finished"]["sent"] == 2000
    assert events["finished"]["acknowledged"] == 2000 * qos
    start = events["emitting"]["start_ns"] // 1_000_000
    stated = {
        (f"hall/m7/v{n:05d}", start + t * 50, 100_000 + n + t / 8) for n in range(100) for t in range(20)
    }
    documents = [(topic, json.loads(payload)) for topic, payload in received]
    assert {(topic, doc["ts"], doc["value"]) for topic, doc in documents} == stated
    assert got.empty()


@pytest.mark.server("mosquitto")
@pytest.mark.parametrize("form", ["json", "sparkplug"])
def test_many_values_per_message_arrive_as_stated(tmp_path: Path, form: str) -> None:
    options = [
        "--topics=20",
        "--rate=400",
        "--seconds=1",
        f"--form={form}",
        "--values=10",
        "--prefix=hall",
        "--drain=90",
    ]
    with mosquitto(tmp_path) as port, subscriber(port, "#") as got:
        command = [
            sys.executable,
            "-m",
            "simulators.load",
            "mqtt",
            f"--broker=mqtt://127.0.0.1:{port}",
            *options,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=True)
        events = {line["event"]: line for line in map(json.loads, done.stdout.splitlines())}
        received = [got.get(timeout=90) for _ in range(400 + 20 * (form == "sparkplug"))]
    assert (events["finished"]["sent"], events["finished"]["values"]) == (400, 4000)
    assert 0 < events["finished"]["cpu_ms"] < 60_000
    start = events["emitting"]["start_ns"] // 1_000_000
    stated = {(start + t * 50, 100_000 + n + t / 8) for n in range(200) for t in range(20)}
    assert {row for topic, payload in received for row in rows_of(form, topic, payload)} == stated
    assert got.empty()


def rows_of(form: str, topic: str, payload: bytes) -> Iterator[tuple[int, float]]:
    """(time in ms, value) of a message; births have none."""
    if form == "json":
        document = json.loads(payload)
        yield from ((document["ts"], value) for name, value in document.items() if name != "ts")
    elif "/NDATA/" in topic:
        yield from ((metric["timestamp"], metric["double"]) for metric in reader.payload(payload).metrics)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--form=sparkplug", "--qos=1"], "QoS 0"),
        (["--form=sparkplug", "--values=128", "--topics=10"], "between 1 and 127"),
        (["--values=200"], "200000 variables"),
    ],
)
def test_what_cannot_be_sent_is_said_in_words(tmp_path: Path, options: list[str], words: str) -> None:
    with mosquitto(tmp_path) as port:
        command = [
            sys.executable,
            "-m",
            "simulators.load",
            "mqtt",
            f"--broker=mqtt://127.0.0.1:{port}",
            *options,
        ]
        refused = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert refused.returncode == 1
    assert words in refused.stderr
    assert "Traceback" not in refused.stderr


class SlowTransport(asyncio.Transport):
    """Has not written all when it is closed: the connection ends some turns of the loop later."""

    def __init__(self, publisher: Publisher) -> None:
        super().__init__()
        self.publisher = publisher

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Kept for later."""

    def close(self) -> None:
        asyncio.get_running_loop().call_later(0.05, self.publisher.connection_lost, None)


async def test_it_ends_when_its_last_words_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """At QoS 0 nobody acknowledges: what waits in the transport would be lost with the event loop."""
    what = Publishing(topics=2, rate=20, qos=0)
    publisher = Publisher(what)
    publisher.connection_made(SlowTransport(publisher))

    async def opened(*_: Any) -> Publisher:
        return publisher

    monkeypatch.setattr(mqtt, "open_publisher", opened)
    assert await mqtt.run("mqtt://127.0.0.1:1", what, mqtt.Run(seconds=0.1, settle=0.0, drain=90.0)) == 0
    assert publisher.lost.is_set()


def test_no_broker_is_said_in_words() -> None:
    command = [sys.executable, "-m", "simulators.load", "mqtt", "--broker=mqtt://127.0.0.1:1"]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert refused.returncode == 1
    assert "does not answer" in refused.stderr
    assert "Traceback" not in refused.stderr
