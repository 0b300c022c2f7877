"""Faults: what they do to a value, that they are idempotent, that they end, and that the truth tells all of it."""

import asyncio
import math
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from asyncua.client.client import Client
from asyncua.ua.uaerrors import UaStatusCodeError

from simulators.agenda import Agenda
from simulators.clock import DrivenClock
from simulators.errors import SimulatorError
from simulators.faces.mqtt import MqttFace
from simulators.faces.opcua_server import Served
from simulators.faults.catalogue import SENSOR
from simulators.faults.sensors import Disturbance
from simulators.faults.wish import Wish
from simulators.machines import kind
from simulators.model import Model
from simulators.workshop import Plan, Workshop, open_workshop
from tests.simulators.runs import START, rows

SIGNAL = "spindle_speed"
Step = Callable[[], Any]


def stepping(fault: str, amount: float | None = None, signal: str = SIGNAL) -> tuple[Model, Model, Step]:
    """A well machine and its twin with a disturbed sensor, ten seconds old, and what steps both."""
    well, ill = kind("cnc")("c", 7), kind("cnc")("c", 7)
    at = START
    for model in (well, ill):
        model.begin(at)
    for number in range(1, 101):
        for model in (well, ill):
            model.step(at + number * 10**8, 0.1)
    ill.sensors.active[signal, fault] = Disturbance(fault, amount)
    count = iter(range(101, 100_000))

    def step() -> Any:
        now = at + next(count) * 10**8
        well.step(now, 0.1)
        return ill.step(now, 0.1)[0]

    return well, ill, step


def read(model: Model, signal: str = SIGNAL) -> Any:
    return model.values[signal]


@pytest.mark.parametrize("fault", sorted(SENSOR))
def test_a_sensor_fault_leaves_the_physics_alone(fault: str) -> None:
    well, ill, step = stepping(fault)
    for _ in range(100):
        step()
        assert {n: v for n, v in ill.values.items() if n != SIGNAL} == {
            n: v for n, v in well.values.items() if n != SIGNAL
        }
        assert ill.readings[SIGNAL].true == read(well)
    ill.sensors.active.clear()
    step()
    assert ill.values == well.values
    assert ill.unlike(SIGNAL) == {}


def test_stuck_repeats_and_dropout_is_silent() -> None:
    for fault in ("stuck", "dropout"):
        _, ill, step = stepping(fault)
        before = read(ill)
        changes = [step() for _ in range(80)]
        assert not any(SIGNAL in changed for changed in changes)
        assert read(ill) == before
        assert ill.silent(SIGNAL) == (fault == "dropout")
        ill.sensors.active.clear()
        assert SIGNAL in step() or fault == "stuck"


@pytest.mark.parametrize(
    ("fault", "amount", "off"), [("bias", 50.0, 50.0), ("bias", None, 1250.0), ("spike", 300.0, 300.0)]
)
def test_bias_and_spike(fault: str, amount: float | None, off: float) -> None:
    well, ill, step = stepping(fault, amount)
    step()
    assert read(ill) - read(well) == pytest.approx(off, abs=0.11)


def test_drift_grows_by_the_minute() -> None:
    well, ill, step = stepping("drift", 60.0)
    for _ in range(600):
        step()
    assert read(ill) - read(well) == pytest.approx(60.0, abs=0.2)


def test_noise_has_its_deviation() -> None:
    well, ill, step = stepping("noise", 20.0)
    off = []
    for _ in range(400):
        step()
        off.append(read(ill) - read(well))
    assert math.sqrt(sum(each * each for each in off) / len(off)) == pytest.approx(20.0, rel=0.2)


def test_saturation_unit_and_nan() -> None:
    _, ill, step = stepping("saturation")
    step()
    assert read(ill) == 12_500.0
    well, ill, step = stepping("unit", None, "x_position")
    step()
    assert read(ill, "x_position") == pytest.approx(read(well, "x_position") / 25.4, abs=0.001)
    _, ill, step = stepping("nan")
    assert SIGNAL in step()
    assert math.isnan(read(ill))
    assert SIGNAL not in step(), "NaN is no news when it was NaN"
    assert ill.unlike(SIGNAL)["special"] == "nan"


def test_after_a_dropout_the_value_that_was_known_is_no_news() -> None:
    """A server tells of a change of value or status; the same value with a newer time never leaves it."""
    _, ill, step = stepping("dropout", None, "program")
    assert "program" not in step()
    ill.sensors.active.clear()
    assert "program" not in step()


