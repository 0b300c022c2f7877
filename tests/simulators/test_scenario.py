"""One YAML file is one run: the same file gives the same truth, with shifts, orders, operators and faults at their times."""

import asyncio
from pathlib import Path

import pytest

from simulators.clock import FreeClock
from simulators.errors import SimulatorError
from simulators.hall import Shift
from simulators.scenario.reading import read
from simulators.workshop import open_workshop
from tests.simulators.runs import rows

TEXT = """
version: 1
seed: 42
start: 2026-01-30T05:59:00Z
zone: Europe/Brussels   # an hour ahead in January: the early shift has begun
shifts:
  - {name: early, from: "06:00", to: "07:02", operators: 1, days: [fri]}
orders:
  - {id: A-1, machine: imm, parts: 8}
  - {id: A-2, machine: imm, parts: 4}
machines:
  - {id: imm, kind: moulding, face: jsonl}
  - {id: press, kind: legacy, face: jsonl}
  - {id: air, kind: compressor, face: jsonl}
  - {id: meter, kind: energy, face: csv}
faults:
  - {at: 30s, machine: imm, fault: scrap_burst, for: 10s}
  - {at: 45s, machine: air, signal: pressure, fault: stuck}
"""
SETTINGS = """
settings:
  - {at: 20s, machine: imm, signal: zone_4_set, value: 238}
"""


async def lived(folder: Path, text: str = TEXT, seconds: int = 240) -> Path:
    folder.mkdir()
    file = folder / "scenario.yaml"
    file.write_text(text, encoding="utf-8")
    from dataclasses import replace

    plan = replace(read(file), truth=folder / "truth.jsonl", config=folder / "collector.yaml")
    async with open_workshop(plan) as workshop:
        start = workshop.opened_ns
        await workshop.drive(FreeClock(), asyncio.Event(), origin_ns=start, until_ns=start + seconds * 10**9)
        await workshop.drain()
    return plan.truth


async def test_one_file_is_one_run(tmp_path: Path) -> None:
    one, two = await lived(tmp_path / "one"), await lived(tmp_path / "two")
    assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes().count(b"\n") > 2000
    for machine in ("imm.jsonl", "press.jsonl", "air.jsonl", "meter.csv"):
        assert (tmp_path / "one" / machine).read_bytes() == (tmp_path / "two" / machine).read_bytes()


async def test_shifts_orders_and_faults_are_in_the_truth(tmp_path: Path) -> None:
    truth = await lived(tmp_path / "one")
    start = next(rows(truth, "start"))["t"]
    assert [(row["shift"], round((row["t"] - start) / 1e9)) for row in rows(truth, "shift")] == [
        ("early", 0),
        ("", 180),
    ]
    orders = [(row["event"], row["order"]) for row in rows(truth, "order")]
    assert orders == [("start", "A-1"), ("done", "A-1"), ("start", "A-2"), ("done", "A-2")]
    faults = [(row["event"], row["fault"], (row["t"] - start) / 1e9) for row in rows(truth, "fault")]
    assert faults[:3] == [
        ("start", "scrap_burst", 30.0),
        ("stop", "scrap_burst", 40.0),
        ("start", "stuck", 45.0),
    ]
    assert faults[3][:2] == ("stop", "stuck"), "at the end all faults end"


async def test_a_setting_is_written_at_its_time(tmp_path: Path) -> None:
    truth = await lived(tmp_path / "one", TEXT + SETTINGS, 30)
    step = next(rows(truth, "start"))["t"] + 20 * 10**9
    written = {"machine": "imm", "t": step, "by": "scenario", "signal": "zone_4_set", "value": 238.0}
    assert list(rows(truth, "written")) == [{"kind": "written", **written}]
    values = [(row["t"], row["value"]) for row in rows(truth) if row["signal"] == "zone_4_set"]
    assert values[-1] == (step, 238.0)


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        ("machine: nobody, signal: zone_4_set, value: 1", "no machine 'nobody'"),
        ("machine: imm, signal: zone_4, value: 1", "cannot be written"),
        ("machine: imm, signal: zone_4_set, value: 999", "between 20 and 350"),
        ("machine: imm, signal: zone_4_set, value: hot", "is Double"),
    ],
)
async def test_a_setting_that_cannot_be_is_refused_before_anything_runs(
    turn: str, words: str, tmp_path: Path
) -> None:
    wrong = SETTINGS.replace("machine: imm, signal: zone_4_set, value: 238", turn)
    with pytest.raises(SimulatorError, match=words):
        await lived(tmp_path / "one", TEXT + wrong)


