"""What a machine is: declared signals, and a step that says which of them changed.

A model is pure. It has no clock, no socket and no thread; time is an argument, chance comes from one generator per
signal seeded by name. So the same seed gives the same values on every face, and a new signal does not shift the
randomness of the others, as it would with one generator for all.
"""

import random
import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar, Literal, NamedTuple

Value = float | int | bool | str
Interface = Literal["opcua", "mqtt"]


class Type(Enum):
    """Built-in types of OPC UA (Part 6, table 1); the member's value is the standard's name."""

    BOOLEAN = "Boolean"
    BYTE = "Byte"
    INT32 = "Int32"
    UINT32 = "UInt32"
    INT64 = "Int64"
    FLOAT = "Float"
    DOUBLE = "Double"
    STRING = "String"


INTEGERS = {
    Type.BYTE: (0, 2**8 - 1),
    Type.INT32: (-(2**31), 2**31 - 1),
    Type.UINT32: (0, 2**32 - 1),
    Type.INT64: (-(2**63), 2**63 - 1),
}


@dataclass(frozen=True, slots=True)
class Signal:
    """One thing a machine measures: `unit` is a UN/CEFACT code, `low`/`high` the sensor's range, `decimals` its resolution."""

    name: str
    type: Type
    description: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    decimals: int = 3
    address: str = ""  # the vendor's own id, as the OPC UA face shows it

    def wire(self, raw: Value) -> Value:
        """What leaves the sensor: saturated, at its resolution, in its type; float32 already rounded as the wire will."""
        if isinstance(raw, str) or self.type is Type.STRING:
            return str(raw)
        if self.type is Type.BOOLEAN:
            return bool(raw)
        if self.type in INTEGERS:
            low, high = INTEGERS[self.type]
            return max(low, min(high, round(raw)))
        return self._real(float(raw))

    def _real(self, raw: float) -> float:
        raw = raw if self.low is None else max(self.low, raw)
        raw = raw if self.high is None else min(self.high, raw)
        rounded = round(raw, self.decimals) + 0.0  # + 0.0: no negative zero
        return float32(rounded) if self.type is Type.FLOAT else rounded


def float32(value: float) -> float:
    """The double that a reader of the 32-bit value will see."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


@dataclass(frozen=True, slots=True)
class Publication:
    """One MQTT topic of a machine: `fields` maps signal names to paths in the JSON (`U.L1`); bare forms have one signal.

    `whole` topics go out complete at every step, as meters do; the others when their signal changed.
    """

    topic: str
    fields: Mapping[str, str]
    form: Literal["json", "text", "number"] = "json"
    whole: bool = False


class StateSpan(NamedTuple):
    """The machine was in `state` from `begin` until just before `end` (ns UTC)."""

    state: str
    begin: int
    end: int


@dataclass
class Model(ABC):
    """A machine of one kind. Subclasses declare, `advance` their physics, and `read` their sensors."""

    kind: ClassVar[str]
    title: ClassVar[str]
    interface: ClassVar[Interface]
    period_ms: ClassVar[int]
    signals: ClassVar[tuple[Signal, ...]]
    publications: ClassVar[tuple[Publication, ...]] = ()

    machine: str
    seed: int
    values: dict[str, Value] = field(default_factory=dict, init=False)
    _streams: dict[str, random.Random] = field(default_factory=dict, init=False, repr=False)
    _since: tuple[str, int] = field(default=("", 0), init=False, repr=False)

    @property
    @abstractmethod
    def state(self) -> str:
        """The machine's true state, whatever its signals claim."""

    @abstractmethod
    def advance(self, dt: float) -> None:
        """Let `dt` seconds pass."""

    @abstractmethod
    def read(self) -> Mapping[str, Value]:
        """All signals as the physics has them, unrounded."""

    def chance(self, signal: str) -> random.Random:
        """The generator that belongs to this signal alone."""
        if signal not in self._streams:
            self._streams[signal] = random.Random(f"{self.seed}/{self.machine}/{signal}")
        return self._streams[signal]

    def begin(self, now_ns: int) -> Mapping[str, Value]:
        """Switch on: all values, before any time has passed."""
        self._since = (self.state, now_ns)
        self._sense()
        return dict(self.values)

    def step(self, now_ns: int, dt: float) -> tuple[Mapping[str, Value], StateSpan | None]:
        """Let `dt` seconds pass until `now_ns`: the values that changed, and the state that ended, if one did."""
        self.advance(dt)
        return self._sense(), self._passed(now_ns)

    def end(self, now_ns: int) -> StateSpan:
        """The state that was still running when the simulation stopped."""
        return StateSpan(self._since[0], self._since[1], now_ns)

    def _sense(self) -> dict[str, Value]:
        raw = self.read()
        sensed = {signal.name: signal.wire(raw[signal.name]) for signal in self.signals}
        changed = {name: value for name, value in sensed.items() if self.values.get(name) != value}
        self.values = sensed
        return changed

    def _passed(self, now_ns: int) -> StateSpan | None:
        state, since = self._since
        if self.state == state:
            return None
        self._since = (self.state, now_ns)
        return StateSpan(state, since, now_ns)
