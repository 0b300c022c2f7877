"""Signals that are read instead of monitored, and heartbeats: the laws of a source, a schedule without drift, a server in peace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.base import Bench, Source
from adapters.clock import SystemClock
from adapters.errors import NotConnected
from adapters.opcua.checkpoint import Checkpoint
from adapters.opcua.poll import Grid, as_of_now, timeless, without_server_time
from adapters.opcua.settings import OpcUaRead, OpcUaSignal, OpcUaSource
from adapters.settings import Reading
from pipelines.batch import Flag
from pipelines.registry import Registry
from tests.contracts.rig import eventually, leap
from tests.contracts.source import Emitted, SourceContract
from tests.fakes import FakeClock
from tests.opcua import encoder as enc
from tests.opcua.encoder import DataValue, Null, Scalar
from tests.opcua.opened import opened
from tests.opcua.rows.bed import REQUEST_TIMEOUT, START, Bed, Hurried, let, passing, value
from tests.opcua.scripted import URI, Connection, Mute, Refuse, Script, Slow, Unsupported, Variable
from tests.opcua.scripted.codec.services import Asked
from tests.opcua.scripted.scripts import Verdict
from tests.opcua.settling import settled
from tests.opcua.test_contract import SIGNALS, OpcUaRig

TOO_BUSY = 0x80EE0000


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    async for made in opened(Bed(tmp_path)):
        yield made


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(time.time_ns())


@pytest.fixture
async def still(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Bed]:
    async for made in opened(Bed(tmp_path, clock, clock)):
        yield made


class Sizes(Script):
    """How many values were asked for with one call."""

    def __init__(self) -> None:
        self.most = 0

    def before(self, connection: Connection, asked: Asked) -> Verdict:
        if asked.name == "Read":
            values = [wish for wish in asked["nodes"] if wish.attribute == 13 and wish.node.namespace]
            self.most = max(self.most, len(values))
        return None


class Polls(Script):
    """How often nothing but values was asked for: a session reads other things too, such as names."""

    def __init__(self) -> None:
        self.seen = 0

    def before(self, connection: Connection, asked: Asked) -> Verdict:
        self.seen += asked.name == "Read" and all(
            wish.attribute == 13 and wish.node.namespace for wish in asked["nodes"]
        )
        return None


class PolledRig(OpcUaRig):
    """The same server, read every 10 ms. What is emitted stands until it has been read: polling sees the present only."""

    bound = 60

    def __init__(self) -> None:
        super().__init__()
        self.polls = Polls()
        self.server.scripts.append(self.polls)

    def _source(self, url: str) -> Source:
        signals = [
            OpcUaSignal.model_validate({"name": n, "node": f"nsu={URI};s={n}", "every": "10ms"})
            for n in SIGNALS
        ]
        reading = Reading(machine="m", tags={}, read=OpcUaRead(source="plc", signals=signals))
        wishes = {"mode": "poll", "unacknowledged": 100, "request_timeout": "60s"}
        settings = OpcUaSource.model_validate({"type": "opcua", "url": url, "security": "none", **wishes})
        return settings.build("plc", (reading,), Bench(self.registry, SystemClock()))

    async def emit(self, n: int) -> Sequence[Emitted]:
        made: list[Emitted] = []
        for begun in range(0, n, len(SIGNALS)):
            made += await super().emit(min(len(SIGNALS), n - begun))
            await self._until_read()
        return made

    async def garbage(self) -> int:
        """There is no notification to be broken."""
        return 0

    async def _until_read(self) -> None:
        """One more reading of the values. None at all where nobody is there."""
        seen = self.polls.seen
        await eventually(lambda: not self.server.connections or self.polls.seen > seen, "it is read")

    async def arrived(self, emitted: Sequence[Emitted]) -> None:
        """Each has been read when the next one was emitted."""
        await settled()


class TestPolling(SourceContract):
    CANNOT: ClassVar[Mapping[str, str]] = {
        "test_law_5_what_was_not_acknowledged_comes_again": "says redelivers = False",
        "test_law_7_what_is_not_acknowledged_is_bounded": "what stood while nobody read is gone: a test of its own below",
        "test_law_8_an_undecodable_message_is_a_refusal": "an answer that cannot be read ends the session: test_session",
        "test_law_9_a_loss_that_is_known_is_a_gap": "what was there between two readings nobody knows",
    }

    @pytest.fixture
    async def rig(self) -> AsyncIterator[PolledRig]:
        rig = PolledRig()
        await rig.server.start()
        yield rig
        await rig.stop()
        await asyncio.sleep(0)


@given(
    interval=st.sampled_from([0.01, 0.25, 1.0, 7.5]),
    lasted=st.lists(st.floats(0.0, 40.0), min_size=1, max_size=30),
    begun=st.floats(0.0, 1e6),
)
def test_moments_stand_on_a_grid_whatever_a_round_takes(
    interval: float, lasted: list[float], begun: float
) -> None:
    grid, now, wanted = Grid(), begun, (interval, False)
    visited = []
    for took in lasted:
        assert grid.due([wanted], now) == [wanted]
        visited.append(round((now - begun) / interval))
        assert now == pytest.approx(begun + visited[-1] * interval, abs=1e-6)
        now += took
        grid.done([wanted], now)
        left = grid.pause([wanted], now)
        assert 0.0 <= left <= min(1.0, interval) + 1e-6
        now = max(now, grid._next[wanted])
    last = round((grid._next[wanted] - begun) / interval)
    assert len(visited) + grid.missed == last, "a moment is visited or counted as left out"


def test_two_intervals_have_their_own_grids() -> None:
    grid, fast, slow = Grid(), (0.5, False), (2.0, False)
    assert grid.due([fast, slow], 100.0) == [fast, slow]
    grid.done([fast, slow], 100.1)
    assert grid.pause([fast, slow], 100.1) == pytest.approx(0.4)
    assert grid.due([fast, slow], 100.5) == [fast]


def test_the_time_of_a_reading() -> None:
    """The encodings are the test's own (OPC 10000-6, 5.2.2.17)."""
    at, read = enc.ticks(START), enc.ticks(START + 10**9)
    whole = DataValue(Scalar(11, 1.5), 0x40000000, at, server=read).encode()
    assert without_server_time(whole) == DataValue(Scalar(11, 1.5), 0x40000000, at).encode()
    assert as_of_now(whole) == DataValue(Scalar(11, 1.5), 0x40000000, read, server=read).encode()
    assert timeless(whole) == DataValue(Scalar(11, 1.5), 0x40000000).encode()
    fine = DataValue(Scalar(11, 1.5), None, at, source_pico=7, server=read, server_pico=9).encode()
    assert without_server_time(fine) == DataValue(Scalar(11, 1.5), None, at, source_pico=7).encode()
    assert as_of_now(fine) == DataValue(Scalar(11, 1.5), None, read, server=read).encode()


