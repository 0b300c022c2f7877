"""The physics of the other machines: what must hold whatever the seed, and what a fault must change."""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.machines import kind
from simulators.machines.cnc import Cnc
from simulators.machines.cnc5 import RATE_HZ, Cnc5, depth_limit
from simulators.machines.moulding import CAVITIES, PHASES, WINDOW_CUSHION, Moulding
from simulators.machines.packaging import INSIDE, STATES, Packaging
from simulators.machines.robot import JOINTS, MAX_ACCELERATION, MAX_SPEED, Robot, duration, profile
from simulators.model import Model
from tests.simulators.runs import START

# PackML: what may follow what (TR88.00.02, figure 5), for the states that this cell has.
NEXT = {
    "Resetting": {"Idle"},
    "Idle": {"Starting"},
    "Starting": {"Execute"},
    "Execute": {"Holding", "Suspending", "Completing", "Aborting"},
    "Holding": {"Held"},
    "Held": {"Unholding"},
    "Unholding": {"Execute"},
    "Suspending": {"Suspended"},
    "Suspended": {"Unsuspending"},
    "Unsuspending": {"Execute"},
    "Completing": {"Complete"},
    "Complete": {"Resetting"},
    "Aborting": {"Aborted"},
    "Aborted": {"Clearing"},
    "Clearing": {"Stopped"},
    "Stopped": {"Resetting"},
}


def lived(
    model: Model, seconds: float, faults: Mapping[float, tuple[str, bool]] | None = None
) -> list[dict[str, Any]]:
    """All values at each step; faults: at which second which one begins (True) or ends."""
    seen = [dict(model.values or model.begin(START))]
    wanted = dict(faults or {})
    for number in range(1, round(seconds * 1000 / model.period_ms) + 1):
        now = number * model.period_ms / 1000
        for at in [at for at in wanted if at <= now]:
            fault, on = wanted.pop(at)
            model.faults.update({fault: 1.0}) if on else model.faults.pop(fault)
        model.step(START + number * model.period_ms * 1_000_000, model.period_ms / 1000)
        seen.append({**model.values, "state": model.state})
    return seen


@given(st.floats(0.1, 180), st.floats(0, 1))
def test_a_trapezoid_keeps_to_its_joint_and_arrives(distance: float, part: float) -> None:
    seconds = duration(distance)
    _, speed, rate = profile(distance, seconds, part * seconds)
    assert abs(speed) <= MAX_SPEED + 1e-9
    assert abs(rate) <= MAX_ACCELERATION + 1e-9
    assert profile(distance, seconds, seconds)[0] == pytest.approx(distance)
    assert profile(-distance, seconds, part * seconds)[1] == pytest.approx(-speed)


def test_robot_speed_is_the_change_of_position() -> None:
    robot = kind("robot")("r", 3)
    assert isinstance(robot, Robot)
    for before, after in pairwise(lived(robot, 120)):
        for n in range(1, JOINTS + 1):
            moved = (float(after[f"joint_{n}_position"]) - float(before[f"joint_{n}_position"])) / 0.1
            low, high = sorted((float(before[f"joint_{n}_speed"]), float(after[f"joint_{n}_speed"])))
            assert low - MAX_ACCELERATION * 0.1 - 0.1 <= moved <= high + MAX_ACCELERATION * 0.1 + 0.1


def test_a_protective_stop_freezes_the_robot_and_it_goes_on_from_there() -> None:
    robot = kind("robot")("r", 3)
    seen = lived(robot, 60, {20.0: ("protective_stop", True), 35.0: ("protective_stop", False)})
    stopped = seen[201:350]
    assert {row["state"] for row in stopped} == {"protective_stop"}
    assert all(row["protective_stop"] is True and row["joint_1_speed"] == 0.0 for row in stopped)
    assert len({row["joint_1_position"] for row in stopped}) == 1
    assert (
        max(abs(float(b["joint_1_position"]) - float(a["joint_1_position"])) for a, b in pairwise(seen))
        < MAX_SPEED * 0.1 + 0.1
    )
    assert len({row["joint_1_position"] for row in seen[350:]}) > 5


def test_robot_motors_warm_up_and_stay_sane() -> None:
    seen = lived(kind("robot")("r", 4), 600)
    assert all(22 < float(row[f"motor_{n}_temperature"]) < 80 for row in seen for n in range(1, JOINTS + 1))
    assert int(seen[-1]["cycle_counter"]) > 20


def test_moulding_counts_parts_and_not_cycles() -> None:
    seen = lived(kind("moulding")("m", 5), 300)
    for row in seen:
        assert int(row["parts_counter"]) == CAVITIES * int(row["cycle_counter"])
        assert int(row["good_parts"]) + int(row["bad_parts"]) == int(row["parts_counter"])
    assert 13 <= int(seen[-1]["cycle_counter"]) <= 16
    assert [row["good_parts"] for row in seen] == sorted(int(row["good_parts"]) for row in seen)
    assert {str(row["phase"]) for row in seen} == set(PHASES)
    assert float(seen[-1]["cycle_time"]) == pytest.approx(sum(PHASES.values()), abs=0.5)


