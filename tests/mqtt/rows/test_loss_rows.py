"""More than can be taken at once, and what the broker does with it: M3, M8, M9, M15."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from adapters.errors import NotConnected
from adapters.mqtt import session as sessions
from adapters.mqtt.channel import Message
from adapters.mqtt.checkpoint import load
from adapters.mqtt.connection import Connection
from adapters.mqtt.dropped import EVERY, REASON, TOPIC, Dropped
from pipelines.batch import Flag
from tests.contracts.rig import eventually
from tests.mqtt.conftest import Later
from tests.mqtt.peers import NUMBERS, Mosquitto, Publisher, Shop, parted
from tests.mqtt.rows.bed import line
from tests.mqtt.scripted import codec
from tests.mqtt.scripted.broker import Rules, scripted
from tests.mqtt.scripted.codec import SUBSCRIBE, suback
from tests.mqtt.scripted.raw import raw
from tests.mqtt.taking import cells, last_checkpoint, mosquitto, send, take

OVERLOAD = 60 if os.environ.get("SHOPFLOOR_LONG") == "1" else 2  # seconds
BLOCKED = 600.0 if os.environ.get("SHOPFLOOR_LONG") == "1" else 0.0


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_a_blocked_journal(tmp_path: Path, later: Later) -> None:
    """M3: at most Receive Maximum in flight, not acknowledged, connected over three keep-alives; then everything, once."""
    async with (
        mosquitto(tmp_path, "max_queued_messages 0") as broker,
        line(tmp_path, broker.port, NUMBERS, receive_maximum=100, keep_alive="60s") as running,
    ):
        await eventually(lambda: "silent" not in running.state, "connected")
        await running.block()
        sender = Publisher(broker.port)
        await sender.send(*[("shop/m1/a", f"{n}") for n in range(1000)])
        before = resident()
        await asyncio.sleep(BLOCKED)
        log, said = broker.folder / "broker.log", "Sending PINGRESP to shopfloor-b"
        asked = log.read_text().count(said)
        for n in range(1, 4):
            later(60.0)
            await eventually(lambda n=n: log.read_text().count(said) >= asked + n, "a ping, answered")  # type: ignore[misc]
        assert log.read_text().count("Sending PUBLISH to shopfloor-b") <= 100 + 10, (
            "the window, and what the broker says of itself"
        )
        assert "Received PUBACK from shopfloor-b" not in log.read_text()
        assert running.values() == []
        assert running.state == "connected"
        assert len(running.attempts) == 1
        assert resident() - before < 16_000_000
        running.gate.set()
        await running.has(1000)
        sender.close()
        assert running.values() == [float(n) for n in range(1000)]


@pytest.mark.timeout(600 + OVERLOAD)
@pytest.mark.parametrize("qos", [1, 0])
async def test_memory_is_flat_at_ten_times_the_load_with_the_journal_blocked(
    tmp_path: Path, qos: int
) -> None:
    """M3: 100,000 messages/s where 10,000 are usual, none of which is stored: what is not read stays with the broker, or is its loss."""
    read = {"topic": "shop/{machine}/{signal}", "payload": {"type": "json", "time": "ts"}, "adopt": True}
    async with (
        mosquitto(tmp_path, "max_queued_messages 5000") as broker,
        line(tmp_path, broker.port, {**read, "qos": qos}, broker_statistics=False) as running,
    ):
        await running.block()
        url = f"mqtt://127.0.0.1:{broker.port}"
        flood = [
            "--topics=1000",
            "--rate=100000",
            "--prefix=shop/m1",
            f"--qos={qos}",
            f"--seconds={OVERLOAD}",
        ]
        command = [sys.executable, "-m", "simulators.load", "mqtt", f"--broker={url}", *flood, "--drain=0"]
        load = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
        await eventually(lambda: running.waiting == 1, "the flood has come, and the journal takes nothing")
        held: list[int] = []
        while load.returncode is None or len(held) < 20:
            held.append(resident())
            await asyncio.sleep(0.1)
        later = held[len(held) // 4 :]  # at first the window fills
        assert max(later) - later[0] < 8_000_000
        assert max(held) - held[0] < 24_000_000
        assert (running.state, len(running.attempts), running.values()) == ("connected", 1, [])
        running.gate.set()
        await running.has(1)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_nothing_is_acknowledged_while_the_journal_is_blocked(tmp_path: Path, version: str) -> None:
    """M3: counted on the wire."""
    async with (
        scripted() as broker,
        line(tmp_path, broker.port, NUMBERS, receive_maximum=64, version=version, keep_alive="1s") as running,
    ):
        link = await broker.link()
        await running.block()
        for mid in range(1, 65):
            link.publish("shop/m1/a", str(mid).encode(), mid=mid)
        await eventually(lambda: len(link.seen(codec.PINGREQ)) >= 3, "three keep-alives")
        assert link.acknowledged == []
        assert not link.ended.is_set()
        running.gate.set()
        assert await link.acknowledges(64) == list(range(1, 65))


@pytest.mark.parametrize(("version", "qos", "bound"), [("3.1.1", 1, 64), ("3.1.1", 0, 64), ("5", 0, 128)])
async def test_no_more_is_handed_over_than_the_bound(version: str, qos: int, bound: int) -> None:
    """M3: a broker that sends all that it has in one piece, as 3.1.1 and QoS 0 allow: what is handed over and not acknowledged counts."""
    source_of = {"version": version, "receive_maximum": "64"}
    async with (
        scripted() as broker,
        Shop(broker.port).source({**NUMBERS, "qos": qos}, **source_of).session(None) as session,
    ):
        link = await broker.link()
        for n in range(1, 301):
            link.publish("shop/m1/a", str(n).encode(), mid=n if qos else 0, qos=qos)
        await link.drain()
        found: list[float] = []
        while len(found) < 300:
            owed = await take(session, min(bound, 300 - len(found)), acking=False)
            values = [value for _, _, value in cells(owed)]
            assert len(values) == min(bound, 300 - len(found))
            found += values
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await anext(aiter(session))
            for delivery in owed:
                await delivery.ack()
    assert found == [float(n) for n in range(1, 301)]


# --- M8


async def test_a_queue_that_overflowed_at_the_broker_is_told(tmp_path: Path) -> None:
    """M8: a flood while the collector is away, beyond the broker's queue: what it dropped becomes a gap record with times."""
    lines = ("max_queued_messages 50", "sys_interval 1")
    async with mosquitto(tmp_path, *lines) as broker:
        async with line(tmp_path, broker.port, NUMBERS) as running:
            await send(broker.port, ("shop/m1/a", "1"))
            await running.has(1)
            await eventually(
                lambda: load(running.journal.checkpoint("b"), "", 1).dropped >= 0,
                "the broker's count is known",
            )
        await send(broker.port, *[("shop/m1/a", f"{n}") for n in range(2, 402)])
        await counted(broker.port)
        async with line(tmp_path, broker.port, NUMBERS) as running:
            held: list[str] = []

            async def told() -> None:
                while not held:
                    held.extend(gap.detail for gap in await running.gaps() if gap.reason == REASON)
                    await asyncio.sleep(0.05)

            await asyncio.wait_for(told(), 90)
            dropped = int(held[0].split("dropped ")[1].split(" ")[0])
            await running.has(401 - dropped)  # what the broker kept may still be under way
            await send(broker.port, ("shop/m1/mark", "1"))
            await running.has(402 - dropped)
            stored = len([row for row in running.rows() if row.signal == "a"])
        assert stored < 401
        assert dropped == 401 - stored, "exactly what is missing, since nobody else lost anything"


