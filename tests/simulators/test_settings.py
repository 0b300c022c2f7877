"""Settings that are written: checked, in force from the next step on, in the truth; alarms as the models have them."""

from __future__ import annotations

from typing import Any

import pytest

from simulators.live import WAITING, Refused
from simulators.machines import KINDS, kind
from simulators.model import Model
from tests.simulators.runs import START

MODELS = [kind(name)(f"{name}-1", 42) for name in KINDS]


def made(name: str) -> Model:
    model = kind(name)(f"{name}-1", 42)
    model.begin(START)
    return model


def lived(model: Model, seconds: float) -> list[frozenset[str]]:
    """The alarms of every step."""
    dt = model.period_ms / 1000
    seen = []
    for number in range(round(seconds / dt)):
        model.step(START + (number + 1) * model.period_ms * 1_000_000, dt)
        seen.append(model.alarming())
    return seen


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.kind)
def test_what_is_declared_is_there(model: Model) -> None:
    names = {signal.name for signal in model.signals}
    assert {setting.signal for setting in model.settings} <= names
    assert set(model.remembered) <= names
    assert len({alarm.name for alarm in model.alarms}) == len(model.alarms)
    assert all(1 <= alarm.severity <= 1000 for alarm in model.alarms)


@pytest.mark.parametrize(
    ("name", "signal", "value"),
    [
        ("moulding", "zone_3_set", 240.0),
        ("moulding", "zone_3_set", 240),
        ("packaging", "mach_speed", 60.0),
        ("packaging", "job_quantity", 12),
        ("robot", "speed_override", 50.0),
        ("climate", "hot_set", 60.0),
        ("cnc", "feed_override", 50.0),
        ("cnc", "job_order", "A-77"),
        ("cnc5", "job_part", "O3177_HOUSING"),
    ],
)
def test_a_setting_counts_from_the_next_step_on(name: str, signal: str, value: Any) -> None:
    model = made(name)
    before = model.values[signal]
    model.set(signal, value, "ann")
    assert model.values[signal] == before != value
    model.step(START + model.period_ms * 1_000_000, model.period_ms / 1000)
    assert model.values[signal] == value
    assert [(each.who, each.signal, each.value) for each in model.written] == [("ann", signal, value)]
    model.step(START + 2 * model.period_ms * 1_000_000, model.period_ms / 1000)
    assert model.written == []


@pytest.mark.parametrize(
    ("name", "signal", "value", "sort"),
    [
        ("moulding", "zone_3", 240.0, "unknown"),
        ("moulding", "zone_9_set", 240.0, "unknown"),
        ("moulding", "zone_3_set", "hot", "type"),
        ("moulding", "zone_3_set", True, "type"),
        ("moulding", "zone_3_set", 350.1, "range"),
        ("moulding", "zone_3_set", float("nan"), "range"),
        ("moulding", "zone_3_set", float("inf"), "range"),
        ("packaging", "job_quantity", 1.5, "type"),
        ("packaging", "job_quantity", -1, "range"),
        ("cnc", "job_part", "O9999_NOTHING", "range"),
        ("cnc", "job_order", "x" * 65, "range"),
        ("cnc", "job_order", "two\nlines", "range"),
        ("cnc", "job_order", 7, "type"),
        ("energy", "power", 7.0, "unknown"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    name: str, signal: str, value: Any, sort: str
) -> None:
    model = made(name)
    with pytest.raises(Refused) as refused:
        model.set(signal, value, "ann")
    assert refused.value.sort == sort
    assert model.waiting == []


def test_what_waits_for_a_step_is_bounded() -> None:
    model = made("robot")
    for _ in range(WAITING):
        model.set("speed_override", 50.0, "")
    with pytest.raises(Refused, match="wait already"):
        model.set("speed_override", 50.0, "")


def test_a_job_is_made_and_then_the_machine_waits_for_the_next() -> None:
    model = made("packaging")
    model.set("job_quantity", 20, "")
    lived(model, 120)
    assert model.parts_made == 20
    assert model.state == "Idle"
    model.set("job_quantity", 10, "")
    lived(model, 60)
    assert model.parts_made == 30


def test_a_slower_robot_handles_fewer_parts_on_the_same_way() -> None:
    fast, slow = made("robot"), made("robot")
    slow.set("speed_override", 25.0, "")
    lived(fast, 120)
    lived(slow, 120)
    assert 0 < slow.parts_made < fast.parts_made
    speeds = [max(abs(speed) for speed in each.speeds) for each in (fast, slow)]  # type: ignore[attr-defined]
    assert max(speeds) <= 90.0


def test_a_zone_follows_its_set_point_and_tells_while_it_is_away() -> None:
    model = made("moulding")
    model.set("zone_4_set", 200.0, "")
    seen = lived(model, 900)
    assert "ZoneOutOfTolerance" in seen[10]
    assert seen[-1] == frozenset()
    assert abs(float(model.values["zone_4"]) - 200.0) < 3.0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "fault", "alarm", "within"),
    [
        ("cnc", "tool_break", "ToolBroken", 300),
        ("cnc", "coolant_loss", "CoolantLoss", 1),
        ("moulding", "heater_failure", "ZoneOutOfTolerance", 600),
        ("moulding", "starvation", "NoMaterial", 300),
        ("robot", "protective_stop", "ProtectiveStop", 1),
        ("robot", "jam", "PartStuck", 1),
        ("packaging", "jam", "Jam", 1),
        ("packaging", "abort", "EmergencyStop", 1),
        ("packaging", "heater_failure", "SealingJawCold", 120),
        ("climate", "heater_failure", "TemperatureDeviation", 1200),
    ],
)
def test_a_fault_raises_its_alarm(name: str, fault: str, alarm: str, within: float) -> None:
    model = made(name)
    assert alarm in {each.name for each in model.alarms}
    assert alarm not in lived(model, 5)[-1]
    model.faults[fault] = 1.0
    assert any(alarm in on for on in lived(model, within))