def test_moulding_pressure_only_where_the_screw_pushes() -> None:
    for row in lived(kind("moulding")("m", 5), 60):
        if row["phase"] in ("closing", "opening", "ejection"):
            assert float(row["injection_pressure"]) < 10
            assert float(row["clamp_force"]) == 0.0
        if row["phase"] in ("injection", "holding"):
            assert float(row["clamp_force"]) == 850.0


def test_a_leaking_check_valve_makes_scrap_of_the_cushion() -> None:
    well, leaking = (
        lived(kind("moulding")("m", 5), 240),
        lived(kind("moulding")("m", 5), 240, {60.0: ("leak", True)}),
    )
    assert int(well[-1]["bad_parts"]) < 4
    assert float(leaking[-1]["cushion"]) < WINDOW_CUSHION[0]
    assert int(leaking[-1]["bad_parts"]) > 20
    assert leaking[-1]["cycle_quality"] == 1


def test_a_dead_heater_drifts_then_scraps_then_stops() -> None:
    moulding = kind("moulding")("m", 5)
    assert isinstance(moulding, Moulding)
    seen = lived(moulding, 700, {30.0: ("heater_failure", True)})
    zone = [float(row["zone_3"]) for row in seen[400::50]]
    assert all(after < before + 0.5 for before, after in pairwise(zone))
    assert int(seen[-1]["bad_parts"]) > 20
    assert seen[-1]["state"] == "alarm"
    assert seen[-1]["alarm_text"] == "Barrel too cold"


@pytest.mark.parametrize("fault", ["jam", "starvation", "blocked", "abort", "scrap_burst", "heater_failure"])
def test_packaging_keeps_to_packml_and_loses_no_pack(fault: str) -> None:
    cell = kind("packaging")("p", 2)
    assert isinstance(cell, Packaging)
    seen = lived(cell, 900, {60.0: (fault, True), 240.0: (fault, False)})
    states = [str(row["state_text"]) for row in seen]
    for before, after in pairwise(states):
        assert before == after or after in NEXT[before], (before, after)
    for row in seen:
        assert row["state_current"] == STATES[str(row["state_text"])]
        assert 0 <= int(row["prod_consumed"]) - int(row["prod_processed"]) <= INSIDE
        assert int(row["prod_defective"]) <= int(row["prod_processed"])
    struck = set(states[320:1150])
    wanted = {
        "jam": "Held",
        "starvation": "Suspended",
        "blocked": "Suspended",
        "abort": "Aborted",
        "heater_failure": "Held",
    }
    assert wanted.get(fault, "Execute") in struck
    assert int(seen[-1]["prod_processed"]) > int(seen[1250]["prod_processed"]), "it goes on afterwards"


def test_scrap_burst_is_seen_in_the_rejects() -> None:
    well = lived(kind("packaging")("p", 2), 240)[-1]
    burst = lived(kind("packaging")("p", 2), 240, {1.0: ("scrap_burst", True)})[-1]
    assert int(well["prod_defective"]) < 0.03 * int(well["prod_processed"])
    assert int(burst["prod_defective"]) == pytest.approx(0.5 * int(burst["prod_processed"]), rel=0.15)


def test_the_chamber_reaches_both_ends_and_turns_back() -> None:
    seen = lived(kind("climate")("c", 1), 9000)
    air = [float(row["temperature"]) for row in seen]
    assert max(air) == pytest.approx(85.0, abs=1.5)
    assert min(air) == pytest.approx(-20.0, abs=1.5)
    assert int(seen[-1]["cycle_counter"]) >= 1
    assert all(abs(after - before) < 0.2 for before, after in pairwise(air))
    assert all(abs(float(row["piece_temperature"]) - float(row["temperature"])) < 25 for row in seen)


def test_a_chamber_without_heater_does_not_get_hot_and_says_so() -> None:
    seen = lived(kind("climate")("c", 1), 1500, {300.0: ("heater_failure", True)})
    assert max(float(row["temperature"]) for row in seen[600:]) < 40
    assert seen[-1]["alarm"] is True
    assert seen[-1]["state"] == "heating"


def test_the_press_counts_strokes_only_under_green() -> None:
    seen = lived(kind("legacy")("l", 2), 1500)
    for before, after in pairwise(seen):
        assert sum(bool(after[f"light_{colour}"]) for colour in ("red", "yellow", "green")) == 1
        assert 0 <= int(after["pulses"]) - int(before["pulses"]) <= 1
        assert after["pulses"] == before["pulses"] or before["light_green"]
    assert int(seen[-1]["pulses"]) > 200
    jammed = lived(kind("legacy")("l", 2), 120, {10.0: ("jam", True)})
    assert jammed[-1]["light_red"] is True
    assert jammed[-1]["pulses"] == jammed[200]["pulses"]


