"""The fault list's InfluxDB rows over the real way out: journal on disk, outflow, supervisor; scripted server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.base import Sink
from adapters.errors import Misconfigured, NotConnected, Rejected
from collector.health import State
from pipelines.batch import Batch, Kind, Point, batch_of
from pipelines.registry import Registry
from tests.contracts.rig import eventually
from tests.contracts.sink import START, contents, difference, write_once
from tests.fakes import FakeClock
from tests.influxdb.fake import Answer, Fake, fake, refusal
from tests.influxdb.lines import Read
from tests.influxdb.outflow import Line, line
from tests.influxdb.rigs import FakeV2Rig, bench, some_numbers


@pytest.fixture
async def rig() -> AsyncIterator[FakeV2Rig]:
    rig = await FakeV2Rig().start()
    yield rig
    await rig.stop()


def sink_of(rig: FakeV2Rig, running: Line, **changes: Any) -> Sink:
    rig.registry = running.journal.registry
    return rig.settings(**{"name": "influx", **changes}).build(bench(rig.registry))


def rows(registry: Registry, first: int, n: int, machine: str = "mill-9") -> list[Batch]:
    """n numbers of one point, the values being their own numbers."""
    point = registry.intern(Point(machine, "load", Kind.NUMBER))
    numbers = range(first, first + n)
    return [
        batch_of(
            Kind.NUMBER, [point] * n, [START + i for i in numbers], [float(i) for i in numbers], received=1
        )
    ]


FAULTS = {
    "reset before the body": Answer(resets="before"),
    "reset during the body": Answer(resets="during"),
    "reset after the body, not stored": Answer(resets="after"),
    "reset after the body, stored": Answer(resets="after", stores=True),
    "closed without an answer": Answer(drops=True),
    "no answer": Answer(hangs=True),
    "half of a status line": Answer(drips=10.0),
    "stored and the answer lost": Answer(stores=True, drops=True),
    "500": refusal(500, "internal error"),
    "503": Answer(503, headers={"Retry-After": "0"}),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_every_fault_is_outlived(rig: FakeV2Rig, tmp_path: Path, fault: Answer) -> None:
    """I1: refused, timeout, reset before, during and after the body: the same bytes again, 0 missing, 0 twice."""
    async with line(tmp_path, ["influx"]) as running:
        sink = sink_of(rig, running, timeout="200ms", canary=False)
        batches = rows(running.journal.registry, 0, 300)
        await running.append(batches)
        rig.server.script.extend([fault, fault])
        running.start(sink)
        account = await running.drained("influx")
    assert (account.stored, account.quarantined) == (300, 0)
    assert difference(contents(rig.registry, batches), await rig.stored()) == []
    whole = {
        request.body for request in rig.server.writes if len(request.body) == len(rig.server.writes[-1].body)
    }
    assert len(whole) == 1, "what is written again is the same to the byte"


async def test_a_refused_connection_is_tried_for_ever(rig: FakeV2Rig, tmp_path: Path) -> None:
    """I1: nobody listens; attempts go on with growing pauses, and everything is stored when somebody does."""
    await rig.server.pause()
    pauses = FakeClock()
    async with line(tmp_path, ["influx"], pauses) as running:
        await running.append(rows(running.journal.registry, 0, 100))
        running.start(sink_of(rig, running))
        for _ in range(30):
            await eventually(lambda: pauses.sleeping == 1, "it waits before the next attempt")
            pauses.advance(30.0)
        assert running.health["influx"].attempts >= 29
        await rig.server.start()
        await running.drained_after("influx", pauses)
    assert len(await rig.stored()) == 100


async def test_a_lost_answer_makes_no_second_value(rig: FakeV2Rig, tmp_path: Path) -> None:
    """I2: stored, answer lost, five times over: the replay overwrites the same keys."""
    async with line(tmp_path, ["influx"]) as running:
        sink = sink_of(rig, running)
        for first in range(0, 500, 100):
            await running.append(rows(running.journal.registry, first, 100))
        rig.server.script.extend([Answer(stores=True, drops=True)] * 5)
        running.start(sink)
        account = await running.drained("influx")
    assert account.stored == 500
    assert sorted((await rig.stored()).values()) == [float(i) for i in range(500)]


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_held_until_somebody_changes_something(rig: FakeV2Rig, tmp_path: Path, status: int) -> None:
    """I5: 401, 403, 404: nothing dropped, nothing passed over, an alarm, and back within 60 s of the change."""
    pauses = FakeClock()
    answer = refusal(status, 'bucket "machines" not found' if status == 404 else "unauthorized access")
    rig.server.rule = lambda _lines, _body: answer
    async with line(tmp_path, ["influx"], pauses) as running:
        await running.append(rows(running.journal.registry, 0, 100))
        running.start(sink_of(rig, running))
        for _ in range(5):
            await eventually(lambda: pauses.sleeping == 1, "it waits")
            assert running.state("influx") is State.NEEDS_ATTENTION
            assert running.health["influx"].remedy
            pauses.advance(61.0)
        held = await running.account("influx")
        assert (held.cursor, held.stored, held.quarantined, held.pending) == (0, 0, 0, 100)
        await eventually(lambda: pauses.sleeping == 1, "it waits")
        rig.server.rule = lambda _lines, _body: None
        assert await running.drained_after("influx", pauses) <= 60
        assert (await running.account("influx")).stored == 100


async def test_a_token_that_changes_in_the_middle(rig: FakeV2Rig, tmp_path: Path) -> None:
    """I5: the token is withdrawn between two writes and given back: held in between, complete afterwards."""
    pauses = FakeClock()
    async with line(tmp_path, ["influx"], pauses) as running:
        sink = sink_of(rig, running)
        running.start(sink)
        await running.append(rows(running.journal.registry, 0, 50))
        await running.drained("influx")
        rig.server.token = "another"
        await running.append(rows(running.journal.registry, 50, 50))
        await eventually(lambda: running.state("influx") is State.NEEDS_ATTENTION, "attention")
        assert (await running.account("influx")).pending == 50
        rig.server.token = "secret-token"
        assert await running.drained_after("influx", pauses) <= 60
    assert len(await rig.stored()) == 100


async def test_413_drains_and_is_remembered(rig: FakeV2Rig, tmp_path: Path) -> None:
    """I6: a server that takes 10 KB: halved and remembered; a value larger than that is quarantined; the rest is stored."""
    rig.server.limit = 10_000
    async with line(tmp_path, ["influx"]) as running:
        sink = sink_of(rig, running)
        registry = running.journal.registry
        text = registry.intern(Point("mill-9", "log", Kind.TEXT))
        huge = batch_of(Kind.TEXT, [text, text], [START, START + 1], ["x" * 20_000, "short"], received=START)
        await running.append([*rows(registry, 0, 2000), huge])
        await running.append(rows(registry, 2000, 2000))
        running.start(sink)
        account = await running.drained("influx")
        (quarantined,) = await running.quarantined()
    assert (account.stored, account.quarantined) == (4001, 1)
    assert "limit" in quarantined.refusal.reason
    refused = [request for request in rig.server.writes if len(request.body) > 10_000]
    assert len(refused) < 20
    taken = [len(request.body) for request in rig.server.writes if len(request.body) <= 10_000]
    assert sorted(taken)[len(taken) // 2] > 2_000, "one large value does not make all later requests tiny"


async def test_retry_after_is_honoured_by_the_line(rig: FakeV2Rig, tmp_path: Path) -> None:
    """I7: 429 with Retry-After: 6 h waits 300 s, one with 40 s waits 40 s, and the value is written once."""
    pauses = FakeClock()
    later = [Answer(429, headers={"Retry-After": "21600"}), Answer(503, headers={"Retry-After": "40"})]
    rig.server.script.extend(later)
    async with line(tmp_path, ["influx"], pauses) as running:
        await running.append(rows(running.journal.registry, 0, 10))
        running.start(sink_of(rig, running, canary=False))
        for wait in (300.0, 40.0):
            await eventually(lambda: pauses.sleeping == 1, "it waits")
            before = len(rig.server.writes)
            pauses.advance(wait - 0.1)
            await asyncio.sleep(0)
            assert (pauses.sleeping, len(rig.server.writes)) == (1, before)
            pauses.advance(0.2)
        await running.drained("influx")
    assert len(rig.server.writes) == 3


async def test_a_captive_portal_stores_nothing(rig: FakeV2Rig, tmp_path: Path) -> None:
    """I8: 200 with HTML to everything: no success, nothing passed over; when the portal is gone all is written."""
    rig.server.portal = True
    pauses = FakeClock()
    async with line(tmp_path, ["influx"], pauses) as running:
        await running.append(rows(running.journal.registry, 0, 20))
        running.start(sink_of(rig, running))
        for _ in range(3):
            await eventually(lambda: pauses.sleeping == 1, "it waits")
            pauses.advance(60.0)
        assert (await running.account("influx")).cursor == 0
        rig.server.portal = False
        await running.drained_after("influx", pauses)
    assert len(await rig.stored()) == 20


async def test_tokens_stay_here(rig: FakeV2Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """I8: redirected to another host for a while: that host sees no request, and no log or state has the token."""
    pauses = FakeClock()
    async with fake() as other, line(tmp_path, ["influx"], pauses) as running:
        elsewhere = Answer(307, headers={"Location": f"{other.url}/api/v2/write?token=secret-token"})
        rig.server.script.extend([elsewhere] * 3)
        await running.append(rows(running.journal.registry, 0, 20))
        running.start(sink_of(rig, running))
        await running.drained_after("influx", pauses)
        assert other.requests == []
        assert "secret-token" not in caplog.text + str(running.health.all())
    assert len(await rig.stored()) == 20


async def test_a_slow_server_has_one_request_at_a_time(rig: FakeV2Rig, tmp_path: Path) -> None:
    """I9: every answer takes its time (60 s, here 50 ms): one request at once, bounded by the limit, in order, complete."""
    rig.server.rule = lambda _lines, _body: Answer(204, stores=True, delay=0.05)
    async with line(tmp_path, ["influx"]) as running:
        sink = sink_of(rig, running, batch_lines=500, canary=False)
        for first in range(0, 5000, 250):
            await running.append(rows(running.journal.registry, first, 250))
        running.start(sink)
        account = await running.drained("influx")
    assert (account.stored, rig.server.most_at_once) == (5000, 1)
    assert max(request.body.count(b"\n") + 1 for request in rig.server.writes) <= 500
    times = [int(text.split()[-1]) for request in rig.server.writes for text in _values(request.body)]
    assert times == sorted(times)


def _values(body: bytes) -> Iterator[bytes]:
    return (text for text in body.split(b"\n") if text.startswith(b"machine"))


@pytest.mark.parametrize(
    "answer",
    [Answer(204, drips=0.02), Answer(200, b"x" * 500, drips=0.02), Answer(500, endless=True)],
    ids=["head drips", "body drips", "endless"],
)
async def test_an_answer_cannot_take_for_ever(rig: FakeV2Rig, answer: Answer) -> None:
    """I9: a byte now and then, or bytes without end, hold a write no longer than its time-out, and no memory."""
    drip = Answer(
        answer.status, answer.body, {"X-Long": "y" * 9000}, drips=answer.drips, endless=answer.endless
    )
    rig.server.script.append(drip)
    sink = rig.settings(timeout="300ms").build(bench(rig.registry))
    began = time.monotonic()
    with pytest.raises(NotConnected):
        await write_once(sink, some_numbers(rig.registry, 3))
    assert time.monotonic() - began < 90.0  # its bytes would drip for twice as long


async def test_older_than_the_bucket_keeps(rig: FakeV2Rig, tmp_path: Path) -> None:
    """I11: 422 for points outside the retention: quarantined as such, counted, the rest stored, few requests."""
    bound = START + 700

    def rule(lines: list[Read], _body: bytes) -> Answer | None:
        old = sum(read.measurement == "machine" and read.at < bound for read in lines)
        words = f"failure writing points to database: partial write: dropped {old} points outside retention policy"
        return refusal(422, f"{words} of duration 168h0m0s") if old else None

    rig.server.rule = rule
    async with line(tmp_path, ["influx"]) as running:
        sink = sink_of(rig, running)
        await running.append(rows(running.journal.registry, 0, 1000))
        running.start(sink)
        account = await running.drained("influx")
        quarantined = await running.quarantined()
    assert (account.stored, account.quarantined) == (300, 700)
    assert all("retention" in entry.refusal.reason for entry in quarantined)
    assert len(rig.server.writes) < 40


async def test_the_other_sink_notices_nothing(rig: FakeV2Rig, tmp_path: Path) -> None:
    """I14: two sinks, one down: the other gets every write all the while, and the first catches up by itself."""
    down = Fake()
    await down.start()
    await down.pause()
    async with line(tmp_path, ["influx", "second"]) as running:
        up = sink_of(rig, running)
        running.start(up)
        running.start(rig.settings(name="second", url=down.url).build(bench(rig.registry)))
        for first in range(0, 1000, 50):
            await running.append(rows(running.journal.registry, first, 50))
            await running.drained("influx")
        assert (await running.account("second")).pending == 1000
        await down.start()
        assert (await running.drained("second")).stored == 1000
    await down.stop()
    assert down.points.keys() >= {key for key in rig.server.points if key[0] == "machine"}


async def test_everything_refused_is_not_the_fault_of_the_values(rig: FakeV2Rig, tmp_path: Path) -> None:
    """I3: a proxy that refuses every request in InfluxDB's own form fills no quarantine: the values are kept."""
    rig.server.rule = lambda _lines, _body: refusal(400, "invalid precision")
    pauses = FakeClock()
    async with line(tmp_path, ["influx"], pauses) as running:
        for first in range(0, 3000, 1000):
            await running.append(rows(running.journal.registry, first, 1000))
        running.start(sink_of(rig, running))
        for _ in range(3):
            await eventually(lambda: pauses.sleeping == 1, "it waits")
            assert running.state("influx") is State.NEEDS_ATTENTION
            assert "invalid precision" in running.health["influx"].error
            pauses.advance(60.0)
        await eventually(lambda: pauses.sleeping == 1, "it waits")
        assert not await running.quarantined()
        assert (await running.account("influx")).pending == 3000
        rig.server.rule = lambda _lines, _body: None
        await running.drained_after("influx", pauses)
        assert (await running.account("influx")).stored == 3000


