"""Sensors that lie: what leaves them while the machine itself is well. The truth keeps both values.

A fault changes what was read and never the physics, so that the same run with and without it differs in nothing else;
its chance comes from a generator of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from simulators.model import Model, Signal, Value

GOOD: Final = "good"

# What a wrong unit makes of a value, by UN/CEFACT code: inches for mm, °F for °C, psi for bar, W for kW.
WRONG_UNITS: Final[Mapping[str, Callable[[float], float]]] = {
    "MMT": lambda value: value / 25.4,
    "CEL": lambda value: value * 1.8 + 32,
    "BAR": lambda value: value * 14.503774,
    "KWT": lambda value: value * 1000,
}


class Reading(NamedTuple):
    """What a disturbed sensor says, and what it should have said."""

    value: "Value"
    true: "Value"
    quality: str = GOOD
    silent: bool = False


@dataclass(slots=True)
class Disturbance:
    """One fault of one signal. amount: in units of the signal, or as the catalogue says; None: the usual one.

    held, steps: its memory: the value at the start, and how many steps it lasts.
    """

    name: str
    amount: float | None = None
    held: "Value | None" = None
    steps: int = 0


@dataclass(slots=True)
class Sensors:
    """The disturbed sensors of one machine, by signal and name of the fault."""

    active: dict[tuple[str, str], Disturbance] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.active)

    def disturbed(self, model: "Model", true: Mapping[str, Any]) -> dict[str, Reading]:
        """The readings of all disturbed signals; several faults of one signal act in the order they began."""
        signals = {signal.name: signal for signal in model.signals}
        readings: dict[str, Reading] = {}
        for (name, _), disturbance in self.active.items():
            before = readings.get(name) or Reading(true[name], true[name])
            readings[name] = _disturb(disturbance, signals[name], before, model)
            disturbance.steps += 1
        return readings


def _disturb(fault: Disturbance, signal: "Signal", before: Reading, model: "Model") -> Reading:
    if fault.held is None:
        fault.held = model.values.get(signal.name, before.value)
    if fault.name in ("bad", "uncertain"):
        return before._replace(quality=fault.name)
    if fault.name == "dropout":
        return before._replace(value=fault.held, silent=True)
    if fault.name == "stuck":
        return before._replace(value=fault.held)
    if fault.name == "nan":
        return before._replace(value=float("nan"))
    value = before.value
    if not isinstance(value, int | float):
        return before
    return before._replace(value=signal.unlimited(_number(fault, signal, float(value), model)))


def _number(fault: Disturbance, signal: "Signal", value: float, model: "Model") -> float:
    dice = model.chance(f"fault/{signal.name}/{fault.name}")
    amount = fault.amount
    if fault.name == "drift":  # per minute
        minutes = (fault.steps + 1) * model.period_ms / 60_000
        return value + (0.05 * signal.span if amount is None else amount) * minutes
    if fault.name == "bias":
        return value + (0.1 * signal.span if amount is None else amount)
    if fault.name == "noise":
        return value + dice.gauss(0, 0.02 * signal.span if amount is None else amount)
    if fault.name == "spike":
        hit = fault.steps == 0 or dice.random() < model.period_ms / 5000
        return value + ((0.5 * signal.span if amount is None else amount) if hit else 0.0)
    if fault.name == "saturation":
        return (value if signal.high is None else signal.high) if amount is None else min(value, amount)
    return WRONG_UNITS.get(signal.unit, _thousandfold)(value)  # unit


def _thousandfold(value: float) -> float:
    return value * 1000.0
