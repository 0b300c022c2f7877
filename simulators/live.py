"""What a machine tells by itself and lets others set: alarms, and settings that can be written.

Declared like signals, next to them. A setting is checked when it is written and counts from the next step on: so a run in which
the same is written at the same step is the same run.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from simulators.errors import SimulatorError

if TYPE_CHECKING:
    from simulators.model import Model, Signal, Value

WAITING: Final = 1000  # values that may wait for one step


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that is wrong, or not. severity: 1 to 1000 (OPC 10000-5, 6.4.2). source: the vendor's folder that it concerns.

    code: the number that the control shows.
    """

    name: str
    message: str
    severity: int
    source: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """A signal that can be written. low, high: narrower than the signal's own range, if given. choices: the only texts, if given."""

    signal: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    longest: int = 64


class Written(NamedTuple):
    """who: the user, or what stands for one."""

    who: str
    signal: str
    value: "Value"


class Turn(NamedTuple):
    """A setting that is to be written so many seconds after the start."""

    at: float
    machine: str
    signal: str
    value: "Value"


class Refused(SimulatorError, ValueError):
    """A setting that cannot be written. sort: why, as a server must tell it."""

    def __init__(self, sort: Literal["unknown", "type", "range", "busy", "over"], words: str) -> None:
        super().__init__(words)
        self.sort = sort


def admitted(model: "Model", name: str, value: Any) -> "Value":
    """The value as it will count; raises Refused in words."""
    if model.over:
        raise Refused(
            "over", f"{model.machine} makes no further step: nothing that is written now would count."
        )
    if len(model.waiting) >= WAITING:
        raise Refused("busy", f"{model.machine}: {WAITING} values wait already for its next step.")
    setting = next((each for each in model.settings if each.signal == name), None)
    if setting is None:
        known = ", ".join(each.signal for each in model.settings) or "nothing"
        raise Refused(
            "unknown", f"{model.machine}: '{name}' cannot be written. What can be written: {known}."
        )
    signal = next(each for each in model.signals if each.name == name)
    if not _fits(signal, value):
        raise Refused(
            "type", f"{model.machine} {name} is {signal.type.value}, and {str(value)[:60]!r} is not."
        )
    return _text(model, setting, value) if isinstance(value, str) else _number(model, setting, signal, value)


def job(parts: Iterable[str] = ()) -> tuple[Setting, ...]:
    """The settings of a machine that takes job orders; parts: what it can make, if it must be told."""
    named = ("", *parts)
    part = (Setting("job_part", choices=named),) if len(named) > 1 else ()
    return (Setting("job_order"), *part, Setting("job_quantity", 0, 1_000_000))


@dataclass(slots=True)
class Job:
    """What a machine was told to make. part: empty for whatever comes. quantity: 0 for any number. begun: parts made before."""

    order: str = ""
    part: str = ""
    quantity: int = 0
    begun: int = 0

    def adjust(self, signal: str, value: Any, made: int) -> None:
        """A setting of the job was written; a new order or quantity is counted from now on."""
        if signal in ("job_order", "job_part", "job_quantity"):
            setattr(self, signal.removeprefix("job_"), value)
            self.begun = self.begun if signal == "job_part" else made

    def open(self, made: int) -> bool:
        """Whether there is more to make."""
        return not self.quantity or made - self.begun < self.quantity


def _fits(signal: "Signal", value: Any) -> bool:
    kind = signal.type.value
    if kind in ("String", "Boolean"):
        return isinstance(value, str if kind == "String" else bool)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return kind in ("Float", "Double") or isinstance(value, int)


def _text(model: "Model", setting: Setting, value: str) -> str:
    if setting.choices and value not in setting.choices:
        known = ", ".join(each for each in setting.choices if each)
        raise Refused("range", f"{model.machine} {setting.signal}: there are {known}.")
    if len(value) > setting.longest or not value.isprintable():
        raise Refused(
            "range", f"{model.machine} {setting.signal}: at most {setting.longest} printable characters."
        )
    return value


def _number(model: "Model", setting: Setting, signal: "Signal", value: float) -> "Value":
    low = signal.low if setting.low is None else setting.low
    high = signal.high if setting.high is None else setting.high
    if (
        value != value  # noqa: PLR0124 - NaN
        or (low is not None and value < low)
        or (high is not None and value > high)
    ):
        raise Refused("range", f"{model.machine} {setting.signal} must be between {low:g} and {high:g}.")
    return signal.wire(value)
