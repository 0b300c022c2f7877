"""The machines without any face: reproducible, in their types, and obeying their physics."""

import math
import struct
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from simulators import units
from simulators.errors import SimulatorError
from simulators.machines import KINDS, kind
from simulators.machines.cnc import Cnc
from simulators.machines.cnc_work import PROGRAMS, RATED_KW
from simulators.model import INTEGERS, Signal, Type, Value, publications
from tests.simulators.runs import START, Run, column, run

ALL = tuple(KINDS)


@pytest.fixture(scope="module")
def shift() -> Run:
    """Three quarters of an hour of milling."""
    return run("cnc", 7, 2700)


@pytest.mark.parametrize("name", ALL)
def test_one_seed_is_one_run(name: str) -> None:
    assert run(name, 42, 120).changes == run(name, 42, 120).changes


@pytest.mark.parametrize("name", ALL)
def test_another_seed_is_another_run(name: str) -> None:
    assert run(name, 42, 120).changes != run(name, 43, 120).changes


@pytest.mark.parametrize("name", ALL)
def test_two_machines_of_one_kind_differ(name: str) -> None:
    assert run(name, 42, 120, "one").changes != run(name, 42, 120, "two").changes


@pytest.mark.parametrize("name", ALL)
def test_the_randomness_of_a_signal_is_its_own(name: str) -> None:
    model, other = kind(name)("m", 1), kind(name)("m", 1)
    other.chance("a signal that was added").random()
    drawn = [model.chance("pressure").random() for _ in range(5)]
    assert drawn == [other.chance("pressure").random() for _ in range(5)]


@pytest.mark.parametrize("name", ALL)
def test_declarations_are_whole(name: str) -> None:
    model = kind(name)
    names = [signal.name for signal in model.signals]
    assert len(set(names)) == len(names)
    assert {signal.unit for signal in model.signals} - {""} <= set(units.SYMBOLS)
    assert all(signal.description for signal in model.signals)
    if model.interface == "mqtt":
        assert sorted(n for p in publications(model("m", 1)) for n in p.fields) == sorted(names)
    else:
        addresses = [signal.address or signal.name for signal in model.signals]
        assert len(set(addresses)) == len(addresses)


@settings(max_examples=10, deadline=None, phases=[Phase.generate])
@given(name=st.sampled_from(ALL), seed=st.integers(0, 2**64))
def test_every_value_is_of_its_type_and_range(name: str, seed: int) -> None:
    done = run(name, seed, 90)
    signals = {signal.name: signal for signal in done.model.signals}
    last: dict[str, int] = {}
    for t, signal, value in done.changes:
        _check(signals[signal], value)
        assert t > last.get(signal, 0), "one value per signal and time"
        last[signal] = t
    assert set(last) == set(signals)


def _check(signal: Signal, value: Value) -> None:
    if signal.length:
        assert isinstance(value, tuple)
        assert len(value) == signal.length
        for sample in set(value):
            _check(replace(signal, length=0), sample)
    elif signal.type is Type.STRING:
        assert type(value) is str
    elif signal.type is Type.BOOLEAN:
        assert type(value) is bool
    elif signal.type in INTEGERS:
        assert type(value) is int
        assert INTEGERS[signal.type][0] <= value <= INTEGERS[signal.type][1]
    else:
        assert type(value) is float
        assert math.isfinite(value)
        assert signal.low is None or value >= signal.low
        assert signal.high is None or value <= signal.high
        if signal.type is Type.FLOAT:
            assert struct.unpack("<f", struct.pack("<f", value))[0] == value


@pytest.mark.parametrize("name", ALL)
def test_only_changes_are_reported(name: str) -> None:
    known: dict[str, Value] = {}
    for _, signal, value in run(name, 3, 60).changes:
        assert known.get(signal) != value
        known[signal] = value


@pytest.mark.parametrize(
    ("name", "states"),
    [("cnc", 20), ("energy", 20), ("compressor", 20), ("moulding", 20), ("robot", 20), ("packaging", 8), ("legacy", 4)],
)  # fmt: skip
def test_states_follow_each_other_without_a_hole(name: str, states: int) -> None:
    done = run(name, 5, 900)
    assert len(done.states) > states
    assert done.states[0].begin == START
    assert done.states[-1].end == START + 900 * 10**9
    for before, after in pairwise(done.states):
        assert before.begin < before.end == after.begin
        assert before.state != after.state


def test_execution_says_what_the_machine_does(shift: Run) -> None:
    said = {"cutting": "ACTIVE", "rapid": "ACTIVE", "tool_change": "ACTIVE"}
    said |= {"part_change": "PROGRAM_COMPLETED", "micro_stop": "INTERRUPTED", "setup": "STOPPED"}
    execution, by_time = "", {}
    for t, signal, value in shift.changes:
        if signal == "execution":
            execution = str(value)
            by_time[t] = execution
    assert {span.state for span in shift.states} >= {
        "cutting",
        "rapid",
        "tool_change",
        "part_change",
        "micro_stop",
    }
    current = by_time[START]
    for span in shift.states:
        current = by_time.get(span.begin, current)
        assert current == said[span.state]


