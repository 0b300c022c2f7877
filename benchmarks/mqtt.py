"""MQTT (QoS 1, JSON, one value per message) to buffer, history and VictoriaMetrics, beside paho with `Point`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from benchmarks.collector import collector
from benchmarks.measure import START_UP, Subject, measure
from benchmarks.process import MEASURED, OTHERS, Child, child, python
from benchmarks.row import Row, Wish
from benchmarks.servers import Database, broker, database, program
from simulators.load.series import name_of

PREFIX = "load/m1"
Start = Callable[[Path, str, Database], AbstractContextManager[Child]]


def mqtt(wish: Wish) -> Iterator[Row]:
    """The collector's row, then the baseline's, if it is wanted."""
    program("victoria-metrics")
    program("mosquitto")
    yield _run("mqtt", partial(_collector, wish=wish), wish, baseline=False)
    if wish.baseline:
        yield _run("mqtt paho+Point", _script, wish, baseline=True)


def _run(name: str, start: Start, wish: Wish, *, baseline: bool) -> Row:
    with tempfile.TemporaryDirectory(prefix="bench-mqtt-") as made:
        folder = Path(made)
        with database(folder) as store, broker(folder) as server, start(folder, server.url, store) as process:
            process.wait_for(
                lambda: f"{PREFIX}/" in server.server.words(), START_UP, f"did not subscribe to {PREFIX}"
            )
            with _load(folder, server.url, wish) as load:
                return measure(Subject(name, process, baseline), load, store, wish)


def _load(folder: Path, url: str, wish: Wish) -> AbstractContextManager[Child]:
    options = [
        f"--broker={url}",
        f"--topics={wish.variables}",
        f"--rate={wish.variables * wish.hz}",
        f"--seconds={wish.seconds}",
        f"--prefix={PREFIX}",
        "--settle=2",
        "--drain=60",
        "--stay",
    ]
    return child("load", python("-m", "simulators.load", "mqtt", *options), OTHERS, folder)


def _collector(folder: Path, url: str, store: Database, wish: Wish) -> AbstractContextManager[Child]:
    read = {
        "topic": "load/{machine}/{signal}",
        "payload": {"type": "json", "time": "ts"},
        "signals": [{"name": name_of(variable), "value": "value"} for variable in range(wish.variables)],
    }
    return collector(folder, {"type": "mqtt", "url": url}, read, store.url, wish)


def _script(folder: Path, url: str, store: Database) -> AbstractContextManager[Child]:
    command = python("-m", "benchmarks.baseline_mqtt", url, store.url, f"{PREFIX}/+")
    return child("baseline", command, MEASURED, folder)