def test_wishes_that_cannot_be() -> None:
    with pytest.raises(ValidationError, match="10 ms at least"):
        OpcUaSignal.model_validate({"name": "a", "node": "i=1", "mode": "poll", "every": "0s"})
    with pytest.raises(ValidationError, match="array: elements"):
        OpcUaSignal.model_validate({"name": "a", "node": "i=1", "array": "elements", "heartbeat": "5s"})


async def test_a_server_without_subscriptions_is_read_in_batches(bed: Bed) -> None:
    """Not one service beyond Read is needed; the gap of a lost connection is told; signals that stay the same are stored once."""
    services = [
        "CreateSubscription",
        "CreateMonitoredItems",
        "Publish",
        "Republish",
        "TransferSubscriptions",
        "Browse",
        "Call",
    ]
    bed.server.scripts.append(Unsupported(services))
    bed.server.scripts.append(sizes := Sizes())
    bed.server.space.limits[11705] = 7
    names = bed.variables(20)
    for signal in bed.signals:
        signal |= {"mode": "poll", "every": "20ms"}
    async with bed.line() as line:
        await line.until(lambda: len(line.rows) == 20, "the first values")
        bed.emit("v3")
        await line.until(lambda: line.values("v3")[-1:] == [1.0], "a value")
        assert 2 < sizes.most <= 7
        bed.server.cut()
        bed.emit("v4")
        bed.emit("v4")
        await line.until(lambda: line.values("v4")[-1:] == [3.0], "present values of the next session")
        await line.stop()
        assert {gap.reason for gap in line.gaps} == {"connection_lost"}
        assert (await line.verdict()).clean
        assert len(line.rows) == 22
    assert names
    assert bed.server.record.count("CreateSubscription") == 0


