"""Any machine on any face: the same seed says the same values at the same times, and what arrives is what the truth has."""

import asyncio
import csv
import json
import threading
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from config.load import load
from config.problems import render
from simulators.clock import FreeClock
from simulators.config_writer import configuration
from simulators.errors import SimulatorError
from simulators.faces.broker import parse
from simulators.machines import KINDS, kind
from simulators.workshop import Plan, open_workshop
from tests.simulators.runs import START, rows, run
from tests.simulators.sparkplug import reader

SECOND = 1_000_000_000
SECONDS = 8
FACES = ("opcua", "mqtt", "sparkplug", "jsonl", "csv")


def plan(folder: Path, face: str, **more: Any) -> Plan:
    """All kinds of machine at once, with one face."""
    machines = tuple((name, f"{name}-1") for name in KINDS)
    wanted: dict[str, Any] = {
        "machines": machines,
        "seed": 42,
        "start_ns": START,
        "faces": {m: face for _, m in machines},
    }
    return Plan(truth=folder / "truth.jsonl", config=folder / "c.yaml", **{**wanted, **more})


async def lived(wanted: Plan, seconds: float = SECONDS) -> None:
    async with open_workshop(wanted) as workshop:
        end = START + round(seconds * SECOND)
        await workshop.drive(FreeClock(), asyncio.Event(), origin_ns=START, until_ns=end)
        await workshop.drain()


def told(path: Path) -> dict[tuple[str, str], list[Any]]:
    """Per signal its values in order, without repetitions; with the time where the wire had one."""
    series: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for row in rows(path):
        mine = series[row["machine"], row["signal"]]
        if not mine or mine[-1][1] != row["value"]:
            mine.append((row["t"], row["value"]))
    return series


def expected() -> dict[tuple[str, str], list[Any]]:
    """What the bare physics says, without any face."""
    series: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for name in KINDS:
        for t, signal, value in run(name, 42, SECONDS).changes:
            series[f"{name}-1", signal].append((t, list(value) if isinstance(value, tuple) else value))
    return series


@pytest.mark.parametrize("face", FACES)
async def test_one_seed_is_one_run_on_every_face(face: str, tmp_path: Path) -> None:
    await lived(plan(tmp_path, face))
    series, wanted = told(tmp_path / "truth.jsonl"), expected()
    assert set(series) == set(wanted)
    for signal, values in wanted.items():
        timed = all(t is not None for t, _ in series[signal])
        assert (series[signal] if timed else [v for _, v in series[signal]]) == (
            values if timed else [v for _, v in values]
        )


async def test_json_lines_are_the_truth(tmp_path: Path) -> None:
    await lived(plan(tmp_path, "jsonl"))
    truth: dict[str, list[Any]] = defaultdict(list)
    for row in rows(tmp_path / "truth.jsonl"):
        truth[row["machine"]].append((row["signal"], row["value"]))
    for name in KINDS:
        lines = [json.loads(line) for line in (tmp_path / f"{name}-1.jsonl").read_text().splitlines()]
        assert [(line["signal"], line["value"]) for line in lines] == truth[f"{name}-1"]
        assert {line["quality"] for line in lines} == {"good"}
        assert lines[0]["time"] == "2026-01-01T00:00:00.000Z"


async def test_csv_is_the_truth_to_the_last_bit(tmp_path: Path) -> None:
    await lived(plan(tmp_path, "csv"))
    truth = [row for row in rows(tmp_path / "truth.jsonl") if row["machine"] == "moulding-1"]
    with (tmp_path / "moulding-1.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(truth) > 100
    for line, row in zip(lines, truth, strict=True):
        said = row["value"]
        assert line["value"] == said if isinstance(said, str) else json.loads(line["value"]) == said


async def test_what_sparkplug_says_is_the_truth(tmp_path: Path) -> None:
    """Read by a decoder that is not the encoder's."""
    wanted = plan(tmp_path, "sparkplug", machines=(("moulding", "moulding-1"), ("legacy", "legacy-1")))
    async with open_workshop(wanted) as workshop, heard(workshop.endpoints["mqtt"]) as messages:
        assert messages == [], "it is born when the clock starts: this listener must not miss it"
        await workshop.drive(FreeClock(), asyncio.Event(), origin_ns=START, until_ns=START + 5 * SECOND)
        await workshop.drain()
        truth = list(rows(tmp_path / "truth.jsonl"))
        told = {repr((r["machine"], r["signal"], r["t"], r["value"])) for r in truth}
        await _until(lambda: told <= set(map(repr, reader_rows(messages))))


@asynccontextmanager
async def heard(url: str) -> AsyncIterator[list[tuple[str, bytes]]]:
    """Everything of the edge, by a stranger's client."""
    address, messages, subscribed = parse(url), list[tuple[str, bytes]](), threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
    client.on_connect = lambda c, *_: c.subscribe("spBv1.0/#", qos=1)
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = lambda _c, _d, m: messages.append((m.topic, bytes(m.payload)))
    client.connect_async(address.host, address.port)
    client.loop_start()
    try:
        await _until(subscribed.is_set)
        yield messages
    finally:
        client.disconnect()
        client.loop_stop()


def reader_rows(messages: list[tuple[str, bytes]]) -> list[tuple[str, str, int, Any]]:
    """Metrics of devices as rows; aliases by the births."""
    names: dict[tuple[str, int], tuple[str, int]] = {}
    found = []
    for topic, content in list(messages):
        *_, kind, _node, device = topic.split("/") if topic.count("/") == 4 else (*topic.split("/"), "")
        for metric in reader.payload(content).metrics if device else ():
            if kind == "DBIRTH":
                names[device, metric["alias"]] = (metric["name"], metric["datatype"])
            name, datatype = names[device, metric["alias"]]
            found.append((device, name, metric["timestamp"] * 1_000_000, _value(metric, datatype)))
    return found


def _value(metric: dict[str, Any], datatype: int) -> Any:
    shapes = ("int", "long", "float", "double", "boolean", "string")
    value = next((metric[shape] for shape in shapes if shape in metric), None)
    return bool(value) if datatype == 11 else value


async def _until(true: Any) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("face", ["opcua", "mqtt", "sparkplug"])
def test_the_configuration_of_every_face_is_understood(face: str, tmp_path: Path) -> None:
    models = [kind(name)(f"{name}-1", 1) for name in KINDS]
    worn = {model.machine: face for model in models}
    endpoints = (
        dict.fromkeys(worn, "opc.tcp://127.0.0.1:4840/")
        if face == "opcua"
        else {"mqtt": "mqtt://127.0.0.1:1883"}
    )
    file = tmp_path / "collector.yaml"
    file.write_text(configuration(models, endpoints, faces=worn), encoding="utf-8")
    loaded = load([file], env={})
    assert loaded.settings is not None, render(loaded.problems)
    named = {(c.machine.id, c.signal.name) for c in loaded.settings.signals()}
    assert named == {(model.machine, signal.name) for model in models for signal in model.signals}


async def test_an_unknown_face_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match="there is no face 'modbus'"):
        await lived(plan(tmp_path, "modbus"))
