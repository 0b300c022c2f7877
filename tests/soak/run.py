"""Simulators at a multiple of their speed and a load, `collector run` with buffer, history and a database, and a look every second."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from tests.line.harness import ENVIRONMENT, Collector, collector, eventually, simulation
from tests.soak import inside
from tests.soak.load import Rate, configuration, mqtt_load, opcua_load
from tests.soak.store import Counting, counting
from tests.soak.watch import Sample, sample

MACHINES = ("cnc", "energy", "compressor")
LOAD = Rate(variables=100, opcua_hz=10, mqtt_hz=2)
HISTORY_MAX = 20  # MB


class Watched(Collector):
    """It tells how much memory it uses."""

    module = "tests.soak.inside"

    def __init__(self, *config: Path) -> None:
        super().__init__(*config)
        self.heap = self.folder / "heap"
        paths = {"PYTHONPATH": str(Path(__file__).parents[2]), inside.TELL: str(self.heap)}
        self.environment = {**ENVIRONMENT, **inside.ENVIRONMENT, **paths}


class Soaked(NamedTuple):
    samples: list[Sample]
    books: dict[str, Any]
    stored: int


def soak(
    folder: Path,
    seconds: float,
    *,
    speed: float,
    rate: Rate = LOAD,
    broker: str = "",
    told: Callable[[str], None] = lambda _: None,
    seen: Callable[[Sample], None] = lambda _: None,
) -> Soaked:
    """As long as asked; then the machines fall silent, everything is stored, and the books are taken."""
    with ExitStack() as stack:
        store = stack.enter_context(counting())
        options = ["--speed", f"{speed:g}", "--start", "2026-01-05T06:00:00Z"]
        machines = stack.enter_context(
            simulation(folder, *MACHINES, *options, *(["--broker", broker] if broker else []))
        )
        at_broker = broker or _broker(machines.config)
        url = stack.enter_context(opcua_load(rate, seconds))
        extra = folder / "extra.yaml"
        extra.write_text(
            json.dumps({**_extra(store), **configuration(url, at_broker, rate)}), encoding="utf-8"
        )
        running = stack.enter_context(collector(machines.config, extra, kind=Watched))
        running.wait_connected("cnc-1", "broker", "load-opcua", "load-mqtt", "store")
        machines.go()
        with mqtt_load(at_broker, rate, seconds):
            samples = _watch(running, seconds, told, seen)
        machines.stop_changes(600)  # what the machines said too late on a busy computer goes out first
        running.wait_settled("store")
        return Soaked(samples, running.stop(), store.lines)


def _broker(config: Path) -> str:
    """Where the simulators' own broker listens."""
    return str(YAML(typ="safe", pure=True).load(config)["sources"]["broker"]["url"])


def _watch(
    running: Any, seconds: float, told: Callable[[str], None], seen: Callable[[Sample], None]
) -> list[Sample]:
    eventually(running.heap.exists, "it tells how much memory it uses")
    began, samples = time.monotonic(), list[Sample]()
    while (at := time.monotonic() - began) < seconds or _late(samples, seconds) < FEWEST:
        assert running.process.poll() is None, running.log()[-3000:]
        samples.append(sample(running.process.pid, running.state, at, running.heap))
        seen(samples[-1])
        if len(samples) % 60 == 0:
            now = samples[-1]
            told(
                f"{at / 60:.0f} min: {now.memory:.1f} MiB, {now.heap:.1f} in use, {now.descriptors} descriptors"
            )
        time.sleep(min(1.0, seconds / 20))
    return samples


FEWEST = 8
"""Looks in the second half, however busy this computer is: from fewer nothing can be told."""


def _late(samples: Sequence[Sample], seconds: float) -> int:
    return sum(one.at >= seconds / 2 for one in samples)


def _extra(store: Counting) -> Mapping[str, Any]:
    sink = {
        "type": "influxdb",
        "name": "store",
        "url": f"http://127.0.0.1:{store.port}",
        "org": "soak",
        "bucket": "soak",
        "canary": False,
    }
    history = {"seal_every": "10s", "max": f"{HISTORY_MAX}MB"}
    return {"version": 1, "page": "off", "sinks": [sink], "history": history}