async def test_no_more_is_read_than_may_be_unacknowledged(bed: Bed) -> None:
    bed.settings["unacknowledged"] = 10
    bed.variable("a", Variable(value=value(0)), mode="poll", every="10ms")
    taken = await bed.begin(Registry(), acking=False)

    def moved() -> bool:
        bed.emit("a")
        return len(taken.values()) == 10

    await eventually(moved, "as many as may be")
    for _ in range(20):  # as many moments pass
        bed.emit("a")
        await asyncio.sleep(0.01)
    assert len(taken.values()) == 10
    await taken.settle()
    await eventually(lambda: len(taken.values()) > 10, "acknowledging makes room")


async def test_polled_and_monitored_side_by_side(bed: Bed) -> None:
    """A polled value is no measure of how far the subscription has come: the checkpoint stays with the latter."""
    bed.variable("a", Variable(value=value(0)))
    bed.variable("b", Variable(value=value(0)), mode="poll", every="10ms")
    taken = await bed.begin(Registry())
    await eventually(lambda: taken.values("a") == taken.values("b") == [0.0], "both")
    bed.server.emit("b", value(5, 10**9))
    await eventually(lambda: taken.values("b") == [0.0, 5.0], "the polled one")
    stored = Checkpoint.from_bytes(taken.checkpoint)
    assert stored is not None
    assert stored.newest == START
    assert [item.node for item in bed.server.subscriptions[0].items.values()] == ["a"]
    bed.server.cut()
    await eventually(taken.task.done, "the session ends")
    again = await bed.begin(Registry(), taken.checkpoint)
    bed.emit("a")
    await eventually(lambda: again.values("a") == [1.0] and again.values("b") == [5.0], "and again")
    assert again.gaps == []


async def test_a_busy_server_is_left_in_peace_for_longer_and_longer(still: Bed, clock: FakeClock) -> None:
    still.variable("a", Variable(value=value(0)), mode="poll", every="1s")
    taken = await still.begin(Registry())
    await passing(clock, lambda: taken.values() == [0.0], 2.0)
    assert taken.session is not None
    still.server.scripts.append(refusing := Refuse("Read", code=TOO_BUSY))
    before = refusing.seen
    await let(clock, 12.0)
    assert 3 <= refusing.seen - before <= 5, "after 1, 2, 4, 8 s"
    assert "too busy" in taken.session.facts["polling"]
    still.server.scripts.remove(refusing)
    still.emit("a")
    await passing(clock, lambda: taken.values() == [0.0, 1.0], 10.0)
    still.emit("a")
    await passing(clock, lambda: taken.values() == [0.0, 1.0, 2.0], 2.1)
    assert "busy" not in taken.session.facts["polling"]
    assert still.server.record.opened == 1


async def test_slow_answers_do_not_pile_up_and_what_is_left_out_is_told(still: Bed, clock: FakeClock) -> None:
    still.variable("a", Variable(value=value(0)), mode="poll", every="1s")
    taken = await still.begin(Registry())
    await passing(clock, lambda: taken.values() == [0.0], 2.0)
    still.server.scripts.append(slow := Slow("Read", seconds=3.5))
    asked = still.server.record.count("Read")
    await let(clock, 16.0)
    assert 3 <= still.server.record.count("Read") - asked <= 7, "one at a time, and the session's own look"
    assert taken.session is not None
    assert "moments left out" in taken.session.facts["polling"]
    still.server.scripts.remove(slow)


async def test_silence_ends_the_session(still: Bed, clock: FakeClock) -> None:
    still.variable("a", Variable(value=value(0)))
    still.signals[0] |= {"mode": "poll", "every": "1s"}
    taken = await still.begin(Registry())
    await passing(clock, lambda: taken.values() == [0.0], 2.0)
    still.server.scripts.append(Mute())
    for asked in range(still.server.record.count("Read"), still.server.record.count("Read") + 3):
        await passing(clock, lambda n=asked: still.server.record.count("Read") > n, 2.0)  # type: ignore[misc]
        assert not taken.task.done(), "one answer may get lost, and another one"
        leap(REQUEST_TIMEOUT)
    await eventually(taken.task.done, "the session ends")
    assert isinstance(taken.error, NotConnected)