def test_quality_is_news_even_if_the_value_is_not() -> None:
    _, ill, step = stepping("bad", None, "program")
    assert "program" in step()
    assert (ill.quality_of("program"), ill.unlike("program")["quality"]) == ("bad", "bad")
    assert "program" not in step()
    ill.sensors.active.clear()
    assert "program" in step()


# -- the engine


@asynccontextmanager
async def driven(
    folder: Path, machines: tuple[tuple[str, str], ...], **more: Any
) -> AsyncIterator[tuple[Workshop, DrivenClock]]:
    """A workshop whose time the test lets pass."""
    plan = Plan(
        machines=machines, seed=5, truth=folder / "truth", config=folder / "config", start_ns=START, **more
    )
    clock, stop = DrivenClock(), asyncio.Event()
    async with open_workshop(plan) as workshop, asyncio.TaskGroup() as group:
        group.create_task(workshop.drive(clock, stop, origin_ns=START))
        yield workshop, clock
        stop.set()


def noted(folder: Path) -> list[tuple[float, str, str]]:
    return [((row["t"] - START) / 1e9, row["event"], row["fault"]) for row in rows(folder / "truth", "fault")]


async def test_a_fault_begins_once_ends_once_and_is_told(tmp_path: Path) -> None:
    async with driven(tmp_path, (("cnc", "c"),), faces={"c": "jsonl"}) as (workshop, clock):
        engine, wish = workshop.engine, Wish("c", "tool_break")
        await clock.advance(10)
        assert await engine.start(wish)
        assert not await engine.start(wish), "it is on already"
        assert workshop.units[0].model.failing("tool_break") == 1.0
        await clock.advance(5)
        assert await engine.stop(wish)
        assert not await engine.stop(wish)
        assert await engine.start(Wish("c", "stuck", "spindle_load", seconds=2.0))
        await clock.advance(10)
        assert engine.active() == ()
        assert await engine.start(Wish("c", "chatter", amount=2.0))
        assert await engine.start(Wish("c", "bias", "x_position"))
        assert await engine.reset() == 2
    assert noted(tmp_path) == [
        (10.0, "start", "tool_break"), (15.0, "stop", "tool_break"), (15.0, "start", "stuck"), (17.0, "stop", "stuck"),
        (25.0, "start", "chatter"), (25.0, "start", "bias"), (25.0, "stop", "chatter"), (25.0, "stop", "bias"),
    ]  # fmt: skip


async def test_a_longer_wish_replaces_and_the_old_end_does_not_end_it(tmp_path: Path) -> None:
    async with driven(tmp_path, (("legacy", "l"),), faces={"l": "jsonl"}) as (workshop, clock):
        await workshop.engine.start(Wish("l", "jam", seconds=5.0))
        await clock.advance(3)
        await workshop.engine.start(Wish("l", "jam", seconds=20.0))
        await clock.advance(10)
        assert workshop.units[0].model.failing("jam")
        await clock.advance(12)
        assert not workshop.units[0].model.failing("jam")


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (Wish("x", "jam"), "no machine 'x'"),
        (Wish("l", "melt_down"), "has no fault 'melt_down'"),
        (Wish("l", "stuck", "speed"), "no signal 'speed'"),
        (Wish("l", "nan", "pulses"), "cannot be NaN"),
        (Wish("l", "bias", "light_red"), "is no number"),
        (Wish("l", "jam", "pulses"), "leave out the signal"),
        (Wish("l", "cut"), "start with --faults"),
        (Wish("l", "reindex"), "cannot play 'reindex'"),
        (Wish("l", "clock_jump", amount=1e15), "beyond ±1e"),
        (Wish("l", "bias", "pulses", amount=-1e39), "beyond ±1e"),
        (Wish("l", "jam", amount=math.inf), "beyond ±1e"),
        (Wish("l", "jam", amount=math.nan), "beyond ±1e"),
        (Wish("l", "jam", seconds=math.inf), "cannot last inf s"),
        (Wish("l", "jam", seconds=-5.0), "cannot last -5 s"),
    ],
)
async def test_what_cannot_be_is_refused_in_words(wish: Wish, words: str, tmp_path: Path) -> None:
    async with driven(tmp_path, (("legacy", "l"),), faces={"l": "jsonl"}) as (workshop, _):
        with pytest.raises(SimulatorError, match=words):
            await workshop.engine.start(wish)
        assert list(rows(tmp_path / "truth", "fault")) == []


