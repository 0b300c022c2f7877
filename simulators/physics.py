"""The equations behind the machines, as pure functions, so that each can be checked by hand.

Workshop formulas (Sandvik/Kennametal handbooks for milling, Taylor 1907 for tool life); no machine knows another
way to come to a power or a wear than through here.
"""

import math

WORN_OUT_MM = 0.3  # flank wear VB at which a milling insert is changed (ISO 8688)
BREAK_IN_MM = 0.05
ACCELERATION_MM = 0.2
# Time of the three stages below in units of 1/rate: 0.05/3 + 0.15 + ln(3)/20.
STAGES = BREAK_IN_MM / 3 + (ACCELERATION_MM - BREAK_IN_MM) + math.log(3) / 20


def cutting_power_kw(ap: float, ae: float, vf: float, kc: float, eta: float = 0.8) -> float:
    """Spindle power of a cut: depth and width in mm, feed in mm/min, specific force in MPa, drive efficiency."""
    return ap * ae * vf * kc / (60e6 * eta)


def spindle_rpm(vc: float, diameter: float) -> float:
    """Cutting speed in m/min and tool diameter in mm to revolutions per minute."""
    return 1000.0 * vc / (math.pi * diameter)


def table_feed(fz: float, teeth: int, rpm: float) -> float:
    """Feed per tooth in mm to mm/min."""
    return fz * teeth * rpm


def torque_nm(power_kw: float, rpm: float) -> float:
    """Power at the spindle to torque; a standing spindle has none."""
    return power_kw * 9549.0 / rpm if rpm > 1.0 else 0.0


def tool_life_min(vc: float, constant: float, exponent: float = 0.25) -> float:
    """Taylor: vc * T^k = C, solved for T in minutes."""
    return float((constant / vc) ** (1.0 / exponent))


def wear_rate(vb: float, life_min: float) -> float:
    """dVB/dt in mm per minute of cutting: break-in, linear, accelerating from 0.2 mm; reaches 0.3 mm at `life_min`."""
    rate = STAGES / life_min
    if vb < BREAK_IN_MM:
        return 3.0 * rate
    if vb < ACCELERATION_MM:
        return rate
    return rate * (1.0 + (vb - ACCELERATION_MM) / 0.05)


def towards(value: float, target: float, dt: float, tau: float) -> float:
    """First-order approach with time constant tau; exact for a constant target, stable for any step."""
    return target + (value - target) * math.exp(-dt / tau)


def zigzag(distance: float, stroke: float) -> float:
    """Position along a stroke that is walked to and fro."""
    there = distance % (2.0 * stroke)
    return there if there <= stroke else 2.0 * stroke - there


def tank_rate(load: float, use: float, leak: float, volume_m3: float) -> float:
    """dp/dt of a compressed-air tank in bar/s from free-air flows in m3/min (isothermal, p0 = 1.013 bar)."""
    return (load - use - leak) / 60.0 * 1.013 / volume_m3
