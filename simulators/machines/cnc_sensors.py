"""What the sensors and the control of the milling machine say: the machine's state, with the noise of each sensor."""

from typing import TYPE_CHECKING

from simulators import physics
from simulators.machines.cnc_mishaps import WORDS
from simulators.machines.cnc_work import AMBIENT_C, RATED_KW, STATES, STROKE
from simulators.model import Value

if TYPE_CHECKING:
    from simulators.machines.cnc import Cnc


def read(m: "Cnc") -> dict[str, Value]:
    """All signals, unrounded."""
    return {**control(m), **spindle(m), **axes(m), **supply(m)}


def _noise(m: "Cnc", signal: str, sigma: float) -> float:
    return m.chance(signal).gauss(0, sigma)


def control(m: "Cnc") -> dict[str, Value]:
    state = STATES[m.state]
    alarm = m.stop.alarm if m.stop else 0
    return {
        "execution": state.execution,
        "execution_code": state.code,
        "mode": "MANUAL" if m.state == "setup" else "AUTOMATIC",
        "program": m.program.name,
        "block_number": m.block + int(m.travelled / STROKE),
        "part_counter": sum(m.parts.values()),
        "good_parts": m.parts["good"],
        "bad_parts": m.parts["bad"],
        "cutting_time": m.cutting_ms,
        "dimension_error": m.error_um,
        "tool_number": m.tool,
        "tool_wear": m.vb,
        "tool_life_remaining": 100 * (1 - m.vb / physics.WORN_OUT_MM),
        "door_closed": m.state not in ("part_change", "setup"),
        "alarm_number": alarm,
        "alarm_text": WORDS.get(alarm, ""),
        "job_order": m.job.order,
        "job_part": m.job.part,
        "job_quantity": m.job.quantity,
    }


def spindle(m: "Cnc") -> dict[str, Value]:
    power = m.idle_kw() + m.cut_kw
    shake = m.shake_mm_s()
    return {
        "spindle_speed": m.rpm + (_noise(m, "spindle_speed", 1.2) if m.rpm else 0.0),
        "spindle_speed_set": m.phase.cut.rpm if m.phase.cut else 0.0,
        "spindle_override": 100.0,
        "spindle_load": 100 * power / RATED_KW,
        "spindle_power": power,
        "spindle_torque": physics.torque_nm(m.cut_kw, m.rpm),
        "spindle_temperature": m.heat["spindle"],
        "vibration_rms": shake * m.chance("vibration_rms").lognormvariate(0, 0.06) + 0.02,
        "feed_rate": m.feed,
        "feed_override": m.override,
    }


def axes(m: "Cnc") -> dict[str, Value]:
    read: dict[str, Value] = {f"{axis}_position": place for axis, place in m.position.items()}
    for axis, hold in (("x", 4.0), ("y", 4.5), ("z", 11.0)):  # the z axis carries its own weight
        push = 6.0 * m.cut_kw * (0.4 if axis == "z" else 1.0)
        load = hold + abs(m.moved[axis]) / 450 + push + _noise(m, f"{axis}_load", 0.25)
        read[f"{axis}_load"] = load
        read[f"{axis}_temperature"] = m.heat[axis]
    return read


def supply(m: "Cnc") -> dict[str, Value]:
    flowing = m.cut is not None and not m.failing("coolant_loss")
    pulse = physics.zigzag(m.cutting_ms / 1000, 20) / 20
    return {
        "coolant_on": flowing,
        "coolant_pressure": 18.0 + _noise(m, "coolant_pressure", 0.15) if flowing else 0.0,
        "coolant_level": 92.0 - m.cutting_ms / 3_600_000 * 1.5,
        "coolant_temperature": m.heat["coolant"],
        "hydraulic_pressure": 58.0 + 4.0 * pulse + _noise(m, "hydraulic_pressure", 0.05),
        "energy": m.watt_hours,
        "ambient_temperature": AMBIENT_C + _noise(m, "ambient_temperature", 0.02),
    }