async def test_the_truth_has_what_was_sent_and_what_was_true(tmp_path: Path) -> None:
    async with driven(tmp_path, (("cnc", "c"),), faces={"c": "jsonl"}) as (workshop, clock):
        await clock.advance(5)
        await workshop.engine.start(Wish("c", "bias", "spindle_power", amount=2.0))
        await clock.advance(5)
    told = [r for r in rows(tmp_path / "truth") if r["signal"] == "spindle_power"]
    wrong = [r for r in told if "true" in r]
    assert len(wrong) > 10
    assert all(r["value"] - r["true"] == pytest.approx(2.0) for r in wrong)
    assert {r["t"] > START + 5 * 10**9 for r in wrong} == {True}


async def test_a_wrong_clock_is_told(tmp_path: Path) -> None:
    async with driven(tmp_path, (("legacy", "l"),), faces={"l": "jsonl"}) as (workshop, clock):
        await workshop.engine.start(Wish("l", "clock_jump", amount=-60.0))
        await clock.advance(30)
    late = [r for r in rows(tmp_path / "truth") if "clock_error_ns" in r]
    assert late
    assert all(r["clock_error_ns"] == -60 * 10**9 and r["t"] < START for r in late if r["t"] < START)


# -- the way


async def test_opcua_restart_reindex_and_removed_nodes(tmp_path: Path) -> None:
    async with driven(tmp_path, (("legacy", "l"),), faces={"l": "opcua"}) as (workshop, clock):
        url, engine = workshop.endpoints["l"], workshop.engine
        await clock.advance(1)
        assert await _index(url) == 2
        await engine.start(Wish("l", "restart", seconds=5.0))
        with pytest.raises(OSError):
            await _index(url)
        await clock.advance(6)
        assert await _index(url) == 2
        await engine.start(Wish("l", "reindex"))
        assert await _index(url) == 3
        await engine.reset()
        await engine.start(Wish("l", "nodes_removed"))
        with pytest.raises(UaStatusCodeError):
            await _read(url, "light_red")
        assert await _read(url, "light_yellow") in (True, False)
        await engine.reset()
        assert await _read(url, "light_red") == workshop.units[0].model.values["light_red"]


