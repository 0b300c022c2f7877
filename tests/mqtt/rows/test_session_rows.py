"""Connections that end, and what must not follow from it: M1, M2, M4, M5, M7, M10."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import client

from adapters.clock import SystemClock
from adapters.errors import AdapterError, Misconfigured, NotConnected
from adapters.mqtt import rivals
from adapters.mqtt import session as sessions
from adapters.mqtt.rivals import SHORT, HungUp, Rivals
from adapters.mqtt.session import MqttSession
from adapters.mqtt.source import MqttBroker
from simulators.proxy.server import open_proxy
from tests.contracts.rig import eventually
from tests.fakes import FakeClock
from tests.mqtt.peers import NUMBERS, Mosquitto, Shop
from tests.mqtt.rows.bed import line
from tests.mqtt.scripted import codec
from tests.mqtt.scripted.broker import Rules, scripted
from tests.mqtt.taking import mosquitto, send, take, tick

VERSIONS = pytest.mark.parametrize("version", ["5", "3.1.1"])
TIMED: Mapping[str, Any] = {
    "topic": "t/{machine}",
    "payload": {"type": "json", "time": "t"},
    "signals": [{"name": "v", "value": "v"}],
}


def timed(*numbers: int) -> list[tuple[str, bytes | str]]:
    return [("t/m1", f'{{"t": {1_700_000_000_000 + n}, "v": {n}}}') for n in numbers]


class _Paces(SystemClock):
    """The supervisor's clock, and how long it was told to wait: a busy machine makes no promise wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await super().sleep(seconds)


@pytest.mark.parametrize("persistence", [True, False])
async def test_a_broker_that_is_killed(tmp_path: Path, persistence: bool) -> None:
    """M1: back within 5 s of its return; where it forgot the session, a gap record says so, every time."""
    pauses = _Paces()
    async with (
        mosquitto(
            tmp_path, "autosave_interval 1", "autosave_on_changes true", persistence=persistence
        ) as broker,
        line(tmp_path, broker.port, TIMED, pauses=pauses) as running,
    ):
        for round_ in range(2):
            await send(broker.port, *timed(*range(10 * round_, 10 * round_ + 10)))
            await running.has(10 * round_ + 10)
            await broker.stop(kill=True)
            await eventually(lambda: running.state != "connected", "the loss is noticed")
            await broker.start()
            await eventually(lambda: running.state == "connected", "it is back")
        assert max(pauses.slept) <= 4.0  # and a second for the connection
        await send(broker.port, *timed(20))
        await running.has(21)
        assert sorted(running.values()) == [float(n) for n in range(21)]
        reasons = [gap.reason for gap in await running.gaps()]
        present = running.facts["session"] == "continued"
        assert reasons.count("session_not_present") == (0 if present and persistence else 2)


@VERSIONS
@pytest.mark.parametrize("persistence", [True, False])
async def test_a_broker_that_restarts_while_the_collector_is_away(
    tmp_path: Path, persistence: bool, version: str
) -> None:
    """M1: stopped in good order and started again: what it queued for us comes, or a gap record tells from when to when it is lost."""
    async with mosquitto(tmp_path, persistence=persistence) as broker:
        async with line(tmp_path, broker.port, TIMED, version=version) as running:
            await send(broker.port, *timed(*range(10)))
            await running.has(10)
        await send(broker.port, *timed(*range(10, 60)))  # nobody is there
        left = time.time_ns()
        await broker.stop()
        await broker.start()
        async with line(tmp_path, broker.port, TIMED, version=version) as running:
            await send(broker.port, *timed(60))
            kept = [*range(60)] if persistence else [*range(10)]
            await running.has(len(kept) + 1)
            assert sorted(running.values()) == [float(n) for n in [*kept, 60]]
            lost = [gap for gap in await running.gaps() if gap.reason == "session_not_present"]
    assert len(lost) == (0 if persistence else 1)
    assert all(gap.begins < left < gap.ends for gap in lost)


