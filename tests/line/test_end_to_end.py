"""The whole line against real servers: what comes back equals what the simulators did, value by value.

The truth is the simulators' own record, the databases are read back with plain HTTP, the history through `export`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from pathlib import Path

import pytest

from tests.influxdb.peers import Server
from tests.line.conftest import Extra, v1, v2
from tests.line.databases import influx as ask_influx
from tests.line.databases import influx_values, victoria_counts
from tests.line.harness import collector, simulation
from tests.line.oracle import Hole, Series, Truth, compare, read_truth
from tests.mqtt.peers import Mosquitto

KILLS = int(os.environ.get("KILLS", "12"))
MACHINES = ("cnc", "energy", "compressor")
SOURCES = {"cnc-1": "cnc-1", "energy-1": "broker", "compressor-1": "broker"}
START = (
    "2026-03-02T06:00:00Z"  # in the past: at speed 10 the machines' clocks would otherwise run ahead of ours
)


def broker(mosquitto: Mosquitto) -> tuple[str, str]:
    return "--broker", f"mqtt://127.0.0.1:{mosquitto.port}"


def assert_books_balance(books: dict[str, object], truth: Truth) -> None:
    assert books["unaccounted"] == 0
    sources = {row["name"]: row for row in books["sources"]}  # type: ignore[attr-defined]
    assert sources["cnc-1"]["decoded"] >= sum(
        len(rows) for key, rows in truth.timed.items() if key[0] == "cnc-1"
    )
    assert all(row["refused"] == 0 for row in sources.values())
    assert all(row["quarantined"] == 0 for row in books["sinks"])  # type: ignore[attr-defined]


@pytest.mark.timeout(300)
def test_every_value_arrives_everywhere(
    tmp_path: Path, mosquitto: Mosquitto, influx: Server, victoria: Server, extra: Extra
) -> None:
    config = extra(v1(influx.url), v2(victoria.url))
    run = ("--seed", "7", "--start", START, "--speed", "20")
    with (
        simulation(tmp_path, *MACHINES, *run, *broker(mosquitto)) as machines,
        collector(machines.deepen(), config) as running,
    ):
        running.wait_connected("cnc-1", "broker", "influx", "victoria")
        machines.go()
        machines.wait_for_more(5000)
        machines.stop_changes()
        truth = machines.truth()
        running.wait_stored(truth)
        running.wait_passed("influx", "victoria")
        books = running.stop()
    assert truth.size >= 5000
    assert_books_balance(books, truth)
    history = running.export()
    database = influx_values(influx.url, "shop")
    assert compare(truth, history).clean
    assert compare(truth, database).clean
    assert_counts(truth, victoria_counts(victoria.url))
    assert_that_a_deletion_is_noticed(truth, history, influx)


def assert_counts(truth: Truth, counts: dict[tuple[str, str], int]) -> None:
    """VictoriaMetrics keeps milliseconds and numbers only: every value is there, its exactness is shown elsewhere."""
    for key, rows in truth.timed.items():
        assert counts[key] == len(rows), key


def assert_that_a_deletion_is_noticed(truth: Truth, history: Series, influx: Server) -> None:
    """The oracle itself is tried: one value less, anywhere, must be seen."""
    key = ("cnc-1", "spindle_load")
    for at in sorted(history[key])[:: max(1, len(history[key]) // 5)]:
        less = {**history, key: {t: v for t, v in history[key].items() if t != at}}
        assert [(row[:3]) for row in compare(truth, less).missing] == [(*key, at)]
    victim = sorted(truth.timed["energy-1", "active_power"])[3]
    ask_influx(
        influx.url,
        "shop",
        f"DELETE FROM energy WHERE machine = 'energy-1' AND time = {victim}",
        method="POST",
    )
    missing = compare(truth, influx_values(influx.url, "shop")).missing
    assert missing
    assert {(row[0], row[2]) for row in missing} == {("energy-1", victim)}


def test_the_oracle_knows_alarms(tmp_path: Path) -> None:
    """What is said again after a connection must be what was so at that time, and what an event said must be stored."""
    said = {"active": True, "acked": False, "severity": 400, "message": "flow", "event_id": "ce"}
    row = {"kind": "alarm", "machine": "m", "t": 100, "source": "S", "condition": "C", **said}
    (tmp_path / "truth").write_text(json.dumps(row), encoding="utf-8")
    truth, active = read_truth(tmp_path / "truth"), ("m", "alarm.S.C.active")
    right: Series = {("m", f"alarm.S.C.{word}"): {100: value} for word, value in said.items()}
    again = right | {active: {100: True, 150: True}}
    assert compare(truth, right).clean
    assert compare(truth, again).clean
    assert compare(truth, again | {active: {100: True, 150: False}}).altered
    assert compare(truth, again | {active: {50: False, 100: True}}).spurious
    assert compare(truth, again | {active: {150: True}}).missing
    assert compare(truth, again | {active: {150: True}}, {"m": [Hole("s", 90, 110)]}).clean


@pytest.mark.timeout(600 + 10 * KILLS)
def test_killed_at_random_moments(tmp_path: Path, mosquitto: Mosquitto, influx: Server, extra: Extra) -> None:
    """P1: kill -9 again and again: MQTT loses nothing; what an OPC UA server said meanwhile is covered by gap records."""
    kills = KILLS
    chance = random.Random(20)
    run = ("--seed", "8", "--start", START, "--speed", "2", *broker(mosquitto))
    with (
        simulation(tmp_path, *MACHINES, *run) as machines,
        collector(machines.deepen(), extra(v1(influx.url))) as running,
    ):
        running.wait_connected("cnc-1", "broker", "influx")
        machines.go()
        for number in range(kills):
            if number % 2:  # every other one at work, the rest while it starts, recovers, connects
                running.wait_connected("cnc-1", "broker", "influx")
                running.wait_for_more(1, "cnc-1")  # what is lost between two deaths is a hole of its own
            time.sleep(chance.uniform(0.1, 2.0))  # the moment is what is tried, not something waited for
            running.kill()
            running.start()
        running.wait_connected("cnc-1", "broker", "influx")
        machines.stop_changes()
        truth = machines.truth()
        running.wait_stored(truth, {"cnc-1": "cnc-1"})
        running.wait_passed("influx")
        books = running.stop()
    assert truth.size > 1000
    assert books["unaccounted"] == 0
    holes = running.holes(SOURCES)
    explained = {"cnc-1": holes["cnc-1"]}  # nothing that came by MQTT needs an excuse
    for found in (running.export(), influx_values(influx.url, "shop")):
        verdict = compare(truth, found, explained)
        assert verdict.clean, verdict
    # A life that was killed before it had stored anything shares its hole with the next one.
    assert len(holes["cnc-1"]) >= kills // 3


@pytest.mark.timeout(300)
def test_the_database_goes_and_comes_back(
    tmp_path: Path, mosquitto: Mosquitto, influx: Server, extra: Extra
) -> None:
    """I1: twice, in the middle of its work; what waited is stored afterwards, each value once."""
    run = ("--seed", "9", "--start", START, "--speed", "10", *broker(mosquitto))
    with (
        simulation(tmp_path, *MACHINES, *run) as machines,
        collector(machines.deepen(), extra(v1(influx.url))) as running,
    ):
        running.wait_connected("cnc-1", "broker", "influx")
        machines.go()
        for _ in range(2):
            asyncio.run(influx.stop())
            running.wait_for_more(300)
            asyncio.run(influx.start())
            running.wait_for_more(300)
        machines.stop_changes()
        truth = machines.truth()
        running.wait_stored(truth)
        books = running.wait_passed("influx")
        assert books["unaccounted"] == 0
        assert running.stop()["unaccounted"] == 0
    assert compare(truth, influx_values(influx.url, "shop")).clean
    assert compare(truth, running.export()).clean


@pytest.mark.timeout(300)
def test_the_broker_goes_and_comes_back(tmp_path: Path, mosquitto: Mosquitto, extra: Extra) -> None:
    run = ("--seed", "10", "--start", START, "--speed", "10", *broker(mosquitto))
    with (
        simulation(tmp_path, "energy", "compressor", *run) as machines,
        collector(machines.config, extra()) as running,
    ):
        running.wait_connected("broker")
        machines.go()
        for _ in range(2):
            running.wait_for_more(300)
            asyncio.run(mosquitto.stop())
            asyncio.run(mosquitto.start())
        running.wait_for_more(100)
        machines.stop_changes()
        truth = machines.truth()
        running.wait_stored(truth)
        assert running.stop()["unaccounted"] == 0
    verdict = compare(truth, running.export())
    # A publisher repeats what was not acknowledged when its broker went; without a time in it nobody can tell it from news.
    verdict.spurious = [row for row in verdict.spurious if row[:2] not in truth.bare]
    verdict.altered = [row for row in verdict.altered if row[:2] not in truth.bare]
    assert verdict.clean, verdict
