"""Acceptance: a structure, an enumeration, a matrix and an alarm of an OPC UA server arrive in InfluxDB as its README says.

Through the running collector; and what the machine calls its signals reaches `collector status`, and never the database.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector.cli.exits import Exit
from tests.influxdb.peers import Server
from tests.line.conftest import Extra, v1
from tests.line.databases import influx as query
from tests.line.harness import PATIENCE, Collector, collector, eventually
from tests.line.test_opcua_resumption import Machine
from tests.opcua.encoder import Array, Scalar
from tests.opcua.rows.bed import START
from tests.opcua.scripted import URI, Variable
from tests.opcua.scripted.codec.wire import NodeId
from tests.opcua.scripted.events import alarm
from tests.opcua.scripted.space import Ref
from tests.opcua.test_structures import POINT, POINT_TYPE, TOOL, TOOL_TYPE, tool
from tests.opcua.test_types import STATE_TYPE, localized, value

CONFIG = """
version: 1
sources:
  plc: {{type: opcua, url: "{url}", security: none, publishing_interval: 50ms}}
machines:
  - id: m
    read:
      - source: plc
        events: [{{severity: 100}}]
        signals:
          - {{name: tool, node: "nsu={uri};s=tool", every: 10ms}}
          - {{name: state, node: "nsu={uri};s=state", every: 10ms}}
          - {{name: grid, node: "nsu={uri};s=grid", every: 10ms, array: elements}}
"""
SECOND = 10**9
FIELDS = {
    "tool.number": 7,
    "tool.state": 1,
    "tool.state.text": "Running",
    "tool.at.x": 1.5,
    "tool.at.y": -2.0,
    "tool.wear[0]": 0.5,
    "tool.wear[1]": 0.25,
    "tool.name": "mill",
    "state": 1,
    "state.text": "Running",
    "grid[0,0]": 1.0,
    "grid[0,1]": 2.0,
    "grid[1,0]": 3.0,
    "grid[1,1]": 4.0,
}
"""As adapters/opcua/README.md has it: fields by path, an enumeration as number and name, elements by index."""


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    space = made.server.space
    space.tree[NodeId(0, 85)] = []
    space.own |= {POINT: POINT_TYPE, TOOL: TOOL_TYPE, 51_000: b"\1" + localized("Idle", "Running")}
    names = Ref(NodeId(0, 51_000), (0, "EnumStrings"), True, 46)
    space.tree[NodeId(0, STATE_TYPE)] = [
        names,
        Ref(NodeId(0, 29), (0, "Enumeration"), kind=45, forward=False),
    ]
    space.variables |= {
        "tool": Variable(
            TOOL, value(tool(7, 1, "mill")), display_name="Wisselplaat", description="In de spil"
        ),
        "state": Variable(STATE_TYPE, value(Scalar(6, 1)), display_name="Toestand <b>"),
        "grid": Variable(11, value(Array(11, [1.0, 2.0, 3.0, 4.0], (2, 2))), 2),
    }
    yield made
    made.stop()


def raise_alarm(machine: Machine) -> None:
    raised = alarm("Spindle", "OverTemp", START + SECOND, active=True, message="too hot", event_id=b"\x0a")

    async def on_its_loop() -> None:
        machine.server.machine.alarms.tell(machine.server.machine, raised)

    asyncio.run_coroutine_threadsafe(on_its_loop(), machine.loop).result(60)


def called(running: Collector) -> dict[str, tuple[str, str]]:
    """Label and description by signal, from `collector status --json`, without those that have none. It answers with 0 or 1: on
    a computer that stood still a collector is not healthy for a minute. Where it does not answer there is nothing.
    """
    command = [sys.executable, "-P", "-m", "collector", "status", "--json", *map(str, running.config)]
    said = subprocess.run(
        command, check=False, capture_output=True, text=True, env=running.environment, timeout=PATIENCE
    )
    if said.returncode not in (Exit.OK, Exit.PROBLEMS):
        return {}
    rows = json.loads(said.stdout)["signals"]
    assert {row["machine"] for row in rows} <= {"m"}
    return {row["signal"]: (row["label"], row["description"]) for row in rows if row["label"]}


def whole(words: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]] | None:
    return words if {"tool.at.x", "state", "state.text"} <= words.keys() else None


def newest(influx: Server) -> dict[str, Any]:
    """The first value of every field of the machine."""
    found: dict[str, Any] = {}
    for row in query(influx.url, "shop", 'SELECT * FROM "machine" WHERE "machine" = \'m\''):
        for field, cell in row.items():
            if cell is not None:
                found.setdefault(field, cell)
    return found


def test_all_of_them_arrive_in_influxdb(
    tmp_path: Path, machine: Machine, influx: Server, extra: Extra
) -> None:
    config = tmp_path / "shop.yaml"
    config.write_text(CONFIG.format(url=machine.server.url, uri=URI))
    with collector(config, extra(v1(influx.url))) as running:
        running.wait_connected("plc", "influx")
        eventually(lambda: machine.server.machine.alarms.refreshes, "the present conditions are asked for")
        raise_alarm(machine)
        wanted = {*FIELDS, "alarm.Spindle.OverTemp.active", "alarm.Spindle.OverTemp.message"}
        eventually(lambda: wanted <= newest(influx).keys(), "every field is in the database")
        words = eventually(lambda: whole(called(running)), "the words")
        running.wait_passed("influx")
        books = running.stop()
    stored = newest(influx)
    assert {name: stored.get(name) for name in FIELDS} == FIELDS
    assert stored["alarm.Spindle.OverTemp.active"] is True
    assert stored["alarm.Spindle.OverTemp.message"] == "too hot"
    assert stored["alarm.Spindle.OverTemp.severity"] == 700
    assert books["unaccounted"] == 0
    assert words["tool.at.x"] == ("Wisselplaat · at · x", "In de spil")
    assert words["state"] == ("Toestand <b>", "")
    assert words["state.text"] == ("Toestand <b> · text", "")
    everything = str(query(influx.url, "shop", "SELECT * FROM /.*/"))  # tags as well
    assert not [word for word in ("Wisselplaat", "In de spil", "Toestand") if word in everything]
