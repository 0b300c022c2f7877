"""The run itself: a workshop from one file, mosquitto, InfluxDB and `collector run`, each a process of its own."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from simulators import arguments
from simulators.cli import main as verify
from tests.influxdb.peers import influxd
from tests.line.harness import ENVIRONMENT, Collector, Simulation, collector, eventually, simulation
from tests.mqtt.peers import Mosquitto

WORKSHOP = Path(__file__).with_name("workshop.yaml")
SHORT = Path(__file__).with_name("short.yaml")
DATABASE = "acceptance"
FILES = ("jsonl", "csv")


class Scenario(Simulation):
    """`python -m simulators scenario FILE`."""

    verb = "scenario"


class Ran(NamedTuple):
    """What is left of a run. data: where it is stored, by name. books: the collector's, at its end. stalls: from and to, ns."""

    folder: Path
    truth: Path
    data: Mapping[str, str]
    books: Mapping[str, Any]
    log: str
    stalls: Sequence[tuple[int, int]]


def stretched(plan: Path, minutes: float | None) -> Mapping[str, Any]:
    """The scenario, with all times of its faults in proportion to how long it is to last."""
    scenario: dict[str, Any] = YAML(typ="safe", pure=True).load(plan)
    if minutes is None:
        return scenario
    factor = minutes * 60 / arguments.seconds(scenario["duration"])
    for fault in scenario["faults"]:
        for key in ("at", "for"):
            if key in fault:
                fault[key] = f"{round(arguments.seconds(fault[key]) * factor * 1000)}ms"
    return {**scenario, "duration": f"{round(minutes * 60_000)}ms"}


@contextmanager
def ran(
    folder: Path, scenario: Mapping[str, Any], told: Callable[[str], None], *, own_broker: bool = False
) -> Iterator[Ran]:
    """Everything from the first process to the export; the database answers until this is left. own_broker: instead of mosquitto."""
    (folder / "influx").mkdir()
    (folder / "broker").mkdir()
    database = influxd(folder / "influx")
    broker = Mosquitto(folder / "broker", ["max_queued_messages 0", "max_inflight_messages 100"])
    asyncio.run(database.start())
    try:
        if own_broker:
            yield _lived(folder, scenario, (), database.url, told)
            return
        asyncio.run(broker.start())
        at_broker = ("--broker", f"mqtt://127.0.0.1:{broker.port}")
        yield _lived(folder, scenario, at_broker, database.url, told)
    finally:
        asyncio.run(broker.stop())
        asyncio.run(database.stop())


def _lived(
    folder: Path, scenario: Mapping[str, Any], broker: Sequence[str], url: str, told: Callable[[str], None]
) -> Ran:
    plan, extra = folder / "scenario.yaml", folder / "extra.yaml"
    endless = {key: value for key, value in scenario.items() if key != "duration"}
    plan.write_text(json.dumps(endless), encoding="utf-8")
    extra.write_text(json.dumps(_extra(url)), encoding="utf-8")
    seconds = arguments.seconds(scenario["duration"])
    with (
        watched() as stalls,
        simulation(folder, str(plan), *broker, kind=Scenario) as workshop,
        collector(workshop.config, extra) as running,
    ):
        sources = _sources(workshop.config)
        running.wait_connected(*sources, "influx")
        told("the workshop is open, the collector is connected")
        workshop.go()
        _wait(workshop, running, seconds, len(scenario["faults"]), told)
        for source in sources:  # a reader that a busy computer has thrown out comes back first
            running.wait_connected(source)
            running.wait_for_more(1, source)
        workshop.stop_changes(600)
        truth, read = Path(workshop.ready["truth"]), _read(scenario)
        with suppress(AssertionError):  # what is missing after that is told by the table
            eventually(lambda: whole(truth, _export(folder, workshop.config, extra), read), "it is whole")
        books = running.wait_passed("influx")
        running.stop()
        exported = _export(folder, workshop.config, extra)
    stored = {"export": str(exported), "InfluxDB": f"{url}?db={DATABASE}"}
    return Ran(folder, Path(workshop.ready["truth"]), stored, books, running.log(), stalls)


def _wait(
    workshop: Simulation, running: Collector, seconds: float, faults: int, told: Callable[[str], None]
) -> None:
    """So long, and until every fault has come and gone."""
    began, said = time.monotonic(), 0
    while (at := time.monotonic() - began) < seconds or _over(workshop) < faults:
        assert running.process is not None
        assert running.process.poll() is None, running.log()[-3000:]
        assert workshop.process.poll() is None, "the workshop closed"
        assert at < seconds * 1.5 + 120, "the faults do not end"
        if at // 30 > said:
            said += 1
            told(f"{at / 60:.1f} min: {workshop.emitted():,} values said")
        time.sleep(0.2)


def _read(scenario: Mapping[str, Any]) -> Sequence[str]:
    """The machines that a collector reads: a file needs none."""
    return [machine["id"] for machine in scenario["machines"] if machine["face"] not in FILES]


def whole(truth: Path, exported: Path, machines: Sequence[str]) -> bool:
    """Whether nothing of these machines is missing that no gap record explains; whatever else is wrong is judged later."""
    only = [part for machine in machines for part in ("--machine", machine)]
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(io.StringIO()):
        verify(["verify", str(truth), "--against", str(exported), "--json", *only])
    return not json.loads(said.getvalue())["missing"]


STALL = 2 * 10**9
"""ns that a moment of 0.1 s may take before this computer counts as having stood still."""


@contextmanager
def watched() -> Iterator[list[tuple[int, int]]]:
    """When this computer stood still meanwhile: a collector on it did, too, and says so in a gap record that no fault made."""
    found, over = list[tuple[int, int]](), threading.Event()

    def look() -> None:
        before = time.time_ns()
        while not over.wait(0.1):
            if (now := time.time_ns()) - before > STALL:
                found.append((before, now))
            before = now

    watching = threading.Thread(target=look, name="stalls")
    watching.start()
    try:
        yield found
    finally:
        over.set()
        watching.join()


def _over(workshop: Simulation) -> int:
    return [row["event"] for row in workshop.told("fault")].count("stop")


def _extra(url: str) -> Mapping[str, Any]:
    sink = {
        "type": "influxdb",
        "name": "influx",
        "api": "v1",
        "url": url,
        "database": DATABASE,
        "create": True,
    }
    return {"version": 1, "page": "off", "sinks": [sink], "history": {"seal_every": "10s"}}


def _sources(config: Path) -> Sequence[str]:
    return list(YAML(typ="safe", pure=True).load(config)["sources"])


def _export(folder: Path, *config: Path) -> Path:
    target = folder / "export.jsonl"
    command = [sys.executable, "-P", "-m", "collector", "export", *map(str, config), "-o", str(target)]
    subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT, timeout=300)
    return target
