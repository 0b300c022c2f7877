"""The acceptance run in short, and that the long one leaves out no fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from simulators.faces.file import FileFace
from simulators.faces.mqtt import MqttFace
from simulators.faces.opcua_identity import CHANGES
from simulators.faces.sparkplug import SparkplugFace
from simulators.faults.catalogue import COMMUNICATION, SENSOR
from simulators.faults.engine import ON_THE_WAY
from simulators.machines import kind
from tests.acceptance.__main__ import accepted, faces
from tests.acceptance.judge import STANDSTILL, Fault, _at
from tests.acceptance.run import FILES, SHORT, WORKSHOP, stretched

OWN = {
    "opcua": frozenset({"restart", "reindex", "nodes_removed", *CHANGES}),
    "mqtt": MqttFace.disturbances,
    "sparkplug": SparkplugFace.disturbances,
    "jsonl": FileFace.disturbances,
    "csv": FileFace.disturbances,
}
"""What each face itself can play, OPC UA with a certificate."""


def test_the_short_run_is_accepted(tmp_path: Path) -> None:
    said: list[str] = []
    assert accepted(tmp_path, stretched(SHORT, None), said.append), "\n".join(said)
    assert sum("✔" in line for line in said) == 10, (
        "two stores with three faces and all of them, and two files"
    )


@pytest.mark.parametrize("face", list(OWN))
def test_every_communication_fault_of_a_face_is_in_the_long_run(face: str) -> None:
    scenario = YAML(typ="safe", pure=True).load(WORKSHOP)
    mine = faces(scenario)[face]
    injected = {fault["fault"] for fault in scenario["faults"] if fault["machine"] in mine}
    possible = {"clock_jump", *OWN[face], *(() if face in FILES else ON_THE_WAY)}
    assert injected & set(COMMUNICATION) == possible


def test_every_fault_of_process_and_sensors_is_in_the_long_run() -> None:
    scenario = YAML(typ="safe", pure=True).load(WORKSHOP)
    injected = {fault["fault"] for fault in scenario["faults"]}
    process = {name for machine in scenario["machines"] for name in kind(machine["kind"]).process_faults}
    assert process | set(SENSOR) <= injected


def test_a_gap_record_counts_only_at_a_fault_of_its_source() -> None:
    second = 10**9
    cut = Fault("mill", "mill", "cut", "communication", 100 * second, 100 * second, 0)
    jump = Fault("mill", "mill", "clock_jump", "communication", 500 * second, 510 * second, 3600 * second)
    assert _at("mill", 95 * second, 105 * second, [cut, jump]) == [cut]
    assert _at("mill", 4101 * second, 4102 * second, [cut, jump]) == [jump]
    assert not _at("mill", 200 * second, 210 * second, [cut, jump])
    assert not _at("broker", 95 * second, 105 * second, [cut, jump])
    stall = Fault("computer", "", STANDSTILL, "computer", 300 * second, 306 * second, 0)
    assert _at("broker", 301 * second, 305 * second, [cut, jump, stall]) == [stall]
    assert not _at("broker", 200 * second, 210 * second, [cut, jump, stall])
