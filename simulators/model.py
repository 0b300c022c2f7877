"""What a machine is: declared signals, and a step that says which of them changed.

A model is pure. It has no clock, no socket and no thread; time is an argument, chance comes from one generator per
signal seeded by name. So the same seed gives the same values on every face, and a new signal does not shift the
randomness of the others, as it would with one generator for all.
"""

import random
import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Literal, NamedTuple

from simulators.faults.sensors import GOOD, Reading, Sensors
from simulators.live import Alarm, Setting, Written, admitted
from simulators.surroundings import Surroundings

Value = float | int | bool | str | tuple[float, ...]
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
    length: int = 0  # of a waveform: so many numbers at once; 0: one value

    def wire(self, raw: Value) -> Value:
        """What leaves the sensor: saturated, at its resolution, in its type; float32 already rounded as the wire will."""
        if isinstance(raw, tuple):
            return raw  # a waveform has been through `samples`, once and not at every step
        if isinstance(raw, str) or self.type is Type.STRING:
            return str(raw)
        if self.type is Type.BOOLEAN:
            return bool(raw)
        if self.type in INTEGERS:
            low, high = INTEGERS[self.type]
            return max(low, min(high, round(raw)))
        return self._real(float(raw))

    def samples(self, raw: Sequence[float]) -> tuple[float, ...]:
        """A waveform as it leaves the sensor."""
        return tuple(self._real(sample) for sample in raw)

    def unlimited(self, raw: float) -> Value:
        """As `wire`, but beyond the sensor's range: what a wrong scaling behind the sensor makes of it."""
        if self.type in INTEGERS:
            low, high = INTEGERS[self.type]
            return max(low, min(high, round(raw)))
        rounded = round(raw, self.decimals) + 0.0
        return float32(rounded) if self.type is Type.FLOAT else rounded

    @property
    def is_number(self) -> bool:
        """Whether it can be drifting, biased or scaled."""
        return self.type not in (Type.STRING, Type.BOOLEAN) and not self.length

    @property
    def span(self) -> float:
        """The sensor's range; 100 where none is declared."""
        return 100.0 if self.low is None or self.high is None else float(self.high - self.low)

    def _real(self, raw: float) -> float:
        raw = raw if self.low is None else max(self.low, raw)
        raw = raw if self.high is None else min(self.high, raw)
        rounded = round(raw, self.decimals) + 0.0  # + 0.0: no negative zero
        return float32(rounded) if self.type is Type.FLOAT else rounded