def test_times_of_the_states_are_the_fields(shift: Run) -> None:
    limits = {
        "tool_change": (4, 8.1),
        "part_change": (20, 90.1),
        "micro_stop": (3, 300),
        "setup": (600, 2400.1),
    }
    for span in shift.states[1:-1]:
        if span.state in limits:
            low, high = limits[span.state]
            assert low <= (span.end - span.begin) / 1e9 <= high, span


def test_load_follows_power(shift: Run) -> None:
    steps = _rows(shift, ("spindle_power", "spindle_load"))
    assert max(power for power, _ in steps) > 1.0
    for power, load in steps:
        assert load == pytest.approx(100 * power / RATED_KW, abs=0.06)


def test_torque_times_speed_is_less_than_the_drive_gives(shift: Run) -> None:
    for torque, speed, power in _rows(shift, ("spindle_torque", "spindle_speed", "spindle_power")):
        assert torque * speed / 9549 <= power + 0.02


def _rows(done: Run, names: tuple[str, ...]) -> list[tuple[float, ...]]:
    """The signals side by side at each moment."""
    known: dict[str, float] = {}
    table: dict[int, tuple[float, ...]] = {}
    for t, signal, value in done.changes:
        if signal in names:
            known[signal] = float(value)
        if len(known) == len(names):
            table[t] = tuple(known[name] for name in names)
    return list(table.values())


def test_speeds_are_those_of_the_programs(shift: Run) -> None:
    wanted = {round(op.rpm, 1) for program in PROGRAMS for op in program.operations} | {0.0}
    assert {round(value, 1) for value in column(shift, "spindle_speed_set")} <= wanted


def test_counters_only_go_up(shift: Run) -> None:
    for counter in ("part_counter", "good_parts", "bad_parts", "cutting_time", "energy"):
        counts = column(shift, counter)
        assert counts == sorted(counts), counter
    last: dict[str, Any] = {**shift.model.values}
    assert last["part_counter"] == int(last["good_parts"]) + int(last["bad_parts"])
    assert int(last["part_counter"]) > 10


def test_temperatures_stay_what_a_machine_survives(shift: Run) -> None:
    for signal in (
        "spindle_temperature",
        "x_temperature",
        "y_temperature",
        "z_temperature",
        "coolant_temperature",
    ):
        assert min(column(shift, signal)) > 15, signal
        assert max(column(shift, signal)) < 70, signal


def test_wear_only_grows_while_a_tool_is_in_use(shift: Run) -> None:
    for (before, tool), (after, same) in pairwise(_rows(shift, ("tool_wear", "tool_number"))):
        assert tool != same or after >= before
        assert after < 0.33


def test_a_worn_tool_gets_a_new_insert_at_the_next_change() -> None:
    model = kind("cnc")("cnc-1", 1)
    model.begin(START)
    assert isinstance(model, Cnc)
    for tool in range(1, 10):
        model.wear[tool] = 0.2999
    seen = []
    for number in range(1, 1500):
        model.step(START + number * 100_000_000, 0.1)
        seen.append((model.tool, model.vb))
    assert max(wear for _, wear in seen) > 0.3
    assert any(wear < 0.05 for _, wear in seen)


def test_the_door_is_open_only_at_standstill(shift: Run) -> None:
    for closed, feed in _rows(shift, ("door_closed", "feed_rate")):
        assert closed or feed < 60


def test_energy_counter_is_the_integral_of_power() -> None:
    done = run("energy", 1, 3600)
    energy = column(done, "energy")
    assert energy == sorted(energy)
    used = sum(column(done, "active_power")) / 3.6e6
    assert energy[-1] - energy[0] == pytest.approx(used, rel=0.02)


def test_phases_add_up_to_the_power() -> None:
    names = (
        "active_power",
        "power_factor",
        *(f"{q}_l{n}" for q in ("voltage", "current") for n in (1, 2, 3)),
    )
    for power, factor, u1, u2, u3, i1, i2, i3 in _rows(run("energy", 1, 600), names):
        assert (u1 * i1 + u2 * i2 + u3 * i3) * factor == pytest.approx(power, rel=0.005)
        assert 0.6 <= factor <= 0.9
        assert 225.4 <= min(u1, u2, u3) <= max(u1, u2, u3) <= 234.6


def test_compressor_keeps_the_pressure() -> None:
    done = run("compressor", 1, 3600)
    pressure = column(done, "pressure")
    assert 6.3 < min(pressure) < 6.6
    assert 7.4 < max(pressure) < 7.7
    assert len(column(done, "loaded")) > 20
    for loaded, power in _rows(done, ("loaded", "power"))[20:]:
        assert 3.0 < power < 19.0, loaded


def test_wire_saturates_rounds_and_has_no_negative_zero() -> None:
    signal = Signal("s", Type.DOUBLE, "", low=-1, high=10, decimals=1)
    assert signal.wire(99) == 10.0
    assert signal.wire(-99) == -1.0
    assert str(signal.wire(-0.01)) == "0.0"
    assert Signal("b", Type.BYTE, "").wire(300) == 255
    assert Signal("f", Type.FLOAT, "", decimals=3).wire(0.1) == 0.10000000149011612


def test_an_unknown_kind_is_told_the_known_ones() -> None:
    with pytest.raises(SimulatorError, match="There are: climate, cnc, cnc5, compressor"):
        kind("lathe")