async def test_small_writes_do_not_drain_into_quarantine_either(rig: FakeV2Rig) -> None:
    """I3: the limit of the rule: at most 99 values go to quarantine before a refusing server is seen through."""
    rig.server.rule = lambda _lines, _body: refusal(400, "no")
    sink = rig.settings(canary=False).build(bench(rig.registry))
    quarantined = 0
    for _ in range(40):
        try:
            await write_once(sink, some_numbers(rig.registry, 3, f"mill-{quarantined}"))
        except Misconfigured:
            break
        except Rejected as rejection:
            quarantined += sum(refused.values for refused in rejection.refused)
    else:
        pytest.fail("never seen through")
    assert 0 < quarantined < 100
    assert len(rig.server.writes) < 600
    with pytest.raises(Misconfigured, match="refuses everything"):
        await write_once(sink, some_numbers(rig.registry, 3))
    rig.server.rule = lambda _lines, _body: None
    await write_once(sink, some_numbers(rig.registry, 3))


async def test_many_bad_values_in_a_row_are_refused_all_the_same(rig: FakeV2Rig) -> None:
    """I3: 300 bad values at the front of a write of 1,000: the server is right, and the good ones are stored."""

    def rule(lines: list[Read], _body: bytes) -> Answer | None:
        bad = any(read.measurement == "machine" and read.at < START + 300 for read in lines)
        return refusal(400, "unable to parse points") if bad else None

    rig.server.rule = rule
    with pytest.raises(Rejected) as caught:
        await write_once(rig.sink(), some_numbers(rig.registry, 1000))
    assert sum(refused.values for refused in caught.value.refused) == 300
    assert len(await rig.stored()) == 700
    assert len(rig.server.writes) <= 2 * 300 * 10
