"""`verify` as the judge of a run with a known loss: the collector is killed, and its own gap records explain what is missing."""

from __future__ import annotations

from pathlib import Path

from tests.influxdb.peers import Server
from tests.line.conftest import Extra, v1
from tests.line.harness import Simulation, collector, eventually, simulation
from tests.line.test_replay import export, verify
from tests.mqtt.peers import Mosquitto

START = "2026-03-02T06:00:00Z"


def test_a_kill_is_explained_by_the_collectors_own_gap_records(
    tmp_path: Path, mosquitto: Mosquitto, influx: Server, extra: Extra
) -> None:
    broker = ("--broker", f"mqtt://127.0.0.1:{mosquitto.port}")
    run = ("--seed", "11", "--start", START, "--speed", "5", *broker)
    with simulation(tmp_path, "cnc", "energy", "compressor", *run) as machines:
        config = extra(v1(influx.url))
        with collector(machines.config, config) as running:
            running.wait_connected("cnc-1", "broker", "influx")
            machines.go()
            go_on(machines, 1000)
            running.kill()
            go_on(machines, 500)  # what the CNC says now is lost
            running.start()
            running.wait_connected("cnc-1", "broker", "influx")
            go_on(machines, 500)
            machines.stop_changes()
            running.wait_settled("influx")
            running.stop()
    truth = machines.ready["truth"]
    for data in (export(machines.config, tmp_path / "data.parquet"), f"{influx.url}?db=shop"):
        code, found, words = verify(truth, data)
        assert code == 0, (data, found, words)
        assert found["explained"] > 0
        assert found["expected"] == found["found"] + found["explained"]


def go_on(machines: Simulation, count: int) -> None:
    """So many more values are said."""
    before = machines.emitted()
    eventually(lambda: machines.emitted() >= before + count, f"{count} more values")
