"""`verify` as the judge of a run with a known loss: the collector is killed, and its own gap records explain what is missing."""

from __future__ import annotations

from pathlib import Path

from tests.influxdb.peers import Server
from tests.line.conftest import Extra, v1
from tests.line.harness import collector, simulation
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
        with collector(machines.deepen(), config) as running:
            running.wait_connected("cnc-1", "broker", "influx")
            machines.go()
            machines.wait_for_more(1000)
            running.kill()
            machines.wait_for_more(500)  # what the CNC says now is lost
            running.start()
            running.wait_connected("cnc-1", "broker", "influx")
            machines.wait_for_more(500)
            machines.stop_changes()
            running.wait_stored(machines.truth(), {"cnc-1": "cnc-1"})
            running.wait_passed("influx")
            running.stop()
    truth = machines.ready["truth"]
    for data in (export(machines.config, tmp_path / "data.parquet"), f"{influx.url}?db=shop"):
        code, found, words = verify(truth, data)
        assert code == 0, (data, found, words)
        assert found["explained"] > 0
        assert found["expected"] == found["found"] + found["explained"]