async def test_what_is_asked_between_two_steps_is_told_after_the_last(tmp_path: Path) -> None:
    """And with the clock that the machine has: nobody could have been told earlier than what was said before."""
    async with driven(tmp_path, (("legacy", "l"),), faces={"l": "opcua"}) as (workshop, clock):
        await clock.advance(1)
        await workshop.engine.start(Wish("l", "restart"))
        await workshop.engine.start(Wish("l", "clock_jump", amount=60.0))
        await workshop.engine.start(Wish("l", "reindex"))
        await clock.advance(1)
    told = [(row["t"] - START) // 10**6 for row in rows(tmp_path / "truth")]
    assert told == sorted(told)
    assert {1001, 61_001} <= set(told)
    wrong = [row for row in rows(tmp_path / "truth") if row["t"] - START > 60 * 10**9]
    assert {row["clock_error_ns"] for row in wrong} == {60 * 10**9}


async def test_a_server_that_is_built_anew_is_not_stepped_under_its_hands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it is opened with is what the truth says, however long the opening takes."""
    async with driven(tmp_path, (("legacy", "l"),), faces={"l": "opcua"}) as (workshop, clock):
        opened, going = Served.open, asyncio.Event()

        async def slowly(served: Served, at_ns: int, *, fillers: int = 0) -> None:
            await opened(served, at_ns, fillers=fillers)
            going.set()
            for _ in range(50):
                await asyncio.sleep(0)

        monkeypatch.setattr(Served, "open", slowly)
        async with asyncio.TaskGroup() as group:
            group.create_task(workshop.engine.start(Wish("l", "restart")))
            await going.wait()
            before = dict(workshop.units[0].model.values)
            await clock.advance(30)
        returned = {
            row["signal"]: row["value"] for row in rows(tmp_path / "truth") if row["t"] == START + 10**6
        }
    assert returned == before
    assert before != workshop.units[0].model.values


async def test_two_who_ask_at_once_are_served_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault that takes a while to end, and two who want it otherwise meanwhile: begun and ended in turn, and told so."""
    switched: list[bool] = []
    quick = MqttFace.disturb

    async def slowly(face: MqttFace, fault: str, *, on: bool, at_ns: int) -> None:
        for _ in range(50):
            await asyncio.sleep(0)
        await quick(face, fault, on=on, at_ns=at_ns)
        switched.append(on)

    monkeypatch.setattr(MqttFace, "disturb", slowly)
    async with driven(tmp_path, (("legacy", "l"),)) as (workshop, clock):
        await clock.advance(1)
        engine = workshop.engine
        await engine.start(Wish("l", "restart", seconds=100.0))
        async with asyncio.TaskGroup() as group:
            for seconds in (200.0, 300.0):
                group.create_task(engine.start(Wish("l", "restart", seconds=seconds)))
        assert [wish.seconds for wish in engine.active()] == [300.0]
        await engine.reset()
    assert switched == [True, False] * 3
    assert [event for _, event, _ in noted(tmp_path)] == ["start", "stop"] * 3


async def _index(url: str) -> int:
    async with Client(url, timeout=90) as client:
        return int(await client.get_namespace_index("urn:shopfloor:sim:legacy"))


async def _read(url: str, name: str) -> Any:
    async with Client(url, timeout=90) as client:
        index = await client.get_namespace_index("urn:shopfloor:sim:legacy")
        return await client.get_node(f"ns={index};s={name}").read_value()


async def test_opcua_quality_is_a_status(tmp_path: Path) -> None:
    async with driven(tmp_path, (("legacy", "l"),), faces={"l": "opcua"}) as (workshop, clock):
        await workshop.engine.start(Wish("l", "uncertain", "pulses"))
        await clock.advance(1)
        async with Client(workshop.endpoints["l"], timeout=90) as client:
            index = await client.get_namespace_index("urn:shopfloor:sim:legacy")
            data = await client.get_node(f"ns={index};s=pulses").read_data_value(raise_on_bad_status=False)
            assert data.StatusCode is not None
            assert data.StatusCode.value == 0x40930000  # UncertainSensorNotAccurate


async def test_faults_on_the_way_need_and_have_a_door(tmp_path: Path) -> None:
    async with driven(tmp_path, (("legacy", "l"),), faulty=True) as (workshop, _):
        host, _, port = workshop.endpoints["mqtt"].removeprefix("mqtt://").partition(":")
        await workshop.engine.start(Wish("l", "refuse"))
        with pytest.raises(OSError), socket.create_connection((host, int(port)), 5):
            pass
        await workshop.engine.stop(Wish("l", "refuse"))
        reader, writer = await asyncio.open_connection(host, int(port))
        door = workshop.engine.doors["l"]
        async with asyncio.timeout(90):
            while not door.open_connections:
                await asyncio.sleep(0.01)
        await workshop.engine.start(Wish("l", "cut"))
        assert await reader.read() == b""
        writer.close()


async def test_mqtt_duplicates_and_changes_of_order(tmp_path: Path) -> None:
    async with driven(tmp_path, (("legacy", "l"),)) as (workshop, clock):
        publisher = workshop.publisher
        assert publisher is not None
        await clock.advance(1)
        await workshop.engine.start(Wish("l", "duplicate", seconds=10.0))
        await clock.advance(11)
        await workshop.engine.start(Wish("l", "reorder"))
        await clock.advance(20)
        await workshop.engine.stop(Wish("l", "reorder"))
        await publisher.idle.wait()
    told = [(r["t"] - START) / 1e9 for r in rows(tmp_path / "truth") if r["signal"] == "pulses"]
    twice = [t for t in told if 1 < t < 11]
    assert len(twice) == 2 * len(set(twice)) >= 4
    assert [t for t in told if t > 12.2] != sorted(t for t in told if t > 12.2)


async def test_what_is_due_first_is_done_first() -> None:
    done: list[str] = []
    agenda = Agenda()

    def deed(name: str) -> Any:
        async def do() -> None:
            done.append(name)

        return do

    agenda.after(20, deed("b"))
    agenda.after(10, deed("a"))
    agenda.after(20, deed("c"))
    agenda.start(1000)
    await agenda.reach(1015)
    assert done == ["a"]
    agenda.after(1, deed("d"))
    await agenda.reach(2000)
    assert done == ["a", "d", "b", "c"]
