"""An injection moulding machine: a cycle of some twenty seconds, four heated zones, four cavities, and parts that are only
good when cushion, pressure and melt temperature were inside their windows.

Numbers of mode and status are those of Euromap 77 (OPC 40077), so that a reader can be tested with them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from simulators.live import Alarm, Setting
from simulators.machines.phased import Phased, Step
from simulators.model import Signal, Type, Value
from simulators.physics import towards

ZONES = (210.0, 225.0, 232.0, 235.0)  # °C, from the hopper to the nozzle
AMBIENT_C = 23.0
HEATER_KPS = 0.9  # °C per second of a zone that is fully on
LOSS_S = 500.0  # time constant of a zone that is off
CAVITIES = 4
STROKE_MM = 95.0
WINDOW_CUSHION = (3.0, 8.0)
WINDOW_BAR = (780.0, 1150.0)
WINDOW_MELT = (218.0, 245.0)
COLD_C = 150.0  # below, the machine stops: cold melt breaks screws
PHASES = MappingProxyType(
    {
        "closing": 1.4,
        "clamping": 0.5,
        "injection": 1.3,
        "holding": 6.0,
        "cooling": 8.5,
        "opening": 1.2,
        "ejection": 0.9,
    }
)
ALARMS = {0: "", 301: "Barrel too cold", 412: "No material"}

SIGNALS = (
    Signal("machine_mode", Type.INT32, "MachineMode of Euromap 77: 1 automatic, 4 set-up", address="Status.MachineMode"),
    Signal("production_status", Type.INT32, "ProductionStatus: 1 none, 4 production", address="Status.Production"),
    Signal("phase", Type.STRING, "Phase of the cycle", address="Cycle.Phase"),
    Signal("screw_position", Type.DOUBLE, "Screw position", "MMT", 0, 120, 2, "Injection.ScrewPosition"),
    Signal("injection_pressure", Type.DOUBLE, "Specific injection pressure", "BAR", 0, 2500, 1, "Injection.Pressure"),
    Signal("screw_speed", Type.FLOAT, "Screw speed while plasticising", "RPM", 0, 400, 1, "Injection.ScrewSpeed"),
    Signal("clamp_force", Type.FLOAT, "Clamping force", "B47", 0, 1200, 1, "Clamp.Force"),
    Signal("mould_position", Type.FLOAT, "Opening of the mould", "MMT", 0, 400, 1, "Clamp.Position"),
    *(Signal(f"zone_{n}", Type.DOUBLE, f"Barrel zone {n}", "CEL", 0, 400, 2, f"Barrel.Zone{n}") for n in range(1, 5)),
    Signal("mould_temperature", Type.DOUBLE, "Mould temperature", "CEL", 0, 200, 2, "Mould.Temperature"),
    Signal("heater_power", Type.FLOAT, "Power of all heaters", "KWT", 0, 20, 2, "Barrel.Power"),
    Signal("hopper_level", Type.FLOAT, "Material in the hopper", "P1", 0, 100, 1, "Hopper.Level"),
    Signal("cushion", Type.DOUBLE, "Cushion of the last cycle", "MMT", 0, 50, 3, "Cycle.Cushion"),
    Signal("pressure_maximum", Type.DOUBLE, "Highest pressure of the last cycle", "BAR", 0, 2500, 1, "Cycle.PressureMaximum"),
    Signal("melt_temperature", Type.DOUBLE, "Melt temperature of the last shot", "CEL", 0, 400, 2, "Cycle.MeltTemperature"),
    Signal("cycle_time", Type.DOUBLE, "Length of the last cycle", "SEC", 0, 600, 1, "Cycle.Time"),
    Signal("cycle_quality", Type.INT32, "CycleQuality: 0 good, 1 bad", address="Cycle.Quality"),
    Signal("cycle_counter", Type.UINT32, "Cycles", "H87", address="Job.Cycles"),
    Signal("parts_counter", Type.UINT32, "Parts: cavities times cycles", "H87", address="Job.Parts"),
    Signal("good_parts", Type.UINT32, "Good parts", "H87", address="Job.Good"),
    Signal("bad_parts", Type.UINT32, "Bad parts", "H87", address="Job.Bad"),
    Signal("alarm_text", Type.STRING, "Active alarm in words", address="Alarm.Text"),
    *(Signal(f"zone_{n}_set", Type.DOUBLE, f"Set-point of barrel zone {n}", "CEL", 0, 400, 1, f"Barrel.Zone{n}Set") for n in range(1, 5)),
)  # fmt: skip
CONDITIONS = (
    Alarm("BarrelTooCold", "Barrel too cold", 800, "Barrel", "301"),
    Alarm("ZoneOutOfTolerance", "A barrel zone is away from its set-point", 500, "Barrel", "305"),
    Alarm("NoMaterial", "No material", 700, "Hopper", "412"),
)
TOLERANCE_K = 20.0


def inside(value: float, window: tuple[float, float]) -> bool:
    return window[0] <= value <= window[1]


@dataclass
class Moulding(Phased):
    """Steps of 100 ms. States: the phases of the cycle, idle, and alarm while the barrel is cold or the hopper empty."""

    kind = "moulding"
    title = "Injection moulding machine (simulated)"
    interface = "opcua"
    period_ms = 100
    signals = SIGNALS
    process_faults = MappingProxyType(
        {
            "heater_failure": "zone 3 is not heated: slow drift, then scrap, then an alarm",
            "leak": "the check valve leaks: the cushion shrinks by 3 mm times the amount",
            "starvation": "no material comes: short shots, then an alarm",
            "scrap_burst": "half of the parts are bad, whatever the cycle says",
        }
    )

    alarms = CONDITIONS
    settings = tuple(Setting(f"zone_{n}_set", 20, 350) for n in range(1, len(ZONES) + 1))
    remembered = ("zone_3", "melt_temperature", "cushion", "cycle_counter")

    zones: list[float] = field(default_factory=lambda: list(ZONES), init=False)
    wanted: list[float] = field(default_factory=lambda: list(ZONES), init=False)
    mould_c: float = field(default=48.0, init=False)
    cushion: float = field(default=5.2, init=False)
    peak_bar: float = field(default=930.0, init=False)
    melt_c: float = field(default=233.0, init=False)
    hopper: float = field(default=80.0, init=False)
    heating: float = field(default=0.3, init=False)  # mean of the zones, 0 to 1
    cycle_s: float = field(default=0.0, init=False)
    last_cycle_s: float = field(default=19.8, init=False)
    cycles: int = field(default=0, init=False)
    good: int = field(default=0, init=False)
    bad: int = field(default=0, init=False)
    quality: int = field(default=0, init=False)
    _wander: float = field(default=0.0, init=False)

    def life(self) -> Iterator[Step]:
        while True:
            yield from self.idle()
            while self.alarm:
                yield Step("alarm", 1.0)
            self.cycle_s = 0.0
            for phase, seconds in PHASES.items():
                if phase == "injection":
                    self._shoot()
                slack = self.chance("cycle_time").gauss(0, 0.02) if phase == "cooling" else 0.0
                yield Step(phase, seconds + slack)
            self._count()

    @property
    def alarm(self) -> int:
        """Number of the active alarm, 0 for none."""
        if min(self.zones[2:]) < COLD_C:
            return 301
        return 412 if self.hopper <= 0.0 else 0

    def alarming(self) -> frozenset[str]:
        away = any(
            abs(wanted - zone) > TOLERANCE_K for wanted, zone in zip(self.wanted, self.zones, strict=True)
        )
        on = {"BarrelTooCold": min(self.zones[2:]) < COLD_C, "NoMaterial": self.hopper <= 0.0}
        return frozenset(name for name, is_on in {**on, "ZoneOutOfTolerance": away}.items() if is_on)

    def adjust(self, signal: str, value: Any) -> None:
        self.wanted[int(signal.split("_")[1]) - 1] = value

    @property
    def power_kw(self) -> float:
        return 1.0 + 12.0 * self.heating + (9.0 if self.state in ("injection", "cooling") else 2.0)

    @property
    def air(self) -> float:
        return 0.3 if self.state == "ejection" else 0.02

    @property
    def parts_made(self) -> int:
        return self.good + self.bad

    def advance(self, dt: float) -> None:
        self.cycle_s += dt
        self._heat(dt)
        self._feed(dt)
        self.proceed(dt)

    def read(self) -> dict[str, Value]:
        producing = self.state in PHASES
        return {
            "machine_mode": 1,
            "production_status": 4 if producing else 1,
            "phase": self.state,
            "screw_position": self._screw(),
            "injection_pressure": max(
                0.0, self._pressure() + self.chance("injection_pressure").gauss(0, 1.5)
            ),
            "screw_speed": 140.0 if self._dosing() else 0.0,
            "clamp_force": self._clamp(),
            "mould_position": self._mould(),
            **{f"zone_{n}": zone for n, zone in enumerate(self.zones, 1)},
            "mould_temperature": self.mould_c,
            "heater_power": 12.0 * self.heating,
            "hopper_level": self.hopper,
            "alarm_text": "" if producing else ALARMS[self.alarm],
            **{f"zone_{n}_set": wanted for n, wanted in enumerate(self.wanted, 1)},
            **self._last_cycle(),
        }

    def _last_cycle(self) -> dict[str, Value]:
        return {
            "cushion": self.cushion,
            "pressure_maximum": self.peak_bar,
            "melt_temperature": self.melt_c,
            "cycle_time": self.last_cycle_s,
            "cycle_quality": self.quality,
            "cycle_counter": self.cycles,
            "parts_counter": self.good + self.bad,
            "good_parts": self.good,
            "bad_parts": self.bad,
        }

    # -- the cycle

    def _shoot(self) -> None:
        """Cushion as AR(1) noise around 5.2 mm; pressure by the melt's viscosity, which falls with temperature."""
        dice = self.chance("cushion")
        self._wander = 0.6 * self._wander + dice.gauss(0, 0.12)
        missing = 3.0 * self.failing("leak") + 4.0 * self.failing("starvation")
        self.cushion = max(0.0, 5.2 + self._wander - missing)
        self.melt_c = (
            self.zones[3] * 0.5 + self.zones[2] * 0.5 + self.chance("melt_temperature").gauss(0, 0.3)
        )
        viscosity = 1.0 - (self.melt_c - 233.5) / 90.0
        filled = 0.4 if self.failing("starvation") else 1.0
        self.peak_bar = 930.0 * viscosity * filled + self.chance("pressure_maximum").gauss(0, 6.0)

    def _count(self) -> None:
        whole = (
            inside(self.cushion, WINDOW_CUSHION)
            and inside(self.peak_bar, WINDOW_BAR)
            and inside(self.melt_c, WINDOW_MELT)
        )
        dice, scrap = self.chance("scrap"), 0.5 if self.failing("scrap_burst") else 0.002
        good = sum(dice.random() >= scrap for _ in range(CAVITIES)) if whole else 0
        self.good, self.bad = self.good + good, self.bad + CAVITIES - good
        self.quality = 0 if good == CAVITIES else 1
        self.cycles += 1
        self.last_cycle_s = self.cycle_s

    def _heat(self, dt: float) -> None:
        """A proportional controller with feed-forward per zone; a zone that is off takes its heat from its neighbours."""
        duties = []
        for n, wanted in enumerate(self.wanted):
            hold = (wanted - AMBIENT_C) / LOSS_S / HEATER_KPS
            duty = max(0.0, min(1.0, hold + (wanted - self.zones[n]) * 0.05))
            duty = 0.0 if n == 2 and self.failing("heater_failure") else duty
            duties.append(duty)
            ripple = self.chance(f"zone_{n + 1}").gauss(0, 0.02)
            self.zones[n] += (duty * HEATER_KPS - (self.zones[n] - AMBIENT_C) / LOSS_S) * dt + ripple
        for n in range(1, len(ZONES)):
            flow = (self.zones[n - 1] - self.zones[n] - (self.wanted[n - 1] - self.wanted[n])) / 900.0 * dt
            self.zones[n - 1], self.zones[n] = self.zones[n - 1] - flow, self.zones[n] + flow
        self.heating = sum(duties) / len(duties)
        self.mould_c = towards(
            self.mould_c, 62.0 if self.state in ("holding", "cooling") else 44.0, dt, 120.0
        )

    def _feed(self, dt: float) -> None:
        if self._dosing():
            self.hopper -= 0.05 * dt * (20.0 if self.failing("starvation") else 1.0)
        if self.hopper < 30.0 and not self.failing("starvation"):
            self.hopper = 95.0  # the loader
        self.hopper = max(0.0, self.hopper)

    # -- what the sensors see in each phase

    def _dosing(self) -> bool:
        return self.state == "cooling" and self.progress < 0.7

    def _screw(self) -> float:
        if self.state == "injection":
            return STROKE_MM - (STROKE_MM - 12.0) * self.progress
        if self.state == "holding":
            return 12.0 - (12.0 - self.cushion) * self.progress
        if self.state == "cooling":
            return self.cushion + (STROKE_MM - self.cushion) * min(1.0, self.progress / 0.7)
        return STROKE_MM

    def _pressure(self) -> float:
        if self.state == "injection":
            return self.peak_bar * self.progress
        if self.state == "holding":
            return self.peak_bar * (0.55 - 0.1 * self.progress)
        return 60.0 if self._dosing() else 0.0

    def _clamp(self) -> float:
        if self.state == "clamping":
            return 850.0 * self.progress
        return 850.0 if self.state in ("injection", "holding", "cooling") else 0.0

    def _mould(self) -> float:
        if self.state == "closing":
            return 320.0 * (1.0 - self.progress)
        if self.state == "opening":
            return 320.0 * self.progress
        return 320.0 if self.state in ("ejection", "idle", "alarm") else 0.0
