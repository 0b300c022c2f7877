"""Faults that a face plays itself, over MQTT and Sparkplug; and the table of all of them in the README."""

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from simulators.faces.file import FileFace
from simulators.faces.mqtt import MqttFace
from simulators.faces.opcua import OpcUaFace
from simulators.faces.sparkplug import SparkplugFace
from simulators.faults.catalogue import COMMUNICATION
from simulators.faults.faces import OWN, plays, table
from simulators.faults.wish import Wish
from simulators.sparkplug import edge
from simulators.sparkplug.link import Link, open_link
from simulators.workshop import Workshop
from tests.simulators.runs import START, rows
from tests.simulators.sparkplug import reader
from tests.simulators.test_faces import _until as until
from tests.simulators.test_faces import heard, reader_rows
from tests.simulators.test_faults import driven

MACHINES = (("legacy", "l"), ("moulding", "m"))
ON_EDGE = {"l": "sparkplug", "m": "sparkplug"}
SECOND = 10**9
NODE = "nobody"  # of a mark, which is no word of the edge


def values(folder: Path, machine: str) -> list[tuple[int, str, Any]]:
    found = [row for row in rows(folder / "truth") if row["machine"] == machine]
    return [(row["t"] - START, row["signal"], row["value"]) for row in found]


async def test_a_machine_on_mqtt_is_away_and_says_everything_at_its_return(tmp_path: Path) -> None:
    async with driven(tmp_path, (("energy", "e"),)) as (workshop, clock):
        await clock.advance(3)
        await workshop.engine.start(Wish("e", "restart", seconds=5.0))
        await clock.advance(10)
        assert workshop.publisher is not None
        await workshop.publisher.idle.wait()
        names = {signal.name for signal in workshop.units[0].model.signals}
    told = values(tmp_path, "e")
    assert not [t for t, _, _ in told if 3 * SECOND < t < 8 * SECOND - 10**6]
    assert {name for t, name, _ in told if t == 8 * SECOND - 10**6} == names
    assert [t for t, _, _ in told] == sorted(t for t, _, _ in told)


async def test_an_edge_is_away_with_all_its_devices_and_is_born_again(tmp_path: Path) -> None:
    async with driven(tmp_path, MACHINES, faces=ON_EDGE) as (workshop, clock), heard(_url(workshop)) as said:
        await _born(workshop, said)
        await clock.advance(2)
        await workshop.engine.start(Wish("l", "restart"))
        await until(lambda: len(_kinds(_after_death(said, 1), "DBIRTH")) == 2)
        await clock.advance(1)
        for machine in ("l", "m"):
            await workshop.engine.start(Wish(machine, "restart"))
        await workshop.engine.start(Wish("l", "restart", seconds=100.0))
        await workshop.engine.start(Wish("m", "restart", seconds=4.0))
        await until(lambda: len(_kinds(said, "NDEATH")) == 4)  # behind all that was said before
        before = len(_kinds(said, "DDATA"))
        await clock.advance(10)
        assert len(_kinds(said, "DDATA")) == before, "one of them still holds it down"
        await workshop.engine.reset()
        await clock.advance(2)
        await workshop.drain()
        truth = [(m, n, t, v) for m in ON_EDGE for t, n, v in values(tmp_path, m)]
        await until(lambda: len(_kinds(said, "DDATA")) > before)
        await until(lambda: set(map(repr, _since(truth))) <= set(map(repr, reader_rows(said))))
    assert {reader.payload(content).seq for content in _kinds(said, "NBIRTH")} == {0}