def is_nan(value: object) -> bool:
    """NaN is the one number that is not itself."""
    return isinstance(value, float) and value != value  # noqa: PLR0124


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

    process_faults: ClassVar[Mapping[str, str]] = {}  # name: what it does to this machine
    attended_states: ClassVar[frozenset[str]] = frozenset()  # those that need an operator
    alarms: ClassVar[tuple[Alarm, ...]] = ()
    settings: ClassVar[tuple[Setting, ...]] = ()
    remembered: ClassVar[tuple[str, ...]] = ()  # signals of which the machine keeps a history

    machine: str
    seed: int
    values: dict[str, Value] = field(default_factory=dict, init=False)
    faults: dict[str, float] = field(default_factory=dict, init=False)  # of the process: name and strength
    sensors: Sensors = field(default_factory=Sensors, init=False)
    clock_error_ns: int = field(default=0, init=False)  # how wrong its clock is; simulated time never is
    around: Surroundings = field(default_factory=Surroundings, init=False)
    waiting: list[Written] = field(default_factory=list, init=False)  # settings for the next step
    written: list[Written] = field(default_factory=list, init=False)  # those of this one
    over: bool = field(default=False, init=False)  # it makes no further step
    # readings: those that are not as they should be
    readings: dict[str, Reading] = field(default_factory=dict, init=False, repr=False)
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
        self.written, self.waiting = self.waiting, []
        for each in self.written:
            self.adjust(each.signal, each.value)
        self.advance(dt)
        return self._sense(), self._passed(now_ns)

    def end(self, now_ns: int) -> StateSpan:
        """The state that was still running when the simulation stopped."""
        return StateSpan(self._since[0], self._since[1], now_ns)

    @property
    def power_kw(self) -> float:
        """What it draws from the hall's supply now; 0 where the model does not say."""
        return 0.0

    @property
    def air(self) -> float:
        """Compressed air it uses now, m3/min of free air."""
        return 0.0

    @property
    def pressure_bar(self) -> float | None:
        """The pressure it keeps in the hall's net; None for all but a compressor."""
        return None

    @property
    def parts_made(self) -> int:
        """Parts since it was switched on, good or bad: what an order counts."""
        return 0

    @property
    def may_work(self) -> bool:
        """Whether another part may be begun: there is a shift, and something is ordered."""
        return self.around.may_work(self.parts_made)

    @property
    def attended(self) -> bool:
        """Whether it occupies an operator now."""
        return self.state in self.attended_states

    def set(self, signal: str, value: Any, who: str) -> None:
        """Write a setting; it counts from the next step on. Raises Refused."""
        self.waiting.append(Written(who, signal, admitted(self, signal, value)))

    def adjust(self, signal: str, value: Any) -> None:
        """A setting was written: machines that declare any act on it."""
        raise NotImplementedError(signal)

    def alarming(self) -> frozenset[str]:
        """The names of the alarms that are on."""
        return frozenset()

    def failing(self, fault: str) -> float:
        """How strong a fault of the process is; 0 when there is none."""
        return self.faults.get(fault, 0.0)

    def unlike(self, signal: str) -> Mapping[str, Any]:
        """What the truth must add to a value that was not sent as it is: its quality, and the true value."""
        reading = self.readings.get(signal)
        wrong_time = {"clock_error_ns": self.clock_error_ns} if self.clock_error_ns else {}
        if reading is None:
            return wrong_time
        quality = {} if reading.quality == GOOD else {"quality": reading.quality}
        special = {"special": "nan"} if is_nan(reading.value) else {}
        return {**wrong_time, **quality, **special, "true": reading.true}

    def quality_of(self, signal: str) -> str:
        """good, uncertain or bad."""
        reading = self.readings.get(signal)
        return GOOD if reading is None else reading.quality

    def silent(self, signal: str) -> bool:
        """Whether its sensor says nothing now."""
        reading = self.readings.get(signal)
        return reading is not None and reading.silent

    def _sense(self) -> dict[str, Value]:
        raw = self.read()
        before, self.readings = self.readings, {}
        sensed = {signal.name: signal.wire(raw[signal.name]) for signal in self.signals}
        if self.sensors:
            self.readings = self.sensors.disturbed(self, sensed)
            sensed.update({name: each.value for name, each in self.readings.items()})
        if self.readings or before:
            changed = {n: value for n, value in sensed.items() if self._is_news(n, value, before)}
        else:
            known = self.values
            changed = {name: value for name, value in sensed.items() if known.get(name) != value}
        self.values = sensed
        return changed

    def _is_news(self, name: str, value: Value, before: Mapping[str, Reading]) -> bool:
        if self.silent(name):
            return False
        quality = before[name].quality if name in before else GOOD
        same = self.values.get(name) == value or (is_nan(value) and is_nan(self.values.get(name)))
        return not same or quality != self.quality_of(name)

    def _passed(self, now_ns: int) -> StateSpan | None:
        state, since = self._since
        if self.state == state:
            return None
        self._since = (self.state, now_ns)
        return StateSpan(state, since, now_ns)


def publications(model: Model) -> tuple[Publication, ...]:
    """Those its kind declares; a machine that was made for another face has a topic per signal."""
    return model.publications or tuple(Publication(s.name, {s.name: "value"}) for s in model.signals)