async def test_a_lost_session_is_told_by_whichever_connection_comes_so_far(tmp_path: Path) -> None:
    """M1: the broker says once that it has no session, and falls again before it answers SUBSCRIBE."""
    rules = Rules(present=True)
    async with scripted(rules) as broker, line(tmp_path, broker.port, NUMBERS) as running:
        first = await broker.link(1)
        first.publish("shop/m1/a", b"1", mid=1)
        await first.acknowledges(1)
        rules.present, rules.mute = False, True
        first.cut()
        await eventually(lambda: len(broker.links) > 1, "it is back")
        second = broker.links[1]
        await eventually(lambda: bool(second.seen(codec.SUBSCRIBE)), "it asks for its topics")
        rules.present, rules.mute = True, False
        second.cut()
        third = await broker.link(3)
        third.publish("shop/m1/a", b"2", mid=1)
        await third.acknowledges(1)
        assert [gap.reason for gap in await running.gaps()] == ["session_not_present"]
        third.cut()
        fourth = await broker.link(4)
        fourth.publish("shop/m1/a", b"3", mid=1)
        await fourth.acknowledges(1)
        assert len(await running.gaps()) == 1


@VERSIONS
async def test_a_repetition_in_a_new_session_is_none_of_the_old_one(tmp_path: Path, version: str) -> None:
    """M2: packet ids begin anew with a session: what was sent and not received in it, and comes again, is no old message of its text."""
    rules = Rules(present=True)
    async with (
        scripted(rules) as broker,
        line(tmp_path, broker.port, NUMBERS, version=version) as running,
    ):
        first = await broker.link(1)
        first.publish("shop/m1/a", b"20.5", mid=1)
        await first.acknowledges(1)
        rules.present = False
        first.cut()
        second = await broker.link(2)
        async with asyncio.timeout(90):
            while not await running.gaps():
                await asyncio.sleep(0.01)
        rules.present = True
        second.cut()  # with the new session's first message on its way
        third = await broker.link(3)
        third.publish("shop/m1/a", b"20.5", mid=1, dup=True)
        await third.acknowledges(1)
        assert running.values() == [20.5, 20.5]


@VERSIONS
async def test_a_crash_with_unacknowledged_messages(tmp_path: Path, version: str) -> None:
    """M2: what was journaled and not acknowledged comes again with dup, and is stored once."""
    level = 5 if version == "5" else 4
    async with scripted(Rules(present=True)) as broker:
        for life in (1, 2):
            async with line(tmp_path, broker.port, TIMED, NUMBERS, version=version) as running:
                link = await broker.link(life)
                assert link.level == level
                for mid, (topic, payload) in enumerate(timed(1, 2), 1):
                    link.publish(topic, str(payload).encode(), mid=mid, dup=life == 2)
                link.publish("shop/m1/a", b"3", mid=3, dup=life == 2)
                await link.acknowledges(3)  # the broker that crashed with us never heard of the first three
                assert sorted(running.values()) == [1.0, 2.0, 3.0]


