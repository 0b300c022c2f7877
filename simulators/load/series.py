"""What every variable says at every tick, so exactly that a lost, an added and an altered value are all found again.

value = 100000 + variable + tick / 8: exact as a double, exact in three decimals, always ten characters long, different
for every variable at one tick and for every tick of one variable. Times are whole milliseconds, because some databases
keep no more.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulators.clock import MILLISECOND, SECOND
from simulators.errors import SimulatorError

FIRST = 100_000
STEPS = 8  # ticks until a value has risen by 1
MOST_VARIABLES = 100_000
NAMESPACE = "urn:shopfloor:load"


@dataclass(frozen=True, slots=True)
class Series:
    """`variables` values, all of them changing `hz` times a second from `start_ns` (UTC, whole milliseconds) on."""

    variables: int
    hz: int
    start_ns: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.variables <= MOST_VARIABLES:
            raise SimulatorError(f"{self.variables} variables: between 1 and {MOST_VARIABLES} are possible.")
        if self.hz < 1 or 1000 % self.hz:
            raise SimulatorError(
                f"{self.hz} Hz: the period must be whole milliseconds, such as 10, 50 or 200 Hz."
            )

    @property
    def period_ns(self) -> int:
        return SECOND // self.hz

    def at(self, tick: int) -> int:
        """The time of every value of this tick, ns since the epoch, UTC."""
        return self.start_ns + tick * self.period_ns

    def tick_of(self, at_ms: int) -> int:
        """The tick of a time in ms; -1 for a time that is none of ours."""
        tick, rest = divmod(at_ms * MILLISECOND - self.start_ns, self.period_ns)
        return -1 if rest else tick

    @staticmethod
    def value(variable: int, tick: int) -> float:
        return FIRST + variable + tick / STEPS

    def values(self, tick: int) -> NDArray[np.float64]:
        """float64[variables]: all values of this tick, in the order of the variables."""
        made: NDArray[np.float64] = np.arange(self.variables, dtype=np.float64)
        made += FIRST + tick / STEPS
        return made


def name_of(variable: int) -> str:
    """The signal's name, of constant length; over OPC UA also the string identifier of its NodeId."""
    return f"v{variable:05d}"


def variable_of(name: str) -> int:
    """The other way round; -1 when it is none of ours."""
    digits = name[1:]
    return int(digits) if name.startswith("v") and len(digits) == 5 and digits.isdecimal() else -1