async def test_more_than_may_wait_stands_before_the_answer_to_subscribe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """M8: a broker hands over what it kept before it answers anything else; nobody takes it before the answer is there."""
    monkeypatch.setattr(sessions, "VOLUME", 50_000)  # less than one look at the socket brings
    async with scripted(Rules(present=True, mute=True)) as broker, asyncio.TaskGroup() as group:

        async def hand_over() -> None:
            await eventually(
                lambda: bool(broker.links) and bool(broker.links[0].seen(SUBSCRIBE)), "a SUBSCRIBE"
            )
            (link,) = broker.links
            for mid in range(1, 501):
                link.publish("shop/m1/a", b"%500d" % mid, mid=mid)
            link.send(suback(link.level, link.seen(SUBSCRIBE)[0].mid, [1]))

        group.create_task(hand_over())
        async with Shop(broker.port).source(NUMBERS).session(None) as session:
            taken = await take(session, 500)
            assert [value for _, _, value in cells(taken)] == [float(mid) for mid in range(1, 501)]
            assert await broker.links[0].acknowledges(500) == list(range(1, 501))


async def test_a_broker_that_still_sends_what_it_kept_is_not_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """M8: over a slow line its answer to SUBSCRIBE comes after minutes; one that sends nothing more has ten seconds."""
    async with scripted(Rules(present=True, mute=True)) as broker:
        waiting, mids = Connection._wait, iter((1, 2, 0))

        async def wait(self: Connection, answer: asyncio.Future[Any], to: str, *more: Any) -> Any:
            """Ten seconds pass with one message; in the third time with none."""
            if to != "SUBSCRIBE":
                return await waiting(self, answer, to, *more)
            if mid := next(mids):
                broker.links[0].publish("shop/m1/a", b"1", mid=mid)
                await eventually(lambda: self.wire.received == mid, "a message")
            raise NotConnected("no answer")

        monkeypatch.setattr(Connection, "_wait", wait)
        with pytest.raises(NotConnected, match="no answer"):
            async with Shop(broker.port).source(NUMBERS).session(None):
                pytest.fail("let in")
        assert next(mids, None) is None