@VERSIONS
async def test_a_repetition_that_does_not_say_so_is_stored_once(
    tmp_path: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M2: a broker that sends again without DUP, and a new message of the same text in between: the one once, the other too."""
    monkeypatch.setattr(sessions, "LATELY", 600.0)  # all of it is just now, however long it takes here
    async with scripted(Rules(present=True)) as broker:
        async with line(tmp_path, broker.port, TIMED, NUMBERS, version=version) as running:
            link = await broker.link(1)
            for mid in (1, 2, 3):
                link.publish("shop/m1/a", b"5", mid=mid)
            await link.acknowledges(3)
        async with line(tmp_path, broker.port, TIMED, NUMBERS, version=version) as running:
            link = await broker.link(2)
            link.publish("t/m1", str(timed(1)[0][1]).encode(), mid=9)
            link.publish("shop/m1/a", b"5", mid=2)
            link.publish("shop/m1/a", b"5", mid=10)
            link.publish("shop/m1/a", b"5", mid=3)
            await link.acknowledges(4)
            assert sorted(running.values()) == [1.0, 5.0, 5.0, 5.0, 5.0]
            await eventually(
                lambda: running.facts.get("repeats_without_dup", "").startswith("2 messages"), "it is told"
            )


@VERSIONS
async def test_no_acknowledgement_reaches_another_connection(tmp_path: Path, version: str) -> None:
    """M4: received, cut, and only then journaled: on the new connection nothing of it is acknowledged."""
    async with (
        scripted(Rules(present=True)) as broker,
        line(tmp_path, broker.port, TIMED, version=version) as running,
    ):
        first = await broker.link(1)
        await running.block()
        for mid, (topic, payload) in enumerate(timed(1, 2, 3), 101):
            first.publish(topic, str(payload).encode(), mid=mid)
        await first.drain()
        await eventually(lambda: running.waiting == 1, "they are received, and wait before the gate")
        first.cut()
        running.gate.set()
        second = await broker.link(2)
        second.publish("t/m1", str(timed(9)[0][1]).encode(), mid=1)
        await second.acknowledges(1)
        for mid, (topic, payload) in enumerate(timed(1, 2, 3), 101):
            second.publish(topic, str(payload).encode(), mid=mid, dup=True)
        assert await second.acknowledges(4) == [1, 101, 102, 103]
        assert sorted(running.values()) == [1.0, 2.0, 3.0, 9.0]
        stale = [seen for seen in broker.log if seen.link == 2 and seen.packet.kind == codec.PUBACK]
        assert len(stale) == 4  # and the broker itself complains of every one that was not in flight


async def test_an_acknowledgement_given_late_is_sent_nowhere() -> None:
    """M4: at the border of the adapter: a delivery of a connection that is gone is acknowledged to nobody."""
    async with scripted(Rules(present=True)) as broker:
        source = Shop(broker.port).source(NUMBERS)
        async with source.session(None) as old:
            link = await broker.link(1)
            for mid in (7, 8):
                link.publish("shop/m1/a", b"1", mid=mid)
            owed = await take(old, 2, acking=False)
            link.cut()
            with pytest.raises(NotConnected):
                await take(old, 1)
            async with source.session(None) as new:
                second = await broker.link(2)
                for delivery in owed:
                    await delivery.ack()
                second.publish("shop/m1/a", b"1", mid=1)
                await take(new, 1)
                assert await second.acknowledges(1) == [1]


@pytest.mark.parametrize("slices", [0, 1, 7])
@VERSIONS
async def test_acknowledgements_come_in_the_order_of_receipt(
    tmp_path: Path, version: str, slices: int
) -> None:
    """M5: over a thousand messages with packet ids in disorder, in packets cut anywhere: 100 % in order."""
    mids = [(n * 7919) % 65_535 + 1 for n in range(1000)]
    rules = Rules(slices=slices)
    async with scripted(rules) as broker, line(tmp_path, broker.port, TIMED, NUMBERS, version=version):
        link = await broker.link()
        for n, mid in enumerate(mids):
            topic, payload = timed(n)[0] if n % 3 else ("shop/m1/a", str(n))
            link.publish(topic, str(payload).encode(), mid=mid)
            await link.drain()
        assert await link.acknowledges(1000) == mids


async def test_a_delivery_acknowledged_twice_is_acknowledged_once() -> None:
    """M5: a second PUBACK for a packet id would be taken for the next message with this id."""
    async with scripted() as broker, Shop(broker.port).source(NUMBERS).session(None) as session:
        link = await broker.link()
        for mid in (1, 2):
            link.publish("shop/m1/a", b"1", mid=mid)
        for delivery in await take(session, 2):
            await delivery.ack()  # again
        link.publish("shop/m1/a", b"1", mid=3)
        await take(session, 1)
        assert await link.acknowledges(3) == [1, 2, 3]


# --- M7: two clients with one id


class _Hours(FakeClock):
    """The supervisor's clock: its waits pass at once, and what they come to is known."""

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every life of a connection is a short one, however long it takes on a machine that stands still."""
    monkeypatch.setattr(rivals, "SHORT", 600.0)


@VERSIONS
@pytest.mark.usefixtures("no_hurry")
async def test_a_fight_over_a_client_id_is_slow_and_told(tmp_path: Path, version: str) -> None:
    """M7: whoever comes throws the other out, in good order and without a word, as mosquitto does: one reconnection in 10 s."""
    clock = _Hours()
    async with (
        scripted(Rules(present=True)) as broker,
        line(tmp_path, broker.port, NUMBERS, version=version, pauses=clock, up=False) as running,
    ):
        for n in range(1, 8):
            link = await broker.link(n)
            await link.subscribes(2)  # nothing more is on its way to the broker: it ends in good order
            link.hang_up()
        await broker.link(8)
        assert [type(error) for error in running.ends] == [HungUp, HungUp, *[Misconfigured] * 5]
        assert "another client probably uses the client id 'shopfloor-b'" in str(running.ends[-1])
        again = running.attempts[2:]  # the first two are quick: a broker that crashed would be back
        assert all(later - earlier >= 10.0 for earlier, later in itertools.pairwise(again))


class _Judge(Rivals):
    """told: how each connection ended in its eyes; an attempt that failed takes back what was proved before."""

    told: list[type[AdapterError] | None]

    def judge(self, error: AdapterError) -> AdapterError:
        found = super().judge(error)
        self.told.append(type(found))
        return found

    def unreachable(self) -> None:
        super().unreachable()
        self.told.append(None)


@pytest.mark.usefixtures("no_hurry")
async def test_two_collectors_with_one_client_id(tmp_path: Path) -> None:
    """M7: on mosquitto: one of them gives way at its third orderly end, and from then on there is peace for 10 s and more."""
    (tmp_path / "two").mkdir()
    paces = _Paces(), _Paces()
    async with (
        mosquitto(tmp_path) as broker,
        line(tmp_path, broker.port, NUMBERS, client_id="same", pauses=paces[0]) as one,
        line(tmp_path / "two", broker.port, NUMBERS, client_id="same", up=False, pauses=paces[1]) as two,
    ):
        judges = [_watched(side.source) for side in (one, two)]
        await eventually(lambda: any(map(_gives_way, paces)), "one of them gives way", 120.0)
        (loser,) = [side for side, pace in zip((one, two), paces, strict=True) if _gives_way(pace)]
        assert loser.state == "needs_attention"
        assert "client id 'same'" in loser.error
        (winner,) = {one, two} - {loser}
        await eventually(lambda: winner.state == "connected", "the other one stays")
        for (
            judge
        ) in judges:  # an end in disorder proves nothing: of a broker that closes with something unread
            assert judge.told.count(HungUp) <= 2 * (1 + judge.told.count(None))


def _watched(source: MqttBroker) -> _Judge:
    judge = source._memory.rivals
    judge.__class__ = _Judge
    assert isinstance(judge, _Judge)
    judge.told = []
    return judge


def _gives_way(pace: _Paces) -> bool:
    return bool(pace.slept) and pace.slept[-1] >= SHORT


def test_what_is_not_a_fight_is_not_called_one() -> None:
    """M7: a broker that restarts, a broken link, a connection that lasted: the supervisor may try again at once."""
    clock = FakeClock()
    rivals = Rivals("c", clock)
    for _ in range(5):  # the broker restarts again and again: an attempt fails in between
        rivals.accepted()
        assert isinstance(rivals.judge(HungUp("x")), NotConnected)
        rivals.unreachable()
    for _ in range(3):  # it crashes again and again, and is back at once
        rivals.accepted()
        clock.advance(1.0)
        assert isinstance(rivals.judge(HungUp("x")), NotConnected)
        clock.advance(2 * SHORT)
    for _ in range(5):  # a broken link
        rivals.accepted()
        assert isinstance(rivals.judge(NotConnected("x")), NotConnected)
    for _ in range(5):  # thrown out now and then
        rivals.accepted()
        clock.advance(SHORT)
        assert isinstance(rivals.judge(HungUp("x")), NotConnected)
    told = []
    for _ in range(3):
        rivals.accepted()
        told.append(type(rivals.judge(HungUp("x"))))
    assert told == [HungUp, Misconfigured, Misconfigured]


# --- M10: half-open


class Tocks:
    """The client library's time, which stands still, and a connection that looks at it when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = client.time_func()
        monkeypatch.setattr(client, "time_func", lambda: self.now)

    async def tock(self, session: MqttSession, seconds: float) -> None:
        """So long passes, and the connection looks at its keep-alive; what was sent is on its way."""
        self.now += seconds
        tick(session)
        await asyncio.sleep(0)

    async def until_lost(self, session: MqttSession, step: float) -> float:
        """After how many seconds without a word from the broker the connection is told as lost."""
        begun = self.now
        while session._connection.lost is None and self.now - begun < 1000 * step:
            await self.tock(session, step)
        with pytest.raises(NotConnected, match=r"(?i)keep.alive"):
            await take(session, 1)
        return session._connection.wire.silence()


@pytest.fixture
def tocks(monkeypatch: pytest.MonkeyPatch) -> Tocks:
    return Tocks(monkeypatch)


@VERSIONS
async def test_a_half_open_connection_is_found(broker: Mosquitto, version: str, tocks: Tocks) -> None:
    """M10: nothing comes and nothing says so: found within 1.5 keep-alives (20 s, so 30 s; paho by itself takes 40)."""
    async with open_proxy(("127.0.0.1", broker.port)) as proxy:
        port = int(proxy.address.rpartition(":")[2])
        async with Shop(port).source(NUMBERS, version=version, keep_alive="20s").session(None) as session:
            await take(session, 0)
            await send(broker.port, ("shop/m1/a", "1"))
            await take(session, 1)
            proxy.both(blackhole=True)
            assert 20 < await tocks.until_lost(session, 1.0) <= 30
            proxy.clear()


async def test_a_ping_that_is_not_answered_while_values_come_is_no_loss(tocks: Tocks) -> None:
    """M10: a broker that is behind with pings but sends values is alive; when the values end too, it is lost."""
    async with (
        scripted(Rules(pings=False)) as broker,
        Shop(broker.port).source(NUMBERS, keep_alive="1s").session(None) as session,
    ):
        link = await broker.link()
        for mid in itertools.count(1):
            if mid > 30 and link.seen(codec.PINGREQ):  # time in which this process stood still excuses a ping
                break
            link.publish("shop/m1/a", b"1", mid=mid)
            await take(session, 1)
            await tocks.tock(session, 0.1)  # the pace of the values: for three keep-alives
        assert await tocks.until_lost(session, 0.1) <= 1.5


async def test_the_keep_alive_of_the_broker_counts(tocks: Tocks) -> None:
    """M10: Server Keep Alive (MQTT 5.0, 3.2.2.3.14) instead of our own; 0 would switch it off and is not taken."""
    async with scripted(Rules(props={"server_keep_alive": 1}, pings=False)) as broker:
        async with Shop(broker.port).source(NUMBERS, keep_alive="60s").session(None) as session:
            assert await tocks.until_lost(session, 0.1) <= 1.5
        link = await broker.link()
        await eventually(lambda: bool(link.seen(codec.PINGREQ)), "it has asked")
    async with (
        scripted(Rules(props={"server_keep_alive": 0}, pings=False)) as broker,
        Shop(broker.port).source(NUMBERS, keep_alive="2s").session(None) as session,
    ):
        assert await tocks.until_lost(session, 0.2) <= 3.0
