"""A collaborative robot that loads a machine: six joints on trapezoidal profiles, protective stops when somebody comes too
near, and waiting for the operator who brings the parts.

A protective stop freezes the time of the movement: the robot stands where it is and goes on from there. Numbers of modes are
those of OPC 40010-1.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from simulators.live import Alarm, Setting
from simulators.machines.phased import Phased, Step
from simulators.model import Signal, Type, Value

JOINTS = 6
MAX_SPEED = 90.0  # °/s
MAX_ACCELERATION = 220.0  # °/s²
AMBIENT_C = 22.0
CALM_S = 420.0  # mean seconds between protective stops
POSES = MappingProxyType(
    {
        "home": (0.0, -90.0, 90.0, -90.0, -90.0, 0.0),
        "above_tray": (38.0, -72.0, 96.0, -114.0, -90.0, 38.0),
        "tray": (38.0, -60.0, 108.0, -138.0, -90.0, 38.0),
        "above_vice": (-52.0, -80.0, 88.0, -98.0, -90.0, -52.0),
        "vice": (-52.0, -66.0, 102.0, -126.0, -90.0, -52.0),
    }
)
GRAVITY = (0.0, 42.0, 24.0, 6.0, 2.0, 0.0)  # N·m that each joint holds
INERTIA = (2.8, 3.4, 1.6, 0.4, 0.3, 0.1)  # kg·m²
WORK = ("above_tray", "tray", "above_tray", "above_vice", "vice", "above_vice")

SIGNALS = (
    *(
        Signal(f"joint_{n}_position", Type.DOUBLE, f"Position of joint {n}", "DD", -360, 360, 3, f"Axes.A{n}.ActualPosition")
        for n in range(1, JOINTS + 1)
    ),
    *(
        Signal(f"joint_{n}_speed", Type.DOUBLE, f"Speed of joint {n}", "E96", -200, 200, 3, f"Axes.A{n}.ActualSpeed")
        for n in range(1, JOINTS + 1)
    ),
    *(
        Signal(f"motor_{n}_temperature", Type.FLOAT, f"Motor temperature of joint {n}", "CEL", 0, 120, 2, f"Axes.A{n}.MotorTemperature")
        for n in range(1, JOINTS + 1)
    ),
    Signal("operational_mode", Type.INT32, "OperationalMode: 3 automatic", address="Safety.OperationalMode"),
    Signal("emergency_stop", Type.BOOLEAN, "Emergency stop", address="Safety.EmergencyStop"),
    Signal("protective_stop", Type.BOOLEAN, "Protective stop", address="Safety.ProtectiveStop"),
    Signal("speed_override", Type.FLOAT, "Speed override", "P1", 0, 100, 0, "Motion.SpeedOverride"),
    Signal("program", Type.STRING, "Task program", address="Task.Program"),
    Signal("program_running", Type.BOOLEAN, "The task program runs", address="Task.Running"),
    Signal("waiting_for_operator", Type.BOOLEAN, "The tray is empty: an operator must come", address="Task.Waiting"),
    Signal("gripper_closed", Type.BOOLEAN, "The gripper holds a part", address="Gripper.Closed"),
    Signal("flange_force", Type.FLOAT, "Force at the flange", "NEW", 0, 300, 1, "Flange.Force"),
    Signal("cycle_time", Type.DOUBLE, "Length of the last cycle", "SEC", 0, 3600, 1, "Task.CycleTime"),
    Signal("cycle_counter", Type.UINT32, "Parts handled", "H87", address="Task.Cycles"),
    Signal("power", Type.FLOAT, "Electrical power", "WTT", 0, 1000, 1, "System.Power"),
)  # fmt: skip


def profile(distance: float, seconds: float, t: float) -> tuple[float, float, float]:
    """Position, speed and acceleration after `t` s of a trapezoidal movement over `distance` that takes `seconds` in all.

    A third of the time it accelerates, a third it runs, a third it brakes.
    """
    t = max(0.0, min(seconds, t))
    third = seconds / 3.0
    top = distance / (2.0 * third)
    rate = top / third
    if t < third:
        return rate * t * t / 2, rate * t, rate
    if t < 2 * third:
        return top * third / 2 + top * (t - third), top, 0.0
    left = seconds - t
    return distance - rate * left * left / 2, rate * left, -rate if left > 0 else 0.0


def duration(distance: float) -> float:
    """The shortest time of `profile` that keeps to speed and acceleration of a joint."""
    return max(1.5 * distance / MAX_SPEED, math.sqrt(4.5 * distance / MAX_ACCELERATION), 0.3)


@dataclass
class Robot(Phased):
    """Steps of 100 ms. States: moving, gripping, waiting_for_operator, protective_stop, idle."""

    kind = "robot"
    title = "Collaborative robot (simulated)"
    interface = "opcua"
    period_ms = 100
    signals = SIGNALS
    process_faults = MappingProxyType(
        {
            "protective_stop": "somebody stands in its way until the fault ends",
            "jam": "a part is stuck: force at the flange, and a protective stop",
            "starvation": "nobody brings parts",
        }
    )

    alarms = (
        Alarm("ProtectiveStop", "Protective stop: somebody or something is in the way", 600, "Safety"),
        Alarm("PartStuck", "A part is stuck in the gripper", 700, "Gripper"),
    )
    settings = (Setting("speed_override", 1, 100),)
    remembered = ("flange_force", "power", "cycle_counter")

    override: float = field(default=100.0, init=False)
    joints: list[float] = field(default_factory=lambda: list(POSES["home"]), init=False)
    speeds: list[float] = field(default_factory=lambda: [0.0] * JOINTS, init=False)
    rates: list[float] = field(default_factory=lambda: [0.0] * JOINTS, init=False)
    motors: list[float] = field(default_factory=lambda: [31.0, 36.0, 34.0, 30.0, 29.0, 28.0], init=False)
    gripped: bool = field(default=False, init=False)
    cycles: int = field(default=0, init=False)
    cycle_s: float = field(default=0.0, init=False)
    last_cycle_s: float = field(default=0.0, init=False)
    stopped_s: float = field(default=0.0, init=False)  # that the protective stop still lasts
    _from: tuple[float, ...] = field(default=POSES["home"], init=False)
    _to: tuple[float, ...] = field(default=POSES["home"], init=False)
    _calm: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._calm = self.chance("protective_stop").expovariate(1 / CALM_S)
        super().__post_init__()

    @property
    def state(self) -> str:
        return "protective_stop" if self.is_stopped else self.now.state

    @property
    def is_stopped(self) -> bool:
        return self.stopped_s > 0 or bool(self.failing("protective_stop") or self.failing("jam"))

    @property
    def power_kw(self) -> float:
        return 0.09 + sum(abs(speed) for speed in self.speeds) / 1200.0

    @property
    def parts_made(self) -> int:
        return self.cycles

    attended_states = frozenset({"refilling"})

    def alarming(self) -> frozenset[str]:
        stuck = ["PartStuck"] if self.failing("jam") else []
        return frozenset(stuck + (["ProtectiveStop"] if self.is_stopped else []))

    def adjust(self, signal: str, value: Any) -> None:
        self.override = value

    def life(self) -> Iterator[Step]:
        parts = 12
        while True:
            yield from self.idle()
            if parts == 0:
                yield Step("waiting_for_operator", 2.0 + self.chance("operator").expovariate(1 / 25.0))
                while self.around.operators < 1 or self.failing("starvation"):
                    yield Step("waiting_for_operator", 1.0)
                yield Step("refilling", 6.0)
                parts = 12
            self.cycle_s = 0.0
            yield from self._cycle()
            parts -= 1
            self.cycles += 1
            self.last_cycle_s = self.cycle_s
            if self.failing("starvation"):
                parts = 0

    def _cycle(self) -> Iterator[Step]:
        for pose in WORK:
            self._from, self._to = self._to, POSES[pose]
            longest = max(abs(b - a) for a, b in zip(self._from, self._to, strict=True))
            yield Step("moving", duration(longest))
            if pose in ("tray", "vice"):
                self.gripped = pose == "tray"
                yield Step("gripping", 0.8 if pose == "tray" else 1.1)

    def advance(self, dt: float) -> None:
        self.cycle_s += dt
        self.stopped_s = max(0.0, self.stopped_s - dt)
        if self.is_stopped:
            self.speeds, self.rates = [0.0] * JOINTS, [0.0] * JOINTS
        else:
            self.proceed(dt * (self._pace if self.now.state == "moving" else 1.0))
            self._follow()
            self._maybe_stop(dt)
        self._warm(dt)

    @property
    def _pace(self) -> float:
        return self.override / 100.0

    def _follow(self) -> None:
        t = self.elapsed if self.now.state == "moving" else self.now.seconds
        seconds = self.now.seconds if self.now.state == "moving" else 1.0
        for n, (start, end) in enumerate(zip(self._from, self._to, strict=True)):
            moved = (
                profile(end - start, seconds, t) if self.now.state == "moving" else (end - start, 0.0, 0.0)
            )
            self.joints[n], self.speeds[n], self.rates[n] = (
                start + moved[0], moved[1] * self._pace, moved[2] * self._pace**2
            )  # fmt: skip

    def _maybe_stop(self, dt: float) -> None:
        self._calm -= dt
        if self._calm <= 0 and self.now.state == "moving":
            dice = self.chance("protective_stop")
            self._calm = dice.expovariate(1 / CALM_S)
            self.stopped_s = 4.0 + dice.expovariate(1 / 12.0)

    def _torque(self, n: int) -> float:
        return (
            GRAVITY[n] * math.cos(math.radians(self.joints[1]))
            + INERTIA[n] * math.radians(self.rates[n]) * 4.0
        )

    def _warm(self, dt: float) -> None:
        """Copper losses by the square of the torque, friction by speed, and a slow way to the hall's temperature."""
        for n in range(JOINTS):
            heat = 0.012 * self._torque(n) ** 2 + 0.09 * abs(self.speeds[n])
            self.motors[n] += (heat - (self.motors[n] - AMBIENT_C - 6.0)) / 1500.0 * dt

    def read(self) -> dict[str, Value]:
        return {
            **{f"joint_{n}_position": place for n, place in enumerate(self.joints, 1)},
            **{f"joint_{n}_speed": speed for n, speed in enumerate(self.speeds, 1)},
            **{f"motor_{n}_temperature": heat for n, heat in enumerate(self.motors, 1)},
            "operational_mode": 3,
            "emergency_stop": False,
            "protective_stop": self.is_stopped,
            "speed_override": self.override,
            "program": "LOAD_VICE",
            "program_running": self.now.state in ("moving", "gripping") and not self.is_stopped,
            "waiting_for_operator": self.now.state == "waiting_for_operator",
            "gripper_closed": self.gripped,
            "flange_force": self._force(),
            "cycle_time": self.last_cycle_s,
            "cycle_counter": self.cycles,
            "power": 1000.0 * self.power_kw,
        }

    def _force(self) -> float:
        weight = 14.0 if self.gripped else 4.0
        return (
            weight + (160.0 if self.failing("jam") else 0.0) + abs(self.chance("flange_force").gauss(0, 0.3))
        )
