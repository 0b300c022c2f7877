"""Silent loss is found: by lines of our own that are read back, on a clock that the test moves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.base import Bench, Losing, Write
from adapters.errors import NotConnected, Rejected
from adapters.influxdb.canary import EVERY, MOST, Unreadable, _column, _times
from pipelines.batch import Batch, Kind, Point, batch_of
from tests.contracts.rig import eventually
from tests.contracts.sink import START
from tests.fakes import FakeClock
from tests.influxdb.fake import Answer, refusal
from tests.influxdb.outflow import line
from tests.influxdb.peers import victoria_metrics
from tests.influxdb.rigs import FakeV2Rig, InfluxV1Rig, bench, some_numbers


@pytest.fixture
async def rig() -> AsyncIterator[FakeV2Rig]:
    rig = await FakeV2Rig().start()
    yield rig
    await rig.stop()


def watched(rig: FakeV2Rig, clock: FakeClock, **changes: Any) -> Any:
    return rig.settings(**changes).build(Bench(rig.registry, clock))


def row(rig: FakeV2Rig, number: int) -> list[Batch]:
    point = rig.registry.intern(Point("mill", "load", Kind.NUMBER))
    return [batch_of(Kind.NUMBER, [point], START + number, [float(number)], received=1)]


async def reading(clock: FakeClock) -> None:
    """Lets the time of one reading pass, and waits until it is over."""
    await eventually(lambda: clock.sleeping == 1, "the watch sleeps")
    clock.advance(EVERY)
    await eventually(lambda: clock.sleeping == 1, "the watch sleeps again")


def queries(rig: FakeV2Rig) -> list[Any]:
    return [request for request in rig.server.requests if request.path.endswith("query")]


@pytest.mark.parametrize("api", ["v2", "v1"])
async def test_one_write_in_a_thousand_is_missed(
    rig: FakeV2Rig, api: str, caplog: pytest.LogCaptureFixture
) -> None:
    """I13: 1 write in 1,000 is answered 204 and forgotten: said loudly within 2 minutes of it, and never before."""
    rig.server.swallows = lambda number: number % 1000 == 0
    clock = FakeClock()
    v1 = {"api": "v1", "database": "machines", "org": "", "bucket": "", "token": None}
    sink = watched(rig, clock, **(v1 if api == "v1" else {}))
    async with sink.session() as write:
        passed = 0.0
        for number in range(1, 2300):
            await write(row(rig, number))
            await eventually(lambda: clock.sleeping == 1, "no reading is under way: time stands still for it")
            clock.advance(0.1)
            await asyncio.sleep(0)
            passed += 0.1 * (rig.server.swallowed > 0)
            assert ("lost" in sink.facts) <= (rig.server.swallowed > 0), "no false alarm"
            if "lost" in sink.facts:
                break
    assert 0 < passed <= 120
    assert "1 of " in sink.facts["lost"]
    assert rig.server.url in sink.facts["lost"]
    assert [entry for entry in caplog.records if entry.levelno == logging.ERROR]
    assert rig.server.swallowed == 1


async def test_a_database_made_anew_is_noticed(rig: FakeV2Rig) -> None:
    """I12: a bucket that is deleted and made again, empty: what was confirmed before and not yet read back is missing."""
    clock = FakeClock()
    sink = watched(rig, clock)
    async with sink.session() as write:
        for number in range(10):
            await write(row(rig, number))
        clock.advance(11.0)
        rig.server.points.clear()
        for _ in range(3):
            await write(row(rig, 11))
            await reading(clock)
        assert "10 of " in sink.facts["lost"]
    assert "collector rewind influxdb" in sink.facts["lost"]
    assert isinstance(sink, Losing)
    (gap,) = sink.take_losses()
    assert (gap.reason, gap.begins < gap.ends) == ("sink_lost", True)
    assert "10 writes" in gap.detail
    assert sink.take_losses() == []


async def test_no_false_alarm(rig: FakeV2Rig, caplog: pytest.LogCaptureFixture) -> None:
    """I13: answers lost, writes refused, readings that fail or come late: no alarm without a loss."""
    clock = FakeClock()
    sink = watched(rig, clock)
    rig.server.rule = lambda lines, _: (
        refusal(400, "bad") if any(x.fields.get("load") == 5.0 for x in lines) else None
    )
    for number in range(8):
        if number == 2:
            rig.server.script.append(Answer(drops=True))
        async with sink.session() as write:
            await _try(write, row(rig, number))
            await reading(clock)
            await reading(clock)
    assert "lost" not in sink.facts
    assert not [entry for entry in caplog.records if entry.levelno >= logging.ERROR]


async def _try(write: Write, batches: list[Batch]) -> None:
    try:
        await write(batches)
    except (NotConnected, Rejected):
        return


async def test_where_reading_is_forbidden_nothing_is_written_for_it(
    rig: FakeV2Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """I13: a token that may only write: no canary, said once, and no word more however many sessions follow."""
    rig.server.readable = False
    clock = FakeClock()
    sink = watched(rig, clock)
    with caplog.at_level(logging.INFO, "collector"):
        for number in range(5):
            async with sink.session() as write:
                await write(row(rig, number))
                await reading(clock)
    assert sink.facts["canary"].startswith("off: what was written cannot be read back here")
    assert len([entry for entry in caplog.records if "canary" in entry.message]) == 1
    assert not any(measurement == "collector_canary" for measurement, _, _ in rig.server.points)
    rig.server.readable = True
    async with sink.session() as write:
        await write(row(rig, 9))
    assert sink.facts["canary"] == "every write is read back"


async def test_it_can_be_switched_off(rig: FakeV2Rig) -> None:
    """I13: canary: false writes nothing, reads nothing, waits for nothing."""
    clock = FakeClock()
    async with watched(rig, clock, canary=False).session() as write:
        await write(row(rig, 1))
        assert clock.sleeping == 0
    assert (queries(rig), {key[0] for key in rig.server.points}) == ([], {"machine", "quality"})


async def test_what_waits_is_bounded(rig: FakeV2Rig) -> None:
    """I9: when reading does not keep up, requests go without a canary."""
    sink: Any = watched(rig, FakeClock())
    canary = sink._canary
    canary.switch(on=True, why="test")
    for _ in range(MOST + 50):
        canary.confirmed(canary.line()[0])
    assert (len(canary._waiting), canary.line()) == (MOST, (0, b""))


async def test_a_canary_that_is_refused_is_not_in_the_way(rig: FakeV2Rig) -> None:
    """I4: somebody else's field `n` of another type: the canary goes, the values are stored."""
    words = 'partial write: field type conflict: input field "n" on measurement "collector_canary" is type integer, '
    rig.server.rule = lambda lines, _: (
        refusal(422, f"{words}already exists as type float dropped=1")
        if any(read.measurement == "collector_canary" for read in lines)
        else None
    )
    sink = watched(rig, FakeClock())
    async with sink.session() as write:
        await write(row(rig, 1))
        await write(row(rig, 2))
    assert sink.facts["canary"].startswith("off:")
    assert len(await rig.stored()) == 2


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"results": []},
        {"results": [{"series": [{"name": "databases", "columns": ["name"], "values": [["machines"]]}]}]},
        {"results": [{"error": "not authorized"}]},
        {"results": 7},
        {"results": [{"series": [{"columns": ["time", "n"], "values": [["x", 1]]}]}]},
    ],
)
def test_answers_that_are_not_influxdbs(answer: Any) -> None:
    """I13: whoever answers every question alike (VictoriaMetrics) does not count as readable."""
    with pytest.raises(Unreadable):
        _times(answer)


