"""A real machine replayed: the recording of an Okuma, line by line over MQTT, through the whole collector into the history.

The oracle reads the recording with `split`. Names and times come from the lines themselves; where a line has no time
of its own (agent commands, parts of an asset) only its values are compared.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections import Counter
from pathlib import Path
from typing import Any

from tests.line.harness import Collector, collector, eventually
from tests.mqtt.peers import Mosquitto, Publisher
from tests.mqtt.test_okuma import expected, lines

__all__ = ["lines"]  # the fixture of the recording

Row = tuple[str, int | None, Any]


def micros(line: bytes) -> int | None:
    """The time at the head of a line in µs since 1970 UTC; None where it has none."""
    head = line.split(b"|", 1)[0].decode()
    try:
        moment = dt.datetime.fromisoformat(head)
    except ValueError:
        return None
    return int(moment.timestamp()) * 10**6 + moment.microsecond


def said(recording: list[bytes]) -> Counter[Row]:
    """What the recording says, each (name, time, value) once: the same again at the same time is one fact."""
    rows: Counter[Row] = Counter()
    for line in recording:
        at = micros(line)
        for name, text in expected(line):
            value = None if text == "UNAVAILABLE" else text
            rows[name, at, value] = rows[name, at, value] + 1 if at is None else 1
    return rows


def stored(path: Path, timed: set[str]) -> Counter[Row]:
    """The export, with times cut to µs: the identity rule moves a second value of one instant by nanoseconds."""
    rows: Counter[Row] = Counter()
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["machine"] == "okuma":
            rows[row["signal"], row["time"] // 1000 if row["signal"] in timed else None, row["value"]] += 1
    return rows


def with_all(running: Collector, count: int) -> dict[str, Any] | None:
    """The books, once so many values of the broker are in them."""
    books = running.books() or {"sources": []}
    decoded = sum(int(row["decoded"]) for row in books["sources"] if row["name"] == "broker")
    return books if decoded >= count else None


CONFIG = """
version: 1
page: off
sources:
  broker: {{type: mqtt, url: "mqtt://127.0.0.1:{port}"}}
machines:
  - {{id: okuma, read: [{{source: broker, topic: "shdr/{{machine}}", payload: shdr, adopt: true}}]}}
"""


def test_a_real_machine_is_stored_completely(
    tmp_path: Path,
    mosquitto: Mosquitto,
    lines: list[bytes],
) -> None:
    config = tmp_path / "collector.yaml"
    config.write_text(CONFIG.format(port=mosquitto.port))
    with collector(config) as running:
        running.wait_connected("broker")
        publisher = Publisher(mosquitto.port)
        asyncio.run(publisher.send(*[("shdr/okuma", line) for line in lines]))
        publisher.close()
        said_in_all = sum(len(expected(line)) for line in lines)
        books = eventually(lambda: with_all(running, said_in_all), "every line")
        running.export()  # before the stop, which states that nothing has a value any more
        running.stop()
    source = next(row for row in books["sources"] if row["name"] == "broker")
    assert source["decoded"] == sum(len(expected(line)) for line in lines) == 26_064
    assert source["refused"] == 0
    assert books["unaccounted"] == 0
    truth = said(lines)
    found = stored(tmp_path / "export.jsonl", {name for name, at, _ in truth if at is not None})
    assert found == truth
    repeated = (
        26_064 - truth.total()
    )  # far apart they are written again under the same key, close together dropped
    assert 0 < source["filtered_by"]["duplicate"] <= repeated
