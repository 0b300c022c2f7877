"""Values by the thousand beside the machines: what a workshop says in an hour, said in minutes (`python -m simulators.load`).

The machines of the simulators bring faults, texts and changes of state; the load brings quantity, because what leaks by the
value is seen by the million.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from simulators.load.series import NAMESPACE, name_of
from tests.line.harness import ENVIRONMENT

PREFIX = "load/load-mqtt"


class Rate(NamedTuple):
    """Of each of the two sources. hz: of every variable (OPC UA) or topic (MQTT), a divisor of 1,000."""

    variables: int
    opcua_hz: int
    mqtt_hz: int

    @property
    def per_second(self) -> int:
        return self.variables * (self.opcua_hz + self.mqtt_hz)


@contextmanager
def opcua_load(rate: Rate, seconds: float) -> Iterator[str]:
    """Its address. Emits from the moment when somebody has subscribed to everything, and stays afterwards."""
    options = [f"--variables={rate.variables}", f"--hz={rate.opcua_hz}", f"--seconds={seconds:g}", "--stay"]
    with _load("opcua", options) as process:
        assert process.stdout is not None
        yield str(json.loads(process.stdout.readline())["url"])


@contextmanager
def mqtt_load(broker: str, rate: Rate, seconds: float) -> Iterator[None]:
    per_second = rate.variables * rate.mqtt_hz
    options = [f"--broker={broker}", f"--topics={rate.variables}", f"--rate={per_second}"]
    with _load("mqtt", [*options, f"--seconds={seconds:g}", f"--prefix={PREFIX}", "--drain=30"]):
        yield


@contextmanager
def _load(face: str, options: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "simulators.load", face, *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=120)


def configuration(url: str, broker: str, rate: Rate) -> Mapping[str, Any]:
    """Sources and machines of the load, to be read beside those of the simulators."""
    names = [name_of(variable) for variable in range(rate.variables)]
    nodes = [
        {"name": n, "node": f"nsu={NAMESPACE};s={n}", "every": f"{1000 // rate.opcua_hz}ms"} for n in names
    ]
    topics = {
        "topic": f"{PREFIX}/{{signal}}",
        "payload": {"type": "json", "time": "ts"},
        "signals": [{"name": n, "value": "value"} for n in names],
    }
    return {
        "sources": {
            "load-opcua": {"type": "opcua", "url": url, "security": "none"},
            "load-mqtt": {"type": "mqtt", "url": broker},
        },
        "machines": [
            {"id": "load-opcua", "read": [{"source": "load-opcua", "signals": nodes}]},
            {"id": "load-mqtt", "read": [{"source": "load-mqtt", **topics}]},
        ],
    }
