"""A screw compressor with its tank: loads below 6.5 bar, unloads above 7.5 bar, and leaks a little like all of them.

Two of its topics are bare, as on many real ones: the mode is a word and the dew point a number, both without a time.
"""

from dataclasses import dataclass, field
from types import MappingProxyType

from simulators.model import Model, Publication, Signal, Type, Value
from simulators.physics import tank_rate, towards

P_LOW, P_HIGH = 6.5, 7.5  # bar
DELIVERY = 3.0  # m3/min of free air when loaded
TANK = 0.5  # m3
SPECIFIC = 6.0  # kW per m3/min at 7 bar
IDLE = 0.2  # of rated power when it turns unloaded

SIGNALS = (
    Signal("pressure", Type.DOUBLE, "Tank pressure", "BAR", 0, 16, 3),
    Signal("power", Type.DOUBLE, "Electrical power", "KWT", 0, 30, 2),
    Signal("flow", Type.DOUBLE, "Delivered free air", "G53", 0, 5, 3),
    Signal("motor_temperature", Type.DOUBLE, "Motor winding temperature", "CEL", -20, 180, 2),
    Signal("running_hours", Type.DOUBLE, "Running hours", "HUR", 0, None, 3),
    Signal("load_cycles", Type.UINT32, "Changes from unloaded to loaded"),
    Signal("loaded", Type.BOOLEAN, "The compressor delivers air"),
    Signal("mode", Type.STRING, "LOADED or UNLOADED"),
    Signal("dew_point", Type.DOUBLE, "Pressure dew point after the dryer", "CEL", -80, 20, 1),
)


def _publication(name: str) -> Publication:
    if name == "mode":
        return Publication(name, {name: ""}, form="text")
    if name == "dew_point":
        return Publication(name, {name: ""}, form="number")
    return Publication(name, {name: "value"})


@dataclass
class Compressor(Model):
    """dp/dt from what flows in, what the hall uses and what leaks."""

    kind = "compressor"
    title = "Screw compressor (simulated)"
    interface = "mqtt"
    period_ms = 500
    signals = SIGNALS
    process_faults = MappingProxyType({"leak": "a hose is off: 1 m3/min more, times the amount"})
    publications = tuple(_publication(signal.name) for signal in SIGNALS)

    _loaded: bool = field(default=True, init=False)
    _pressure: float = field(default=7.1, init=False)
    _use: float = field(default=1.5, init=False)
    _demand: float = field(default=1.5, init=False)
    _demand_left: float = field(default=15.0, init=False)
    _power: float = field(default=15.0, init=False)
    _winding: float = field(default=61.0, init=False)
    _hours: float = field(default=4_711.25, init=False)
    _cycles: int = field(default=90_210, init=False)
    _dew: float = field(default=3.0, init=False)

    @property
    def state(self) -> str:
        return "loaded" if self._loaded else "unloaded"

    @property
    def power_kw(self) -> float:
        return self._power

    @property
    def pressure_bar(self) -> float:
        return self._pressure

    def advance(self, dt: float) -> None:
        self._consume(dt)
        delivery = DELIVERY if self._loaded else 0.0
        leak = (0.02 + 0.14 * self.failing("leak")) * self._pressure
        self._pressure += tank_rate(delivery, self._use, leak, TANK) * dt
        self._control()
        rated = DELIVERY * SPECIFIC
        self._power = towards(self._power, rated if self._loaded else IDLE * rated, dt, 1.0)
        self._winding = towards(self._winding, 25.0 + 60.0 * self._power / rated, dt, 600.0)
        self._dew = towards(self._dew, 3.0, dt, 120.0) + self.chance("dew_point").gauss(0, 0.02)
        self._hours += dt / 3600.0

    def read(self) -> dict[str, Value]:
        return {
            "pressure": self._pressure + self.chance("pressure").gauss(0, 0.002),
            "power": self._power * self.chance("power").gauss(1, 0.003),
            "flow": (DELIVERY * self.chance("flow").gauss(1, 0.004)) if self._loaded else 0.0,
            "motor_temperature": self._winding,
            "running_hours": self._hours,
            "load_cycles": self._cycles,
            "loaded": self._loaded,
            "mode": self.state.upper(),
            "dew_point": self._dew,
        }

    def _consume(self, dt: float) -> None:
        self._demand_left -= dt
        if self._demand_left <= 0:
            dice = self.chance("use")
            self._demand = dice.uniform(0.4, 2.4)
            self._demand_left = 2.0 + dice.expovariate(1 / 20.0)
        if self.around.air_use is not None:  # in a hall: what its machines use
            self._demand = self.around.air_use
        self._use = towards(self._use, self._demand, dt, 3.0)

    def _control(self) -> None:
        if self._loaded and self._pressure >= P_HIGH:
            self._loaded = False
        elif not self._loaded and self._pressure <= P_LOW:
            self._loaded = True
            self._cycles += 1