async def test_nobody_steps_while_the_edge_connects_anew_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who finds the shared connection gone would make a second one, and the broker would throw out the first."""
    going = asyncio.Event()

    async def slowly(*given: Any) -> Link:
        made = await open_link(*given)
        going.set()
        for _ in range(50):
            await asyncio.sleep(0)
        return made

    twins, on_edge = (("legacy", "a"), ("legacy", "b")), {"a": "sparkplug", "b": "sparkplug"}
    async with driven(tmp_path, twins, faces=on_edge) as (workshop, clock):
        await clock.advance(1)
        monkeypatch.setattr(edge, "open_link", slowly)
        async with asyncio.TaskGroup() as group:
            group.create_task(workshop.engine.start(Wish("b", "missing_birth")))
            await going.wait()
            await clock.advance(2)
        faces = [unit.face for unit in workshop.units]
        assert all(isinstance(face, SparkplugFace) and face._edge.connections == 2 for face in faces)


async def test_messages_of_an_edge_are_doubled_and_change_places(tmp_path: Path) -> None:
    async with driven(tmp_path, MACHINES, faces=ON_EDGE) as (workshop, clock), heard(_url(workshop)) as said:
        await _born(workshop, said)
        first = len(said)
        await workshop.engine.start(Wish("m", "duplicate"))
        await workshop.engine.start(Wish("m", "reorder"))
        await clock.advance(3)
        await workshop.engine.reset()
        await clock.advance(1)
        await workshop.drain()
        truth = [(m, n, t, v) for m in ON_EDGE for t, n, v in values(tmp_path, m)]
        await until(lambda: set(map(repr, _since(truth))) <= set(map(repr, reader_rows(said))))
    numbers = [reader.payload(content).seq or 0 for _, content in said[first:]]
    assert len(numbers) > len(set(numbers)) + 10, "twice"
    assert any((after - before) % 256 == 255 for before, after in pairwise(numbers)), "swapped"
    assert set(numbers) == {number % 256 for number in range(min(numbers), max(numbers) + 1)}, (
        "none is missing"
    )


async def _born(workshop: Workshop, said: list[tuple[str, bytes]]) -> None:
    """The listener has heard births of both devices, and nothing is under way any more."""
    edge = workshop.units[0].face._edge  # type: ignore[attr-defined]
    await until(lambda: edge.born)
    edge.birth()  # for the listener, who may have come too late
    edge.link.publish(f"spBv1.0/{NODE}/MARK/births", b"")
    await until(lambda: len(_kinds(said, "MARK")) == 1)
    assert len(_kinds(said, "DBIRTH")) >= 2
    await workshop.units[0].face.drain(5)


def _after_death(said: list[tuple[str, bytes]], number: int) -> list[tuple[str, bytes]]:
    deaths = [at for at, (topic, _) in enumerate(list(said)) if topic.split("/")[2] == "NDEATH"]
    return said[deaths[number - 1] :] if len(deaths) >= number else []


def _url(workshop: Workshop) -> str:
    return workshop.endpoints["mqtt"]


def _kinds(said: list[tuple[str, bytes]], kind: str) -> list[bytes]:
    return [content for topic, content in list(said) if topic.split("/")[2] == kind]


def _since(truth: list[tuple[str, str, int, Any]]) -> list[tuple[str, str, int, Any]]:
    return [(machine, name, t + START, value) for machine, name, t, value in truth]


@pytest.mark.parametrize(
    ("name", "face"),
    [("OPC UA", OpcUaFace), ("MQTT", MqttFace), ("Sparkplug B", SparkplugFace), ("files", FileFace)],
)
def test_the_table_says_what_the_faces_play(name: str, face: Any) -> None:
    """Of the OPC UA face all that a server with a certificate can do."""

    class Certified:
        registrar = True

    own = face.disturbances
    if isinstance(own, property):
        made = face.__new__(face)
        made._served = Certified()
        own = made.disturbances
    assert own == set(OWN[name])


def test_every_fault_is_played_somewhere_and_stands_in_the_readme() -> None:
    text = (Path(__file__).parents[2] / "simulators" / "README.md").read_text("utf-8")
    assert "\n".join(table()) in text, "write the lines of simulators.faults.faces.table() into it"
    for fault in COMMUNICATION:
        assert any(plays(face, fault) for face in OWN)