async def test_a_node_that_vanishes_is_told_and_found_again(bed: Bed) -> None:
    bed.clock = Hurried(8)
    bed.variable("a", here := Variable(value=value(0)), mode="poll", every="10ms")
    async with bed.line() as line:
        await line.until(lambda: line.values("a") == [0.0], "the first value")
        here.known = False
        await line.until(lambda: bool(line.rows[-1].flags & Flag.NO_VALUE), "told as unknown")
        assert line.rows[-1].quality == 0x80340000
        here.known = True
        bed.emit("a")
        await line.until(lambda: line.values("a") == [0.0, 1.0], "back")
        await line.stop()
        assert len(line.rows) == 3
        assert (await line.verdict()).clean


async def test_an_old_value_is_read_again_and_flagged(still: Bed, clock: FakeClock) -> None:
    """Between one and one and a quarter intervals after the value, and so on; not where values come; never a new value."""
    still.variable("a", Variable(value=value(0)), heartbeat="10s")
    still.variable("b", Variable(value=value(0)), heartbeat="10s")
    taken = await still.begin(Registry())
    await passing(clock, lambda: taken.values("b") == [0.0], 2.0)
    began = clock.now()
    for _ in range(8):
        await let(clock, 5.0, 0.5)
        still.emit("b")
        still.server.flush()
    await passing(clock, lambda: len(taken.values("b")) == 9, 2.0)
    beats = [row for row in taken.rows if row.flags & Flag.HEARTBEAT]
    assert {row.signal for row in beats} == {"a"}
    assert {row.value for row in beats} == {0.0}
    times = [began, *(row.at for row in beats)]
    assert len(beats) == 3
    assert all(10.0 <= (later - earlier) / 1e9 <= 13.5 for earlier, later in pairwise(times))
    stored = Checkpoint.from_bytes(taken.checkpoint)
    assert stored is not None
    assert stored.newest == max(row.at for row in taken.rows if row.signal == "b")


async def test_a_heartbeat_bears_the_servers_time_and_finds_what_is_gone(
    still: Bed, clock: FakeClock
) -> None:
    here = Variable(
        value=DataValue(Scalar(11, 1.0), None, enc.ticks(START), server=enc.ticks(START + 10**12))
    )
    still.variable("a", here, heartbeat="4s")
    still.server.policy.stamp = START + 10**12 + 500_000_000
    taken = await still.begin(Registry())
    await passing(clock, lambda: taken.values("a") == [1.0], 2.0)
    await passing(clock, lambda: len(taken.rows) == 2, 7.0)
    assert taken.rows[1] == ("a", START + 10**12, 1.0, 0, int(Flag.HEARTBEAT))
    here.known = False
    await passing(clock, lambda: bool(taken.rows[-1].flags & Flag.NO_VALUE), 10.0)
    assert taken.rows[-1].quality == 0x80340000
    here.known = True
    here.value = DataValue(Null(), 0x808C0000, enc.ticks(START + 500))
    await passing(clock, lambda: taken.rows[-1].quality == 0x808C0000, 10.0)
    assert len(still.server.subscriptions[0].items) == 1


@pytest.mark.parametrize("resumed", [False, True])
async def test_a_heartbeat_is_younger_than_the_loss_where_the_server_says_when_a_value_was_written(
    still: Bed, clock: FakeClock, *, resumed: bool
) -> None:
    """A Read of such a server bears the same times again and again: the beat bears ours. Also where a subscription that is
    taken up sends nothing, because nothing has changed.
    """
    written = enc.ticks(START + 10**6)
    here = Variable(value=DataValue(Scalar(11, 1.0), None, enc.ticks(START), server=written))
    still.variable("a", here, heartbeat="4s")
    registry = Registry()
    taken = await still.begin(registry)
    await passing(clock, lambda: taken.values("a") == [1.0] and taken.checkpoint is not None, 2.0)
    if resumed:
        taken.task.cancel()
        await asyncio.gather(taken.task, return_exceptions=True)
        taken = await still.begin(registry, taken.checkpoint)
        assert taken.session is not None
        assert taken.session.facts["session"] == "session continued"
    began, known = clock.now(), len(taken.rows)
    await passing(clock, lambda: len(taken.rows) == known + 2, 12.0)
    for row in taken.rows[known:]:
        assert (row.signal, row.value) == ("a", 1.0)
        assert row.flags == Flag.HEARTBEAT | Flag.TIME_SUBSTITUTED
        assert row.at >= began
    assert taken.gaps == []
