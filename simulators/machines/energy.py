"""An energy meter in front of a hall: three phases, one JSON payload a second, a counter that only goes up."""

from dataclasses import dataclass, field

from simulators.model import Model, Publication, Signal, Type, Value
from simulators.physics import towards

PHASES = ("l1", "l2", "l3")
SHARE = {"l1": 1.04, "l2": 0.99, "l3": 0.97}  # no hall is loaded evenly

SIGNALS = (
    *(Signal(f"voltage_{p}", Type.DOUBLE, f"Voltage {p.upper()} to N", "VLT", 0, 300, 2) for p in PHASES),
    *(Signal(f"current_{p}", Type.DOUBLE, f"Current {p.upper()}", "AMP", 0, 100, 3) for p in PHASES),
    Signal("active_power", Type.DOUBLE, "Active power, all phases", "WTT", 0, 60_000, 1),
    Signal("power_factor", Type.DOUBLE, "Power factor", "C62", 0, 1, 3),
    Signal("frequency", Type.DOUBLE, "Mains frequency", "HTZ", 45, 55, 3),
    Signal("energy", Type.DOUBLE, "Active energy, counted since installation", "KWH", 0, None, 4),
)

PATHS = {
    **{f"voltage_{p}": f"U.{p.upper()}" for p in PHASES},
    **{f"current_{p}": f"I.{p.upper()}" for p in PHASES},
    "active_power": "P_total",
    "power_factor": "PF",
    "frequency": "f",
    "energy": "E_total",
}


@dataclass
class EnergyMeter(Model):
    """Idle hall and working hall alternate; the power factor is 0.6 idle and 0.9 under load."""

    kind = "energy"
    title = "Energy meter (simulated)"
    interface = "mqtt"
    period_ms = 1000
    signals = SIGNALS
    publications = (Publication("energy", PATHS, whole=True),)

    _loaded: bool = field(default=True, init=False)
    _left: float = field(default=25.0, init=False)
    _power: float = field(default=4200.0, init=False)
    _target: float = field(default=5200.0, init=False)
    _kwh: float = field(default=18_234.5, init=False)
    _sag: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0), init=False)
    _hertz: float = field(default=50.0, init=False)

    @property
    def state(self) -> str:
        return "load" if self._loaded else "idle"

    def advance(self, dt: float) -> None:
        self._switch(dt)
        if self.around.load_kw is not None:  # in a hall: what its machines draw
            self._target = 1000.0 * self.around.load_kw
        self._power = towards(self._power, self._target, dt, 2.0) * self.chance("active_power").gauss(
            1.0, 0.004
        )
        for phase in PHASES:
            self._sag[phase] = towards(self._sag[phase], 0.0, dt, 60.0) + self.chance(
                f"voltage_{phase}"
            ).gauss(0, 0.15)
        self._hertz = towards(self._hertz, 50.0, dt, 30.0) + self.chance("frequency").gauss(0, 0.002)
        self._kwh += self._power * dt / 3.6e6

    def read(self) -> dict[str, Value]:
        factor = self._factor()
        volts = {p: max(225.4, min(234.6, 230.0 + self._sag[p] - self._power / 12_000)) for p in PHASES}
        amps = {p: self._power / 3 * SHARE[p] / (volts[p] * factor) for p in PHASES}
        return {
            **{f"voltage_{p}": volts[p] for p in PHASES},
            **{f"current_{p}": amps[p] for p in PHASES},
            "active_power": self._power,
            "power_factor": factor,
            "frequency": self._hertz,
            "energy": self._kwh,
        }

    def _switch(self, dt: float) -> None:
        self._left -= dt
        if self._left > 0:
            return
        dice = self.chance("load")
        self._loaded = not self._loaded
        self._left = 5.0 + dice.expovariate(1 / (40.0 if self._loaded else 20.0))
        self._target = dice.uniform(3500, 9000) if self._loaded else dice.uniform(700, 1100)

    def _factor(self) -> float:
        return 0.6 + 0.3 * min(1.0, max(0.0, (self._power - 900.0) / 3000.0))