@pytest.mark.parametrize(
    "text", ["#datatype,string\r\n,error,reference\r\n,failed,897\r\n", "<html>hello</html>"]
)
def test_flux_answers_that_are_errors(text: str) -> None:
    """I13: Flux reports errors in the middle of a 200."""
    with pytest.raises(Unreadable):
        _column(text)
    assert _column("\r\n") == set()


@pytest.mark.server("influxd")
async def test_read_back_from_a_real_influxdb(tmp_path: Path) -> None:
    """I13: written to InfluxDB 1.x and read back; after a measurement is dropped behind its back it says so."""
    rig = await InfluxV1Rig(tmp_path).start()
    try:
        clock = FakeClock()
        sink: Any = rig.settings(name="line 'a', b").build(Bench(rig.registry, clock))
        async with sink.session() as write:
            for _ in range(5):
                await write(some_numbers(rig.registry, 3))
            clock.advance(11.0)
            (series,) = rig.query("SELECT count(n) FROM collector_canary")
            assert int(series["values"][0][1]) == 5
            await reading(clock)
            assert (sink._canary.settled(), "lost" in sink.facts) == ([], False)
            await write(some_numbers(rig.registry, 3))
            rig.query("DROP MEASUREMENT collector_canary")
            for _ in range(3):
                await reading(clock)
        assert "1 of 6" in sink.facts["lost"]
    finally:
        await rig.stop()


@pytest.mark.server("victoria-metrics")
async def test_victoria_metrics_cannot_be_read_back(tmp_path: Path) -> None:
    """I13: VictoriaMetrics takes lines and answers no query: no canary, and no false alarm."""
    server = victoria_metrics(tmp_path)
    await server.start()
    try:
        rig = FakeV2Rig()
        for changes in ({}, {"api": "v1", "database": "x", "org": "", "bucket": "", "token": None}):
            sink: Any = rig.settings(url=server.url, **changes).build(bench(rig.registry))
            async with sink.session() as write:
                await write(some_numbers(rig.registry, 3))
            assert sink.facts["canary"].startswith("off:")
    finally:
        await server.stop()


async def test_the_loss_is_in_the_status(rig: FakeV2Rig, tmp_path: Path) -> None:
    """I13: what the sink found stands in the health of the running collector, while it works and after a reconnect."""
    clock = FakeClock()
    async with line(tmp_path, ["influx"]) as running:
        rig.registry = running.journal.registry
        sink = watched(rig, clock, name="influx")
        running.start(sink)
        rig.server.swallows = lambda number: number == 1
        await running.append(row(rig, 1))
        await running.drained("influx")
        assert running.health["influx"].facts["canary"] == "every write is read back"
        clock.advance(11.0)
        for _ in range(2):
            await reading(clock)
        await eventually(lambda: "lost" in running.health["influx"].facts, "the loss is said")
        rig.server.script.append(Answer(drops=True))
        await running.append(row(rig, 2))
        await running.drained("influx")
        assert "lost" in running.health["influx"].facts