async def counted(port: int) -> None:
    """Until the broker has told (once in sys_interval, all its figures at once) what it has dropped up to now."""
    told: list[tuple[str, bytes, bool]] = []
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _client, _data, said: told.append(
        (said.topic, bytes(said.payload), said.retain)
    )
    client.on_connect = lambda client, *_: client.subscribe([(TOPIC, 0), ("$SYS/broker/uptime", 0)])
    client.connect("127.0.0.1", port)
    client.loop_start()
    await eventually(
        lambda: any(topic.endswith("uptime") and not retained for topic, _, retained in told),
        "its figures of now",
    )
    await eventually(
        lambda: any(int(count) for topic, count, _ in told if topic == TOPIC), "the broker's count rises"
    )
    client.disconnect()
    client.loop_stop()


def _count(text: str, at: int = 1) -> Message:
    return Message(TOPIC.encode(), text.encode(), 0, 0, False, False, at, len(text))


def test_the_count_of_the_broker() -> None:
    """M8: told when it rises, at most every five minutes; a broker that begins anew; words that are no count."""
    dropped = Dropped()
    for text in ("", "x", "-1", "9" * 30, "1.5"):
        dropped.told(_count(text))
    assert (dropped.count, dropped.gap(5)) == (-1, None)
    dropped.told(_count("10", 100))
    assert dropped.gap(100) is None
    dropped.told(_count("13", 200))
    gap = dropped.gap(200)
    assert gap is not None
    assert (gap.begins, gap.ends, gap.reason, gap.count) == (100, 200, REASON, None)
    assert "dropped 3 messages" in gap.detail
    dropped.told(_count("14", 300))
    dropped.told(_count("2", 400))  # the broker was restarted
    assert dropped.gap(400) is None
    later = dropped.gap(200 + EVERY)
    assert later is not None
    assert "dropped 3 messages" in later.detail
    assert later.begins == 200


async def test_a_count_that_was_not_told_yet_outlives_the_connection() -> None:
    """M8: the broker's queue overflowed again soon after it was told, and the connection ends before it may be told once more."""
    async with scripted(Rules(present=True)) as broker:
        source, checkpoint, told = Shop(broker.port).source(NUMBERS), None, []
        for number, counts in enumerate((("1", "4", "9"), ("9",)), 1):
            async with source.session(checkpoint) as session:
                link = await broker.link(number)
                await link.subscribes(2)
                for count in counts:
                    link.publish(TOPIC, count.encode(), qos=0)
                    link.publish("shop/m1/a", b"1", qos=0)
                    taken = await take(session, 1)
                    told += [(gap.detail, gap.begins) for delivery in taken for gap in delivery.gaps]
                    checkpoint = last_checkpoint(taken)
                seen = source._bench.clock.now()
            if number == 1:
                assert [detail.split(",")[0] for detail, _ in told] == [
                    "the broker dropped 3 messages of its clients"
                ]
                before = seen
    assert [detail.split(",")[0] for detail, _ in told[1:]] == [
        "the broker dropped 5 messages of its clients"
    ]
    assert told[0][1] < told[1][1] < before, "and since when is known"