def five_axes(seconds: float, faults: Mapping[float, tuple[str, bool]] | None = None) -> list[dict[str, Any]]:
    return lived(kind("cnc5")("m", 11), seconds, faults)


def test_the_waveform_is_the_vibration() -> None:
    checked = 0
    for before, after in pairwise(five_axes(240)):
        wave = after["vibration_waveform"]
        assert isinstance(wave, tuple)
        if wave != before["vibration_waveform"] and any(wave):
            rms = math.sqrt(sum(sample * sample for sample in wave) / len(wave))
            assert rms == pytest.approx(float(after["vibration_rms"]), rel=0.35, abs=0.05)
            checked += 1
    assert checked > 30


def test_chatter_is_heard_in_vibration_and_in_the_spectrum() -> None:
    well = five_axes(200)
    ill = five_axes(200, {1.0: ("chatter", True)})
    assert max(float(row["vibration_rms"]) for row in ill) > 5 > float(well[0]["vibration_rms"])
    steps = [(a, b) for a, b in pairwise(ill) if a["vibration_waveform"] != b["vibration_waveform"]]
    wave = next(b["vibration_waveform"] for a, b in steps if a["chatter"] and b["chatter"])
    heard = {float(row["chatter_frequency"]) for row in ill if row["chatter"]}
    assert len(heard) == 1
    assert isinstance(wave, tuple)
    hertz = heard.pop()
    assert _tone(wave, hertz) > 3 * _tone(wave, 2 * hertz)


def _tone(wave: tuple[float, ...], hertz: float) -> float:
    angle = [2 * math.pi * hertz * n / RATE_HZ for n in range(len(wave))]
    return math.hypot(
        sum(w * math.cos(a) for w, a in zip(wave, angle, strict=True)),
        sum(w * math.sin(a) for w, a in zip(wave, angle, strict=True)),
    )


def test_stability_lobes_have_pockets() -> None:
    at_pocket, between = 60 * 620.0 / 4, 60 * 620.0 / 4 / 1.5
    assert depth_limit(at_pocket, 4) == pytest.approx(12.0)
    assert depth_limit(between, 4) == pytest.approx(3.0)


def test_lot_size_one_changes_pallet_and_part_each_time() -> None:
    model = kind("cnc5")("m", 11)
    assert isinstance(model, Cnc5)
    seen = five_axes(600)
    orders = [a for a, b in pairwise(row["order"] for row in seen) if a != b]
    parts = int(seen[-1]["part_counter"])
    assert parts >= 2
    assert abs(len(orders) - parts) <= 1
    assert len({int(row["pallet"]) for row in seen}) >= 2


def test_a_broken_tool_jolts_cuts_air_and_stops_the_machine() -> None:
    model = kind("cnc")("c", 7)
    assert isinstance(model, Cnc)
    seen = lived(model, 150, {30.0: ("tool_break", True), 100.0: ("tool_break", False)})
    alarm = next(n for n, row in enumerate(seen) if row.get("alarm_text") == "Tool broken")
    cutting = [row for row in seen[:alarm] if row.get("state") == "cutting"][-40:]
    assert max(float(row["spindle_torque"]) for row in cutting) == 0.0
    assert max(float(row["vibration_rms"]) for row in seen[300:alarm]) > 8
    assert {row["state"] for row in seen[alarm + 1 : 1000]} == {"alarm"}
    assert seen[-1]["state"] != "alarm"
    assert any(float(row["tool_wear"]) < 0.02 for row in seen[1000:]), "a new tool"


def test_wear_is_ten_times_as_fast() -> None:
    def worn(faults: Mapping[float, tuple[str, bool]]) -> float:
        model = kind("cnc")("c", 7)
        assert isinstance(model, Cnc)
        before = dict.fromkeys(range(1, 10), 0.1)
        model.wear.update(before)
        lived(model, 60, faults)
        return sum(model.wear[tool] - before[tool] for tool in before)

    assert worn({0.0: ("tool_wear", True)}) == pytest.approx(10 * worn({}), rel=0.05)


def test_without_coolant_nothing_flows_and_tools_suffer() -> None:
    seen = lived(kind("cnc")("c", 7), 60, {0.0: ("coolant_loss", True)})
    assert not any(row["coolant_on"] for row in seen[2:])
    assert {row["coolant_pressure"] for row in seen[2:]} == {0.0}


def test_a_loose_hose_loads_the_compressor_more() -> None:
    def loaded(faults: Mapping[float, tuple[str, bool]]) -> int:
        return sum(bool(row["loaded"]) for row in lived(kind("compressor")("k", 1), 900, faults))

    assert loaded({1.0: ("leak", True)}) > 1.2 * loaded({})
