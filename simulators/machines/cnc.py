"""A three-plus-two-axis milling machine: it mills parts, wears its tools, warms up, stops for nothing and is set up.

Values follow from the cut: power from chip volume and material, load and torque from power, wear from cutting speed
(Taylor), vibration from speed and wear, temperatures from power, rejects from growth and wear. So a reader can check
one signal against another, which random numbers never allow.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from simulators import physics
from simulators.machines.cnc_signals import SIGNALS
from simulators.machines.cnc_work import PROGRAMS, STATES, Operation, Phase, Program
from simulators.model import Model, Value
from simulators.physics import towards

RATED_KW = 7.5
MAX_RPM = 12_000.0
AMBIENT = 21.5
QUIET_S = 300.0  # mean seconds of cutting between micro stops
STROKE = 120.0  # mm, one pass over the part
GROWTH_UM = 14.0  # thermal growth of a warm machine
TOLERANCE_UM = 15.0
HOME = {"x": 0.0, "y": 210.0, "z": 300.0}
ALARMS = {2031: "Chip conveyor overload", 1410: "Coolant flow low", 3007: "Probe not ready"}


@dataclass
class Cnc(Model):
    """Steps of 100 ms. True states: rapid, cutting, tool_change, part_change, micro_stop, setup."""

    kind = "cnc"
    title = "CNC milling machine (simulated)"
    interface = "opcua"
    period_ms = 100
    signals = SIGNALS

    program: Program = field(default=PROGRAMS[0], init=False)
    phase: Phase = field(default=Phase("rapid", 1.0), init=False)
    stop: Phase | None = field(
        default=None, init=False
    )  # a micro stop interrupts the phase, which then goes on
    block: int = field(default=10, init=False)
    tool: int = field(default=0, init=False)
    wear: dict[int, float] = field(default_factory=dict, init=False)
    parts: dict[str, int] = field(default_factory=lambda: {"good": 0, "bad": 0}, init=False)
    rpm: float = field(default=0.0, init=False)
    feed: float = field(default=0.0, init=False)
    cut_kw: float = field(default=0.0, init=False)
    override: float = field(default=100.0, init=False)
    travelled: float = field(default=0.0, init=False)  # mm along the cut of this operation
    cutting_ms: int = field(default=0, init=False)
    watt_hours: float = field(default=0.0, init=False)
    growth: float = field(default=0.2, init=False)  # 0 cold .. 1 warm
    error_um: float = field(default=3.0, init=False)
    heat: dict[str, float] = field(default_factory=dict, init=False)
    position: dict[str, float] = field(default_factory=dict, init=False)
    moved: dict[str, float] = field(default_factory=dict, init=False)
    _elapsed: float = field(default=0.0, init=False)
    _quiet: float = field(default=0.0, init=False)  # seconds of cutting until the next micro stop
    _life: Iterator[Phase] = field(init=False)

    def __post_init__(self) -> None:
        self.heat = {"spindle": 31.0, "x": 24.0, "y": 24.5, "z": 26.0, "coolant": 22.5}
        self.position = {**HOME, "a": 0.0, "c": 0.0}
        self.moved = dict.fromkeys(self.position, 0.0)
        self.tool = PROGRAMS[0].operations[-2].tool
        self._quiet = self.chance("micro_stop").expovariate(1 / QUIET_S)
        self._life = self._live()
        self.phase = next(self._life)

    @property
    def state(self) -> str:
        return (self.stop or self.phase).state

    @property
    def vb(self) -> float:
        """Flank wear of the tool in the spindle, mm."""
        return self.wear.setdefault(self.tool, round(self.chance("tool_wear").uniform(0.02, 0.22), 4))

    @property
    def cut(self) -> Operation | None:
        """The operation that is removing metal right now."""
        return self.phase.cut if self.stop is None else None

    def advance(self, dt: float) -> None:
        self._spin(dt)
        self._remove(dt)
        self._move(dt)
        self._warm(dt)
        self._proceed(dt)

    def read(self) -> dict[str, Value]:
        return {**self._read_control(), **self._read_spindle(), **self._read_axes(), **self._read_supply()}

    # -- the life of the machine: lots of parts, set-ups between them

    def _live(self) -> Iterator[Phase]:
        done = len(PROGRAMS[0].operations) - 2  # switched on in the middle of a part, as a visitor finds it
        while True:
            for _ in range(self.chance("lot").randint(15, 40)):
                yield from self._part(done)
                done = 0
                yield Phase("part_change", self.chance("part_change").triangular(20, 90, 26))
            yield Phase("setup", self.chance("setup").uniform(600, 2400))
            self.program = self.chance("program").choice(PROGRAMS)

    def _part(self, done: int) -> Iterator[Phase]:
        self.override = self.chance("feed_override").choice((100.0, 100.0, 100.0, 95.0, 90.0, 80.0))
        for index, operation in enumerate(self.program.operations[done:], done):
            self.block = 100 * (index + 1)
            if operation.tool != self.tool:
                yield Phase("tool_change", self.chance("tool_change").uniform(4, 8))
                self._fit(operation.tool)
            yield Phase("rapid", 1.5)
            yield Phase("cutting", 0.0, operation)
        yield Phase("rapid", 2.5)  # retract and come to a stand before anyone opens the door
        self._inspect()

    def _fit(self, tool: int) -> None:
        self.tool = tool
        if self.vb >= physics.WORN_OUT_MM:
            self.wear[tool] = 0.0  # a new insert

    def _inspect(self) -> None:
        noise = self.chance("dimension_error").gauss(0, 1.5)
        self.error_um = GROWTH_UM * self.growth * 0.6 + 18.0 * self.vb + noise
        self.parts["good" if abs(self.error_um) <= TOLERANCE_UM else "bad"] += 1

    def _proceed(self, dt: float) -> None:
        self._elapsed += dt
        if self.stop is not None:
            if self._elapsed >= self.stop.seconds:
                self.stop = None
        elif self._finished():
            self.phase = next(self._life)
            self.travelled = self._elapsed = 0.0
        elif self.cut is not None:
            self._maybe_stop(dt)

    def _finished(self) -> bool:
        if self.phase.cut is not None:
            return self.travelled >= self.phase.cut.length
        return self._elapsed >= self.phase.seconds

    def _maybe_stop(self, dt: float) -> None:
        self._quiet -= dt
        if self._quiet > 0:
            return
        dice = self.chance("micro_stop")
        self._quiet = dice.expovariate(1 / QUIET_S)
        self.stop = Phase("micro_stop", 3.0 + dice.expovariate(1 / 15), alarm=dice.choice(tuple(ALARMS)))
        self._elapsed = 0.0

    # -- physics

    def _spin(self, dt: float) -> None:
        cut = self.phase.cut
        wanted = 0.0 if cut is None else cut.rpm
        self.rpm = towards(self.rpm, wanted, dt, 0.35)
        self.rpm = 0.0 if self.rpm < 5 and wanted == 0 else self.rpm
        ready = self.cut is not None and self.rpm > 0.9 * wanted
        self.feed = towards(
            self.feed, self.cut.feed * self.override / 100 if ready and self.cut else 0.0, dt, 0.15
        )

    def _remove(self, dt: float) -> None:
        self.cut_kw = 0.0
        if (cut := self.cut) is None:
            return
        self.travelled += self.feed / 60 * dt
        engaged = min(
            1.0, self.travelled / 6.0, max(0.0, cut.length - self.travelled) / 6.0
        )  # run-in and run-out
        power = physics.cutting_power_kw(cut.ap, cut.ae * engaged, self.feed, cut.kc)
        self.cut_kw = power * (1 + 1.5 * self.vb) * max(0.5, self.chance("spindle_power").gauss(1, 0.015))
        self.wear[self.tool] = self.vb + physics.wear_rate(self.vb, cut.life_min) * engaged * dt / 60
        self.cutting_ms += round(dt * 1000)

    def _idle_kw(self) -> float:
        return 0.12 + 0.65 * (self.rpm / MAX_RPM) ** 1.5 if self.rpm > 0 else 0.0

    def _move(self, dt: float) -> None:
        target = self._target()
        for axis, wanted in target.items():
            before = self.position[axis]
            self.position[axis] = towards(before, wanted, dt, 0.12 if self.cut else 0.4)
            self.moved[axis] = (self.position[axis] - before) / dt * 60

    def _target(self) -> dict[str, float]:
        if self.stop is not None:
            return dict(self.position)
        cut = self.phase.cut
        if cut is None:
            near = self.phase.state == "rapid"
            return {**({"x": 150.0, "y": 80.0, "z": 50.0} if near else HOME), "a": 0.0, "c": 0.0}
        y = 80.0 + int(self.travelled / STROKE) * cut.ae
        x = 150.0 + physics.zigzag(self.travelled, STROKE)
        return {"x": x, "y": y, "z": -cut.ap, "a": cut.a, "c": cut.c}

    def _warm(self, dt: float) -> None:
        power = self._idle_kw() + self.cut_kw
        self.watt_hours += (1.1 + power) * dt / 3.6
        self.growth = towards(self.growth, min(1.0, 0.15 + power / RATED_KW * 2.5), dt, 3600)
        self.heat["spindle"] = towards(
            self.heat["spindle"], AMBIENT + 9 * self.rpm / MAX_RPM + 7 * power, dt, 900
        )
        self.heat["coolant"] = towards(self.heat["coolant"], AMBIENT + 1.2 * self.cut_kw, dt, 1800)
        for axis in ("x", "y", "z"):
            rub = min(12.0, abs(self.moved[axis]) / 800)
            self.heat[axis] = towards(self.heat[axis], AMBIENT + 2 + rub, dt, 2400)

    # -- sensors

    def _noise(self, signal: str, sigma: float) -> float:
        return self.chance(signal).gauss(0, sigma)

    def _read_control(self) -> dict[str, Value]:
        state = STATES[self.state]
        alarm = self.stop.alarm if self.stop else 0
        return {
            "execution": state.execution,
            "execution_code": state.code,
            "mode": "MANUAL" if self.state == "setup" else "AUTOMATIC",
            "program": self.program.name,
            "block_number": self.block + int(self.travelled / STROKE),
            "part_counter": sum(self.parts.values()),
            "good_parts": self.parts["good"],
            "bad_parts": self.parts["bad"],
            "cutting_time": self.cutting_ms,
            "dimension_error": self.error_um,
            "tool_number": self.tool,
            "tool_wear": self.vb,
            "tool_life_remaining": 100 * (1 - self.vb / physics.WORN_OUT_MM),
            "door_closed": self.state not in ("part_change", "setup"),
            "alarm_number": alarm,
            "alarm_text": ALARMS.get(alarm, ""),
        }

    def _read_spindle(self) -> dict[str, Value]:
        power = self._idle_kw() + self.cut_kw
        shake = 0.9 * (self.rpm / 6000) ** 1.5 * (1 + 3 * self.vb) + 0.25 * self.cut_kw
        return {
            "spindle_speed": self.rpm + (self._noise("spindle_speed", 1.2) if self.rpm else 0.0),
            "spindle_speed_set": self.phase.cut.rpm if self.phase.cut else 0.0,
            "spindle_override": 100.0,
            "spindle_load": 100 * power / RATED_KW,
            "spindle_power": power,
            "spindle_torque": physics.torque_nm(self.cut_kw, self.rpm),
            "spindle_temperature": self.heat["spindle"],
            "vibration_rms": shake * self.chance("vibration_rms").lognormvariate(0, 0.06) + 0.02,
            "feed_rate": self.feed,
            "feed_override": self.override,
        }

    def _read_axes(self) -> dict[str, Value]:
        read: dict[str, Value] = {f"{axis}_position": place for axis, place in self.position.items()}
        for axis, hold in (("x", 4.0), ("y", 4.5), ("z", 11.0)):  # the z axis carries its own weight
            push = 6.0 * self.cut_kw * (0.4 if axis == "z" else 1.0)
            load = hold + abs(self.moved[axis]) / 450 + push + self._noise(f"{axis}_load", 0.25)
            read[f"{axis}_load"] = load
            read[f"{axis}_temperature"] = self.heat[axis]
        return read

    def _read_supply(self) -> dict[str, Value]:
        flowing = self.cut is not None
        pulse = physics.zigzag(self.cutting_ms / 1000, 20) / 20
        return {
            "coolant_on": flowing,
            "coolant_pressure": 18.0 + self._noise("coolant_pressure", 0.15) if flowing else 0.0,
            "coolant_level": 92.0 - self.cutting_ms / 3_600_000 * 1.5,
            "coolant_temperature": self.heat["coolant"],
            "hydraulic_pressure": 58.0 + 4.0 * pulse + self._noise("hydraulic_pressure", 0.05),
            "energy": self.watt_hours,
            "ambient_temperature": AMBIENT + self._noise("ambient_temperature", 0.02),
        }
