"""`collector discover` against simulated machines: what it writes runs without a manual edit, and a second time changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.cli.exits import Exit
from tests.collector.test_commands import command
from tests.line.harness import Simulation, simulation


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    with simulation(tmp_path_factory.mktemp("discovered"), "cnc", "--seed", "5") as machines:
        machines.go()
        yield machines


def test_what_discover_writes_runs_without_an_edit(workshop: Simulation, tmp_path: Path) -> None:
    url, file = workshop.ready["endpoints"]["cnc-1"], tmp_path / "collector.yaml"
    look = ("discover", url, "--security", "none", "--for", "1s", "--write", file)
    first = command(*look, "--json")
    assert first.returncode == Exit.OK, first.stderr
    found = json.loads(first.stdout)
    assert {"Spindle", "Axes"} <= {cell["path"][1] for cell in found["variables"]}
    text = file.read_text()
    assert "unit: r/min" in text
    assert "nsu=urn:shopfloor:sim:cnc;s=Spindle.Speed" in text
    mine = text.replace("name: spindle_speed,", "name: renamed,  ") + "# mine\n"
    file.write_text(mine)
    assert command(*look).returncode == Exit.OK
    assert file.read_text() == mine
    assert command("check", file).returncode == Exit.OK
    assert command("run", file, "--for", "3s").returncode == Exit.OK
    stored = command("export", file, "--signal", "renamed").stdout
    assert len(stored.splitlines()) > 1, stored


def test_whom_nobody_knows_is_not_unprotected_by_itself(workshop: Simulation, tmp_path: Path) -> None:
    refused = command("discover", workshop.ready["endpoints"]["cnc-1"], "--state", tmp_path)
    assert refused.returncode == Exit.PROBLEMS
    assert "does not offer SignAndEncrypt" in refused.stderr


def test_an_mqtt_address_is_refused_with_what_is_possible() -> None:
    refused = command("discover", "mqtt://127.0.0.1")
    assert refused.returncode == Exit.USAGE
    assert "only OPC UA servers can be, as opc.tcp://host:4840" in refused.stderr
