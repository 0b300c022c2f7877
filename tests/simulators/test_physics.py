"""The equations, against values worked out by hand or taken from the official tables."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators import physics, units


def test_cutting_power_of_the_reference_cut() -> None:
    assert physics.cutting_power_kw(ap=2, ae=80, vf=280, kc=1800, eta=0.8) == pytest.approx(1.68)


def test_spindle_speed_feed_and_torque() -> None:
    rpm = physics.spindle_rpm(vc=157.0796, diameter=50)
    assert rpm == pytest.approx(1000.0, rel=1e-5)
    assert physics.table_feed(0.1, 4, rpm) == pytest.approx(400.0, rel=1e-5)
    assert physics.torque_nm(1.68, 1000.0) == pytest.approx(16.042, rel=1e-4)
    assert physics.torque_nm(1.68, 0.0) == 0.0


def test_taylor_life() -> None:
    assert physics.tool_life_min(vc=150, constant=350, exponent=0.25) == pytest.approx((350 / 150) ** 4)
    assert physics.tool_life_min(vc=350, constant=350) == pytest.approx(1.0)


@pytest.mark.parametrize("life", [5.0, 29.6, 120.0])
def test_wear_reaches_its_limit_when_taylor_says_so(life: float) -> None:
    vb, minutes, dt = 0.0, 0.0, life / 20_000
    while vb < physics.WORN_OUT_MM:
        vb += physics.wear_rate(vb, life) * dt
        minutes += dt
    assert minutes == pytest.approx(life, rel=0.005)


@given(st.floats(-500, 500), st.floats(-500, 500), st.floats(0.001, 1e4), st.floats(0.01, 1e4))
def test_first_order_never_overshoots(value: float, target: float, dt: float, tau: float) -> None:
    reached = physics.towards(value, target, dt, tau)
    slack = 1e-9 * max(1.0, abs(value), abs(target))
    assert min(value, target) - slack <= reached <= max(value, target) + slack


def test_first_order_after_one_time_constant() -> None:
    assert physics.towards(0.0, 1.0, dt=60, tau=60) == pytest.approx(1 - math.exp(-1))


def test_tank_pressure_rate() -> None:
    assert physics.tank_rate(load=3.0, use=1.5, leak=0.0, volume_m3=0.5) == pytest.approx(0.05065)


@pytest.mark.parametrize(
    ("code", "number"), [("CEL", 4408652), ("P1", 20529), ("BAR", 4342098), ("H81", 4732977)]
)
def test_unit_ids_of_the_official_table(code: str, number: int) -> None:
    assert units.unit_id(code) == number
