"""Acceptance: an alarm of an OPC UA server arrives in InfluxDB as documented (adapters/opcua/README.md, Events and alarms)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.influxdb.peers import Server
from tests.line.conftest import Extra, v1
from tests.line.databases import influx as query
from tests.line.harness import collector, eventually
from tests.line.test_opcua_resumption import Machine
from tests.opcua.rows.bed import START
from tests.opcua.scripted.events import NOW, Fields, alarm, simple

CONFIG = """
version: 1
sources:
  plc: {{type: opcua, url: "{url}", security: none, publishing_interval: 50ms}}
machines:
  - id: m
    read: [{{source: plc, events: [{{severity: 100}}]}}]
"""
SECOND = 10**9


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.stop()


def tell(machine: Machine, *events: Fields) -> None:
    async def on_its_loop() -> None:
        machine.server.machine.alarms.tell(machine.server.machine, *events)

    asyncio.run_coroutine_threadsafe(on_its_loop(), machine.loop).result(60)


def column(influx: Server, field: str) -> list[tuple[int, Any]]:
    rows = query(influx.url, "shop", f'SELECT "{field}" FROM "machine" WHERE "machine" = \'m\'')
    return [(row["time"], row[field]) for row in rows]


def test_an_alarm_arrives_in_influxdb(tmp_path: Path, machine: Machine, influx: Server, extra: Extra) -> None:
    config = tmp_path / "shop.yaml"
    config.write_text(CONFIG.format(url=machine.server.url))
    alarms = machine.server.machine.alarms
    raised = alarm("Spindle", "OverTemp", START + SECOND, active=True, message="too hot", event_id=b"\x0a")
    alarms.retained = {"spindle": raised}
    with collector(config, extra(v1(influx.url))) as running:
        running.wait_connected("plc", "influx")
        eventually(lambda: alarms.refreshes, "the present conditions are asked for")
        tell(
            machine,
            alarm(
                "Spindle",
                "OverTemp",
                START + 2 * SECOND,
                active=True,
                acked=True,
                message="too hot",
                event_id=b"\x0b",
            ),
        )
        tell(machine, simple("Door", "opened", 300, START + 3 * SECOND, b"\x0c"))
        name = "alarm.Spindle.OverTemp"
        eventually(lambda: len(column(influx, f"{name}.active")) >= 3, "what was so and what changed")
        eventually(lambda: column(influx, "alarm.Door.message"), "the event")
        books = running.stop()
    assert column(influx, f"{name}.active")[:3] == [
        (START + SECOND, True),
        (START + 2 * SECOND, True),
        (NOW, True),
    ]
    assert column(influx, f"{name}.acked")[:3] == [
        (START + SECOND, False),
        (START + 2 * SECOND, True),
        (NOW, False),
    ]
    assert column(influx, f"{name}.message")[0] == (START + SECOND, "too hot")
    assert column(influx, f"{name}.severity")[0] == (START + SECOND, 700)
    assert column(influx, f"{name}.event_id")[:2] == [(START + SECOND, "0a"), (START + 2 * SECOND, "0b")]
    assert column(influx, "alarm.Door.message") == [(START + 3 * SECOND, "opened")]
    assert books["unaccounted"] == 0
