"""One direction of the proxy: its faults as they stand now, and what went through.

Faults belong to the direction and not to a connection, so that they can be switched before somebody connects, and stay
for who connects again.
"""

import asyncio
import random
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from simulators.errors import SimulatorError

Direction = Literal["up", "down"]  # up: client to server


@dataclass(slots=True)
class Faults:
    """What is wrong with a direction; the defaults are a clean wire.

    latency, jitter, pause: seconds (jitter is added, uniform, order is kept). bandwidth: bytes per second. slice: bytes per
    write, `pause` between two of them. stall: nothing passes, nothing is lost, all passes when it ends. blackhole: bytes
    and FIN are taken and vanish; a connection that lost bytes is reset by its next byte after the end. cut_at, reset_at:
    exactly so many bytes of each connection are delivered, then it ends by FIN or RST. 0 and None switch off.
    """

    latency: float = 0.0
    jitter: float = 0.0
    bandwidth: float = 0.0
    slice: int = 0
    pause: float = 0.0
    stall: bool = False
    blackhole: bool = False
    cut_at: int | None = None
    reset_at: int | None = None


@dataclass(slots=True)
class Counts:
    """Bytes of a direction since the proxy opened: taken from the sender, delivered, and swallowed by a fault."""

    received: int = 0
    delivered: int = 0
    swallowed: int = 0


@dataclass(slots=True)
class Way:
    """A direction with its faults. Change them with `set`: waiting connections notice at once."""

    seed: int = 0
    faults: Faults = field(default_factory=Faults)
    counts: Counts = field(default_factory=Counts)
    _free: asyncio.Event = field(default_factory=asyncio.Event)
    _chance: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self._chance.seed(self.seed)
        self._free.set()

    def set(self, **changes: Any) -> None:
        """Switch faults by name, for example `set(latency=0.2, blackhole=True)`; raises SimulatorError for a wrong one."""
        for name, value in changes.items():
            setattr(self.faults, name, _checked(name, value))
        if self.faults.stall:
            self._free.clear()
        else:
            self._free.set()

    def clear(self) -> None:
        """A clean wire again."""
        self.set(**{each.name: each.default for each in fields(Faults)})

    def delay(self) -> float:
        """Seconds that a chunk read now is under way."""
        return self.faults.latency + self.faults.jitter * self._chance.random()

    async def free(self) -> None:
        """Wait out a stall."""
        await self._free.wait()

    def portion(self) -> int:
        """Bytes per write: as sliced, and small enough that a narrow band is felt evenly."""
        sizes = [65_536]
        if self.faults.slice:
            sizes.append(self.faults.slice)
        if self.faults.bandwidth:
            sizes.append(max(1, int(self.faults.bandwidth / 20)))
        return min(sizes)


def _checked(name: str, value: Any) -> Any:
    """The value in its type; booleans are no numbers, and a negative amount of anything is a mistake."""
    kind = {each.name: each.type for each in fields(Faults)}.get(name)
    if kind is None:
        known = ", ".join(each.name for each in fields(Faults))
        raise SimulatorError(f"'{name}' is no fault of a direction. Known: {known}.")
    if kind is bool:
        fits = isinstance(value, bool)
    elif value is None:
        fits = name in ("cut_at", "reset_at")
    else:
        whole = kind is not float
        fits = (
            isinstance(value, int if whole else (int, float)) and not isinstance(value, bool) and value >= 0
        )
    if not fits:
        raise SimulatorError(f"{name}: {value!r} does not fit. See `Faults` in simulators/proxy/way.py.")
    return value
