"""A database made anew gets back everything that history and buffer hold: judged by reading it over HTTP before and after."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.influxdb.peers import Server
from tests.line.conftest import Extra, v1
from tests.line.databases import influx as ask_influx
from tests.line.harness import ENVIRONMENT, Collector, collector, eventually, simulation
from tests.mqtt.peers import Mosquitto

MEASUREMENTS = ("quality", "collector_gap", "collector_canary")


def rows(url: str) -> set[tuple[Any, ...]]:
    """Every value in the database, with everything that is said of it; the collector's own counts go on changing and stay out."""
    found = ask_influx(url, "shop", "SELECT * FROM /.*/")
    return {
        tuple(sorted((key, value) for key, value in row.items() if value is not None))
        for row in found
        if row["measurement"] not in MEASUREMENTS and row.get("machine") != "collector"
    }


def rewind(running: Collector, *arguments: str, sink: str = "influx") -> tuple[int, dict[str, Any]]:
    command = [
        sys.executable,
        "-P",
        "-m",
        "collector",
        "rewind",
        sink,
        "--config",
        *map(str, running.config),
    ]
    done = subprocess.run(
        [*command, "--json", *arguments],
        capture_output=True,
        env=ENVIRONMENT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else {"words": done.stderr}


@pytest.mark.parametrize("running_meanwhile", [True, False])
def test_a_database_made_anew_gets_everything_back(
    tmp_path: Path, mosquitto: Mosquitto, influx: Server, extra: Extra, running_meanwhile: bool
) -> None:
    """I12: dropped, made again and rewound: what was there is there, value by value, from history and from the buffer."""
    options = ["--speed", "20", "--broker", f"mqtt://127.0.0.1:{mosquitto.port}"]
    with simulation(tmp_path, "energy", "compressor", *options) as machines:
        more = extra(v1(influx.url), history={"seal_values": 300, "seal_every": "1h"})
        with collector(machines.config, more) as running:
            running.wait_connected("influx", "broker")
            machines.go()
            eventually(lambda: machines.emitted() > 1500, "there is something to lose", 60)
            machines.stop_changes()
            books = running.wait_settled("influx")
            before = rows(influx.url)
            if not running_meanwhile:
                running.stop()
            ask_influx(influx.url, "shop", 'DROP DATABASE "shop"', method="POST")
            ask_influx(influx.url, "shop", 'CREATE DATABASE "shop"', method="POST")
            assert rows(influx.url) == set()
            code, told = rewind(running, "--yes")
            after = rows(influx.url)
            again, _ = rewind(running, "--yes")
            assert rows(influx.url) == after
    sealed = list((running.state / "history").rglob("*.parquet"))
    assert len(sealed) >= 2, "nothing of it came from the history"
    assert books["unaccounted"] == 0
    assert len(before) > 150
    assert before <= after, sorted(before - after)[:5]
    assert (code, again, told["refused"]) == (0, 0, 0), told


def test_asks_before_it_writes(tmp_path: Path, mosquitto: Mosquitto, influx: Server, extra: Extra) -> None:
    """I12: without a terminal nobody can agree; where nothing was ever stored it says so; other sinks are named."""
    with simulation(tmp_path, "compressor", "--broker", f"mqtt://127.0.0.1:{mosquitto.port}") as machines:
        running = Collector(machines.config, extra(v1(influx.url)))
        code, told = rewind(running, "--yes")
        assert code == 69, told
        with collector(*running.config) as running:
            running.wait_connected("influx")
            code, told = rewind(running)
        assert (code, "--yes" in told["words"]) == (1, True)
        code, told = rewind(running, sink="other")
        assert (code, "Its sinks: influx" in told["words"]) == (2, True)
