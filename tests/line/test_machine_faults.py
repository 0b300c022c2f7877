"""Machines that fail in every way, beside the collector: every value is stored as it was sent, or a gap record says why not."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from tests.line.harness import Simulation, collector, eventually, simulation
from tests.line.test_replay import export, verify
from tests.mqtt.peers import Mosquitto
from tests.simulators.runs import rows

FAULTS = (
    # process
    "mill:tool_break@1s+3s", "imm:scrap_burst@1s+3s", "pack:jam@2s+2s",
    # sensor
    "mill.spindle_load:bias=20@1s+2s", "mill.spindle_power:nan@2s+2s", "mill.x_load:bad@2s+2s", "mill.y_load:stuck@2s+2s",
    "imm.zone_3:nan@2s+2s", "imm.zone_1:bad@3s+1s", "imm.zone_2:unit@3s+1s", "pack.air_pressure:dropout@3s+2s",
    # the way
    "imm:duplicate@4s+1s", "imm:reorder@5s+1s", "mill:cut@6s", "imm:cut@7s",
    "pack:restart@8s+2s", "mill:latency=0.2@8s+1s", "pack:clock_jump=30@5s+1s",
)  # fmt: skip


def test_no_fault_makes_the_books_lie(tmp_path: Path, mosquitto: Mosquitto) -> None:
    faults = [part for fault in FAULTS for part in ("--fault", fault)]
    broker = ("--broker", f"mqtt://127.0.0.1:{mosquitto.port}", "--faults")
    machines = ("cnc=mill", "moulding=imm", "packaging=pack", "--face", "imm=mqtt")
    data = tmp_path / "data.jsonl"
    with (
        simulation(tmp_path, *machines, *broker, *faults, "--seed", "42") as simulated,
        collector(simulated.deepen()) as running,
    ):
        running.wait_connected("mill", "broker", "pack")
        simulated.go()
        truth = Path(simulated.ready["truth"])
        eventually(lambda: over(simulated) == len(FAULTS), "every fault has come and gone")
        for source in ("mill", "broker", "pack"):
            running.wait_connected(source)
            running.wait_for_more(20, source)
        simulated.stop_changes()
        whole = lambda: verify(str(truth), export(simulated.config, data))[0] == 0  # noqa: E731 - asked again and again
        eventually(whole, f"what is missing is explained; {running.log()[-2000:]}")
        books = running.stop()
    assert books["unaccounted"] == 0
    code, found, words = verify(str(truth), export(simulated.config, data))
    assert code == 0, f"{found}\n{words}\n{running.log()[-2000:]}"
    assert found["expected"] > 1500
    assert found["found"] > 0.6 * found["expected"]
    assert_that_all_came_to_pass(truth)


def over(simulated: Simulation) -> int:
    """How many faults have ended."""
    return [row["event"] for row in simulated.told("fault")].count("stop")


def assert_that_all_came_to_pass(truth: Path) -> None:
    """Each fault began and ended, and its traces are in the truth: the test above has tested something."""
    events = Counter((row["fault"], row["event"]) for row in rows(truth, "fault"))
    names = {fault.partition(":")[2].split("@")[0].split("=")[0] for fault in FAULTS}
    assert {name for name, _ in events} == names
    assert all(events[name, "start"] == events[name, "stop"] for name in names)
    values = list(rows(truth))
    assert any(row.get("special") == "nan" for row in values)
    assert any(row.get("quality") == "bad" for row in values)
    assert any("clock_error_ns" in row for row in values)
    assert any("true" in row and row["value"] != row["true"] for row in values)
    timed = [json.dumps((row["machine"], row["signal"], row["t"])) for row in values]
    assert len(timed) > len(set(timed)), "duplicates went out"