async def test_a_broker_that_hangs_up_at_the_question_is_asked_once() -> None:
    """M8: some brokers end the connection of whoever asks for $SYS: then values are worth more than the count."""
    async with scripted(Rules(granted={TOPIC: 0x87})) as broker:
        source = Shop(broker.port).source(NUMBERS)
        async with source.session(None) as session:
            link = await broker.link()
            await link.subscribes(2)
            await take(session, 0)
        for n, filters in ((2, 2), (3, 2)):
            broker.rules.granted = {}
            async with source.session(None):
                await (await broker.link(n)).subscribes(filters)
        off = Shop(broker.port).source(NUMBERS, broker_statistics=False)
        async with off.session(None) as session:
            link = await broker.link(4)
            link.publish("shop/m1/a", b"1", mid=1)
            await take(session, 1)
            assert list(link.subscribed) == ["shop/m1/+"]


# --- M9


@pytest.fixture
async def roomy(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    """A broker with room for ten thousand messages in its queue; by default mosquitto drops all but 1000 of them."""
    async with mosquitto(tmp_path, "max_queued_messages 0") as running:
        yield running


async def test_ten_thousand_retained_messages(tmp_path: Path, roomy: Mosquitto) -> None:
    """M9: all are taken, and all are flagged, so that `retained: ignore` drops them (pipelines) and none passes for a value of now."""
    async with raw(roomy.port) as client:
        for first in range(0, 10_000, 1000):
            some = range(first, first + 1000)
            await client.send(
                b"".join(codec.publish(4, f"shop/m1/s{n}", b"1", mid=n + 1, retain=True) for n in some)
            )
            for _ in some:
                assert await client.receive(codec.PUBACK) is not None
    async with line(tmp_path, roomy.port, NUMBERS, adopt_limit=10_000) as running:
        await running.has(10_000)
        rows = running.rows()
        assert len(rows) == 10_000
        assert all(row.flags & Flag.RETAINED for row in rows)
        await send(roomy.port, ("shop/m1/s1", "2"))
        await running.has(10_001)
        assert [row.value for row in running.rows() if not row.flags & Flag.RETAINED] == [2.0]


# --- M15


def settled(broker: Mosquitto) -> bool:
    log = (broker.folder / "broker.log").read_text()
    return all(
        log.count(f"Sending PUBLISH to {who} (d0, q1") == log.count(f"Received PUBACK from {who}")
        for who in ("one", "two")
    )


async def test_two_collectors_that_share_a_subscription(tmp_path: Path, broker: Mosquitto) -> None:
    """M15: every message reaches one of them, none both, also when one ends in the middle and the other takes over."""
    read = {
        "topic": "$share/line/t/{machine}",
        "payload": {"type": "json", "time": "t"},
        "signals": [{"name": "v", "value": "v"}],
    }

    def some(first: int, last: int) -> list[tuple[str, bytes | str]]:
        return [("t/m1", f'{{"t": {1_700_000_000_000 + n}, "v": {n}}}') for n in range(first, last)]

    (tmp_path / "two").mkdir()
    async with line(tmp_path, broker.port, read, client_id="one", session_expiry="0s") as one:
        async with line(tmp_path / "two", broker.port, read, client_id="two", session_expiry="0s") as two:
            await send(broker.port, *some(0, 500))
            await eventually(lambda: len(one.values()) + len(two.values()) >= 500, "every message has come")
            await eventually(
                lambda: settled(broker), "and the broker knows it: nothing of it is given to the other one"
            )
            assert one.values()
            assert two.values()
            shared = [*one.values(), *two.values()]
        await parted(broker.port)  # before that, mosquitto gives some to the one that has left
        await send(broker.port, *some(500, 600))
        await eventually(lambda: len(one.values()) + len(two.values()) >= 600, "the other takes over")
        shared = [*one.values(), *two.values()]
    assert sorted(shared) == [float(n) for n in range(600)]
