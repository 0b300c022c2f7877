"""Topics and payloads that nobody should send (M12, M13): what is wanted comes through, before and after; memory is bounded."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path
from typing import Any

import pytest

from adapters.mqtt.settings import MqttRead
from tests.contracts.rig import eventually
from tests.mqtt.peers import NUMBERS, Mosquitto, Shop
from tests.mqtt.rows.bed import line
from tests.mqtt.rows.test_loss_rows import resident
from tests.mqtt.scripted import codec
from tests.mqtt.scripted.broker import Rules, scripted
from tests.mqtt.scripted.raw import raw
from tests.mqtt.taking import cells, take

VERSIONS = pytest.mark.parametrize("version", ["5", "3.1.1"])
EVERYTHING: dict[str, Any] = {"topic": "#", "payload": "number", "signals": [{"name": "x"}]}
TOPICS = {
    "not UTF-8": b"shop/m1/\xff\xfe",
    "an overlong form": b"shop/m1/\xc0\xaf",
    "a surrogate": b"shop/m1/\xed\xa0\x80",
    "NUL": b"shop/m1/a\0b",
    "control characters": b"shop/m1/\x01\x1b[2J\x7f",
    "65,535 bytes": b"shop/m1/" + b"x" * 65_527,
    "wildcards": b"shop/+/#",
    "$SYS": b"$SYS/broker/version",
    "a path": b"shop/m1/../../../etc/passwd",
    "empty levels": b"////",
    "no topic": b"",
}


@VERSIONS
@pytest.mark.parametrize("name", TOPICS)
async def test_a_topic_that_nobody_should_send(tmp_path: Path, name: str, version: str) -> None:
    """M12: taken as what it is or set aside, acknowledged, and never the end of the connection (which would bring it again)."""
    read = {"topic": "shop/{machine}/{signal}", "payload": "number", "adopt": True}
    async with (
        scripted(Rules()) as broker,
        line(tmp_path, broker.port, read, EVERYTHING, version=version) as running,
    ):
        link = await broker.link()
        link.publish("shop/m1/a", b"1", mid=1)
        link.publish(TOPICS[name], b"2", mid=2)
        link.publish("shop/m1/a", b"3", mid=3)
        assert await link.acknowledges(3) == [1, 2, 3]
        assert len(broker.links) == 1
        assert {1.0, 3.0} <= set(running.values())
        assert await running.unaccounted() == 0


async def test_mosquitto_and_its_idea_of_topics(tmp_path: Path, broker: Mosquitto) -> None:
    """M12: what the real broker lets through; whom it throws out is the sender."""
    async with line(tmp_path, broker.port, NUMBERS, EVERYTHING) as running:
        for topic in TOPICS.values():
            async with raw(broker.port) as client:
                await client.publish(topic, b"2")
        async with raw(broker.port) as client:
            assert await client.publish("shop/m1/last", b"9")
        await eventually(lambda: 9.0 in running.values(), "the last one")
        assert len(running.attempts) == 1


async def test_ten_thousand_topics(tmp_path: Path) -> None:
    """M12: no more series than allowed, memory bounded, the rest set aside and counted."""
    async with (
        scripted() as broker,
        line(tmp_path, broker.port, NUMBERS, adopt_limit=100) as running,
    ):
        link = await broker.link()
        before = resident()
        mids = itertools.cycle(range(1, 5000))
        for n in range(10_000):
            link.publish(f"shop/m1/s{n}", b"1", mid=0, qos=0) if n % 100 else link.publish(
                f"shop/m1/s{n}", b"1", mid=next(mids)
            )
            if n % 100 == 0:
                await link.drain()
                await link.acknowledges(n // 100 + 1)
        link.publish("shop/m1/s5", b"7", mid=4999)
        await link.acknowledges(101)
        assert len({row.signal for row in running.rows()}) == 100
        assert 7.0 in running.values()
        assert resident() - before < 64_000_000


def test_the_brokers_own_topics_are_never_adopted() -> None:
    """M12: $SYS is no machine."""
    with pytest.raises(ValueError, match="never adopted"):
        MqttRead.model_validate({"source": "b", "topic": "$SYS/{signal}", "payload": "number", "adopt": True})


# --- M13

BOMB = gzip.compress(b"0" * 200_000_000, 9)
PAYLOADS = {
    "nothing": b"",
    "blank": b" \r\n",
    "binary": bytes(range(256)) * 200,
    "a gzip bomb": BOMB,
    "a megabyte": b"9" * 999_000,
    "two megabytes": b"9" * 2_000_000,
    "JSON in JSON": b'{"v":' * 50_000,
}


@VERSIONS
@pytest.mark.parametrize("name", PAYLOADS)
@pytest.mark.parametrize("payload", ["number", "json", "text", "shdr"])
async def test_a_payload_that_nobody_should_send(name: str, payload: str, version: str) -> None:
    """M13: read or set aside with a reason; the messages around it come through; not more than 16 MiB of memory."""
    read = {"topic": "p", "payload": payload, "signals": [{"name": "x"}]}
    if payload == "shdr":
        read["signals"] = [{"name": "x", "item": "x"}]
    async with (
        scripted() as broker,
        Shop(broker.port).source(read, NUMBERS, version=version).session(None) as session,
    ):
        link = await broker.link()
        before = resident()
        link.publish("shop/m1/a", b"1", mid=1)
        link.publish("p", PAYLOADS[name], mid=2)
        link.publish("shop/m1/a", b"3", mid=3)
        await link.drain()
        taken = await take(session, 1)
        while 3.0 not in (found := [value for _, _, value in cells(taken)]):
            taken += await take(session, 1)
        assert await link.acknowledges(3) == [1, 2, 3]
        assert 1.0 in found
        assert resident() - before < 16 * 2**20 + 3 * len(PAYLOADS[name])  # the broker is in this process too


@VERSIONS
async def test_a_quarter_of_a_gigabyte(version: str) -> None:
    """M13: 256 MiB declared and sent: skipped, not held; its beginning is kept, and the next message is read."""
    size = 268_000_000
    async with (
        scripted() as broker,
        Shop(broker.port).source(NUMBERS, version=version).session(None) as session,
    ):
        link = await broker.link()
        await link.subscribes(2)  # no other packet of the broker comes between
        await take(session, 0)
        before = resident()
        highest = before
        link.publish("shop/m1/huge", b"", mid=1, declared=size)
        chunk = bytes(1 << 20)
        for _ in range(size >> 20):
            link.send(chunk)
            await link.drain()
            highest = max(highest, resident())
        link.send(bytes(size - (size >> 20 << 20)))
        link.publish("shop/m1/a", b"3", mid=2)
        taken = await take(session, 2)
        assert await link.acknowledges(2) == [1, 2]
        (refusal,) = [refusal for delivery in taken for refusal in delivery.refused]
        assert "larger than max_packet" in refusal.reason
        assert [value for _, _, value in cells(taken)] == [3.0]
        assert highest - before < 16 * 2**20


@VERSIONS
async def test_a_declared_giant_that_never_comes(tmp_path: Path, version: str) -> None:
    """M13: a length is no reason to hold memory; when the connection ends, the source is back on the next one."""
    async with (
        scripted(Rules(present=True)) as broker,
        line(tmp_path, broker.port, NUMBERS, version=version) as running,
    ):
        link = await broker.link(1)
        before = resident()
        link.send(codec.publish(link.level, "shop/m1/a", b"1" * 100, mid=1, declared=268_000_000))
        await link.drain()
        assert resident() - before < 16 * 2**20
        link.cut()
        again = await broker.link(2)
        again.publish("shop/m1/a", b"5", mid=1)
        await running.has(1)
        assert running.values() == [5.0]


async def test_left_overs_of_qos_2_are_completed() -> None:
    """M13: another client with our id may have asked for QoS 2: received, stored, and the exchange is brought to its end."""
    async with (
        scripted(Rules(present=True)) as broker,
        Shop(broker.port).source(NUMBERS).session(None) as session,
    ):
        link = await broker.link()
        link.publish("shop/m1/a", b"1", mid=5, qos=2)
        link.publish("shop/m1/a", b"2", mid=6)
        taken = await take(session, 2)
        assert await link.acknowledges(2) == [5, 6]
        await eventually(lambda: len(link.seen(codec.PUBCOMP)) == 1, "PUBCOMP")
        assert [value for _, _, value in cells(taken)] == [1.0, 2.0]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x00",
        b"\xf0\x00",
        b"\x36\x02\x00\x00",
        b"\x30\xff\xff\xff\xff\x01",
        b"\x32\x00",
    ],
)
async def test_bytes_that_are_no_mqtt(tmp_path: Path, garbage: bytes) -> None:
    """M13: the connection ends, the source is back on the next one, and nothing that came before is lost."""
    async with scripted(Rules(present=True)) as broker, line(tmp_path, broker.port, NUMBERS) as running:
        link = await broker.link(1)
        link.publish("shop/m1/a", b"1", mid=1)
        await link.acknowledges(1)
        link.send(garbage + bytes(10))
        again = await broker.link(2)
        again.publish("shop/m1/a", b"2", mid=1)
        await running.has(2)
        assert running.values() == [1.0, 2.0]


@pytest.mark.parametrize("code", [0x8B, 0x8D, 0x93, 0x97, 0x98, 0x9C])
async def test_a_broker_that_says_why_it_ends(tmp_path: Path, code: int) -> None:
    """M13: DISCONNECT with a reason (quota exceeded and others): told in its words, and tried again."""
    async with scripted(Rules(present=True)) as broker, line(tmp_path, broker.port, NUMBERS) as running:
        link = await broker.link(1)
        await link.subscribes(2)
        link.disconnect(code, {"reason_string": "so"})
        await eventually(lambda: bool(running.ends), "the end")
        assert f"0x{code:02x}" in str(running.ends[0])
