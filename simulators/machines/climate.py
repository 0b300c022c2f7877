"""A climate chamber that cycles test pieces between cold and hot: heater, refrigeration and humidifier work against the
losses through its walls, and the temperature is the balance of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from simulators.live import Alarm, Setting
from simulators.machines.phased import Phased, Step
from simulators.model import Publication, Signal, Type, Value
from simulators.physics import towards

AMBIENT_C = 22.0
AMBIENT_RH = 45.0
WALL_S = 2400.0  # time constant of the closed chamber
HEATER_KPS = 0.09
COOLER_KPS = 0.075
RAMP_KPS = 0.04
COLD_C, HOT_C = -20.0, 85.0
SOAK_S = 600.0

SIGNALS = (
    Signal("temperature", Type.DOUBLE, "Air temperature", "CEL", -80, 180, 2),
    Signal("temperature_set", Type.DOUBLE, "Set-point of the temperature", "CEL", -80, 180, 2),
    Signal("piece_temperature", Type.DOUBLE, "Temperature inside the test piece", "CEL", -80, 180, 2),
    Signal("humidity", Type.DOUBLE, "Relative humidity", "P1", 0, 100, 1),
    Signal("humidity_set", Type.DOUBLE, "Set-point of the humidity", "P1", 0, 100, 1),
    Signal("heater", Type.DOUBLE, "Output of the heater", "P1", 0, 100, 1),
    Signal("cooler", Type.DOUBLE, "Output of the refrigeration", "P1", 0, 100, 1),
    Signal("door_open", Type.BOOLEAN, "The door is open"),
    Signal("step", Type.STRING, "Step of the test"),
    Signal("cycle_counter", Type.UINT32, "Test cycles since the start"),
    Signal("alarm", Type.BOOLEAN, "The temperature is away from its set-point for too long"),
    Signal("hot_set", Type.DOUBLE, "Set-point of the hot step", "CEL", -80, 180, 1),
    Signal("cold_set", Type.DOUBLE, "Set-point of the cold step", "CEL", -80, 180, 1),
)


@dataclass
class Climate(Phased):
    """Steps of 1 s. States: heating, hot, cooling, cold, loading, idle."""

    kind = "climate"
    title = "Climate chamber (simulated)"
    interface = "mqtt"
    period_ms = 1000
    signals = SIGNALS
    publications = (Publication("state", {signal.name: signal.name for signal in SIGNALS}, whole=True),)
    attended_states = frozenset({"loading"})
    process_faults = MappingProxyType(
        {
            "heater_failure": "the heater is dead",
            "coolant_loss": "the refrigerant is gone: it does not cool",
            "leak": "the door seal leaks: ten times the losses, times the amount",
        }
    )

    alarms = (
        Alarm("TemperatureDeviation", "The temperature is away from its set-point", 700, "temperature"),
    )
    settings = (Setting("hot_set", 30, 180), Setting("cold_set", -70, 20))
    remembered = ("temperature", "humidity")

    hot_c: float = field(default=HOT_C, init=False)
    cold_c: float = field(default=COLD_C, init=False)
    air_c: float = field(default=AMBIENT_C, init=False)
    piece_c: float = field(default=AMBIENT_C, init=False)
    wanted_c: float = field(default=AMBIENT_C, init=False)
    humid: float = field(default=AMBIENT_RH, init=False)
    heater: float = field(default=0.0, init=False)
    cooler: float = field(default=0.0, init=False)
    cycles: int = field(default=0, init=False)
    away_s: float = field(default=0.0, init=False)

    def life(self) -> Iterator[Step]:
        while True:
            yield from self.idle()
            yield from self._ramp("heating", lambda: self.hot_c)
            yield Step("hot", SOAK_S)
            yield from self._ramp("cooling", lambda: self.cold_c)
            yield Step("cold", SOAK_S)
            self.cycles += 1
            if self.cycles % 5 == 0:
                yield from self._ramp("heating", lambda: AMBIENT_C)
                yield from self.attendance("idle")
                yield Step("loading", self.chance("loading").uniform(120, 400))

    def _ramp(self, name: str, end: Callable[[], float]) -> Iterator[Step]:
        """As long as the ramp takes, and until the air is there; a chamber that cannot goes on trying."""
        yield Step(name, abs(end() - self.wanted_c) / RAMP_KPS)
        while abs(self.air_c - end()) > 1.0:
            yield Step(name, 5.0)

    @property
    def power_kw(self) -> float:
        return 0.5 + 5.0 * self.heater + 4.0 * self.cooler

    @property
    def parts_made(self) -> int:
        return self.cycles

    def advance(self, dt: float) -> None:
        goals = {"heating": self.hot_c, "hot": self.hot_c, "cooling": self.cold_c, "cold": self.cold_c}
        goal = {**goals, "loading": AMBIENT_C, "idle": AMBIENT_C}.get(self.state)
        if goal is not None:
            change = max(-RAMP_KPS * dt, min(RAMP_KPS * dt, goal - self.wanted_c))
            self.wanted_c += change
        self._regulate(dt)
        self._moisten(dt)
        away = abs(self.air_c - self.wanted_c) > 4.0 and self.state != "loading"
        self.away_s = self.away_s + dt if away else 0.0
        self.proceed(dt)

    def alarming(self) -> frozenset[str]:
        return frozenset({"TemperatureDeviation"} if self.away_s > 120.0 else ())

    def adjust(self, signal: str, value: Any) -> None:
        setattr(self, {"hot_set": "hot_c", "cold_set": "cold_c"}[signal], value)

    def _regulate(self, dt: float) -> None:
        loss = (self.air_c - AMBIENT_C) / WALL_S * (1.0 + 9.0 * self.failing("leak"))
        loss *= 20.0 if self.state == "loading" else 1.0
        demand = (self.wanted_c - self.air_c) * 0.5 + loss / HEATER_KPS
        self.heater = 0.0 if self.failing("heater_failure") else max(0.0, min(1.0, demand))
        self.cooler = 0.0 if self.failing("coolant_loss") else max(0.0, min(1.0, -demand))
        ripple = self.chance("temperature").gauss(0, 0.01)
        self.air_c += (self.heater * HEATER_KPS - self.cooler * COOLER_KPS - loss) * dt + ripple
        self.piece_c = towards(self.piece_c, self.air_c, dt, 240.0)

    def _moisten(self, dt: float) -> None:
        """Below freezing nothing is regulated; a leak brings the hall's air."""
        wanted = self._humidity_set() if self.air_c > 5.0 else 20.0
        wanted += (AMBIENT_RH - wanted) * min(1.0, 0.6 * self.failing("leak"))
        self.humid = towards(self.humid, wanted, dt, 90.0) + self.chance("humidity").gauss(0, 0.05)

    def _humidity_set(self) -> float:
        return 85.0 if self.wanted_c > 40.0 else 50.0

    def read(self) -> dict[str, Value]:
        return {
            "temperature": self.air_c,
            "temperature_set": self.wanted_c,
            "piece_temperature": self.piece_c,
            "humidity": self.humid,
            "humidity_set": self._humidity_set(),
            "heater": 100.0 * self.heater,
            "cooler": 100.0 * self.cooler,
            "door_open": self.state == "loading",
            "step": self.state,
            "cycle_counter": self.cycles,
            "alarm": self.away_s > 120.0,
            "hot_set": self.hot_c,
            "cold_set": self.cold_c,
        }