async def test_without_work_or_shift_machines_stand(tmp_path: Path) -> None:
    truth = await lived(tmp_path / "one")
    start = next(rows(truth, "start"))["t"]
    states = [row for row in rows(truth, "state") if row["machine"] == "imm"]
    assert states[-1]["state"] == "idle"
    made = [
        row["value"] for row in rows(truth) if row["machine"] == "imm" and row["signal"] == "parts_counter"
    ]
    assert made[-1] == 12, "8 and 4 parts were ordered"
    press = [row for row in rows(truth, "state") if row["machine"] == "press"]
    assert all(row["state"] != "running" or row["from"] < start + 181 * 10**9 for row in press)


async def test_the_meter_measures_the_hall_and_the_compressor_feeds_it(tmp_path: Path) -> None:
    truth = await lived(tmp_path / "one")
    power = [
        row["value"] for row in rows(truth) if row["machine"] == "meter" and row["signal"] == "active_power"
    ]
    assert max(power) > 20_000, "compressor, moulding machine and press together"
    alone = await lived(tmp_path / "two", TEXT.replace("  - {id: imm, kind: moulding, face: jsonl}\n", "").replace(
        "  - {id: A-1, machine: imm, parts: 8}\n  - {id: A-2, machine: imm, parts: 4}\n", "  []\n").replace(
        "  - {at: 30s, machine: imm, fault: scrap_burst, for: 10s}\n", ""))  # fmt: skip
    less = [
        row["value"] for row in rows(alone) if row["machine"] == "meter" and row["signal"] == "active_power"
    ]
    assert sum(less) / len(less) < sum(power) / len(power) - 1000


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("kind: legacy", "kind: lathe", "no machine kind 'lathe'"),
        ("id: press", "id: imm", "two machines are called 'imm'"),
        ("at: 30s", "at: soon", "'soon' is no duration"),
        ("zone: Europe/Brussels", "zone: Mars/Base", "zone 'Mars/Base' is unknown"),
        ('from: "06:00"', 'from: "6 am"', "'6 am' is no time of day"),
        ("id: A-1, machine: imm", "id: A-1, machine: nobody", "no machine 'nobody'"),
        ("parts: 8", "pieces: 8", "pieces"),
        ("parts: 8", "parts: -8", ">= 1.*parts"),
        ("version: 1", "version: 1\nspeed: -3", ">= 0.0.*speed"),
        ("version: 1", "version: 1\nspeed: .nan", ">= 0.0.*speed"),
        ("version: 1", "version: 2", "version"),
        ("seed: 42", "seed: [", "scenario.yaml"),
    ],
)
def test_mistakes_are_said_with_their_place(old: str, new: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text(TEXT.replace(old, new), encoding="utf-8")
    with pytest.raises(SimulatorError, match=words):
        read(file)


async def test_a_fault_that_cannot_be_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match="has no fault 'chatter'"):
        await lived(tmp_path / "one", TEXT.replace("scrap_burst", "chatter"))


def test_a_night_shift_goes_over_midnight() -> None:
    from datetime import datetime

    night = Shift("night", 22 * 3600, 6 * 3600, days=frozenset({4}))  # Friday's
    assert night.covers(datetime(2026, 1, 30, 23, 0))  # noqa: DTZ001
    assert night.covers(datetime(2026, 1, 31, 5, 59))  # noqa: DTZ001
    assert not night.covers(datetime(2026, 1, 30, 5, 0))  # noqa: DTZ001
    assert not night.covers(datetime(2026, 1, 31, 23, 0))  # noqa: DTZ001
