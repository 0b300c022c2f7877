"""A three-plus-two-axis milling machine: it mills parts, wears its tools, warms up, stops for nothing and is set up.

Values follow from the cut: power from chip volume and material, load and torque from power, wear from cutting speed
(Taylor), vibration from speed and wear, temperatures from power, rejects from growth and wear. So a reader can check
one signal against another, which random numbers never allow.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from simulators import physics
from simulators.live import Job, Setting, job
from simulators.machines import cnc_sensors
from simulators.machines.cnc_mishaps import ALARMS, BY_NUMBER, CONDITIONS, FAULTS, TOOL_BROKEN, Breakage
from simulators.machines.cnc_signals import SIGNALS
from simulators.machines.cnc_work import (
    AMBIENT_C,
    PROGRAMS,
    RATED_KW,
    STROKE,
    Operation,
    Phase,
    Program,
)
from simulators.model import Model, Value
from simulators.physics import towards

MAX_RPM = 12_000.0
QUIET_S = 300.0  # mean seconds of cutting between micro stops
GROWTH_UM = 14.0  # thermal growth of a warm machine
TOLERANCE_UM = 15.0
HOME = {"x": 0.0, "y": 210.0, "z": 300.0}


@dataclass
class Cnc(Model):
    """Steps of 100 ms. True states: rapid, cutting, tool_change, part_change, micro_stop, setup; alarm when a tool broke, and
    idle in a hall without work or operators.
    """

    kind = "cnc"
    title = "CNC milling machine (simulated)"
    interface = "opcua"
    period_ms = 100
    signals = SIGNALS
    process_faults = FAULTS
    attended_states = frozenset({"part_change", "setup"})
    alarms = CONDITIONS
    settings = (*job(each.name for each in PROGRAMS), Setting("feed_override"))
    remembered = ("spindle_load", "spindle_power", "vibration_rms", "part_counter")

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
    breakage: Breakage = field(default_factory=Breakage, init=False)
    job: Job = field(default_factory=Job, init=False)
    dialled: float | None = field(default=None, init=False)  # the feed override, where somebody has set it
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

    @property
    def power_kw(self) -> float:
        return 1.1 + self.idle_kw() + self.cut_kw

    @property
    def air(self) -> float:
        return 0.12 if self.cut else 0.04  # sealing air, and blowing in the cut

    @property
    def parts_made(self) -> int:
        return sum(self.parts.values())

    @property
    def may_work(self) -> bool:
        return super().may_work and self.job.open(self.parts_made)

    def alarming(self) -> frozenset[str]:
        on = [BY_NUMBER[self.stop.alarm]] if self.stop is not None and self.stop.alarm else []
        on += ["CoolantLoss"] if self.failing("coolant_loss") else []
        return frozenset(on + (["ToolLifeOver"] if self.vb >= physics.WORN_OUT_MM else []))

    def adjust(self, signal: str, value: Any) -> None:
        self.job.adjust(signal, value, self.parts_made)
        if signal == "feed_override":
            self.override = self.dialled = value

    def advance(self, dt: float) -> None:
        self._spin(dt)
        self._remove(dt)
        self._move(dt)
        self._warm(dt)
        self._proceed(dt)

    def read(self) -> dict[str, Value]:
        return cnc_sensors.read(self)

    # -- the life of the machine: lots of parts, set-ups between them

    def _live(self) -> Iterator[Phase]:
        done = len(PROGRAMS[0].operations) - 2  # switched on in the middle of a part, as a visitor finds it
        while True:
            for _ in range(self.chance("lot").randint(15, 40)):
                yield from self._wait()
                yield from self._part(done)
                done = 0
                yield from self._attendance()
                yield Phase("part_change", self.chance("part_change").triangular(20, 90, 26))
            yield from self._attendance()
            yield Phase("setup", self.chance("setup").uniform(600, 2400))
            self.program = self.chance("program").choice(PROGRAMS)

    def _wait(self) -> Iterator[Phase]:
        while not self.may_work:
            yield Phase("idle", 1.0)
        wanted = self.job.part or self.around.program
        self.program = next((each for each in PROGRAMS if each.name == wanted), self.program)

    def _attendance(self) -> Iterator[Phase]:
        while self.around.operators < 1:
            yield Phase("idle", 1.0)

    def _part(self, done: int) -> Iterator[Phase]:
        turned = self.chance("feed_override").choice((100.0, 100.0, 100.0, 95.0, 90.0, 80.0))
        self.override = turned if self.dialled is None else self.dialled
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
        self.error_um = (
            GROWTH_UM * self.growth * 0.6 + 18.0 * self.vb + noise + 12.0 * self.failing("chatter")
        )
        self.parts["good" if abs(self.error_um) <= TOLERANCE_UM else "bad"] += 1

    def _proceed(self, dt: float) -> None:
        self._elapsed += dt
        if self.breakage.alarm:
            self.stop, self._elapsed = Phase("alarm", 1.0, alarm=TOOL_BROKEN), 0.0
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
        if self.breakage.repaired(self.failing("tool_break") > 0):
            self.wear[self.tool] = 0.0
        if (cut := self.cut) is None:
            return
        self.travelled += self.feed / 60 * dt
        engaged = min(
            1.0, self.travelled / 6.0, max(0.0, cut.length - self.travelled) / 6.0
        )  # run-in and run-out
        power = physics.cutting_power_kw(cut.ap, cut.ae * engaged, self.feed, cut.kc)
        self.cut_kw = power * (1 + 1.5 * self.vb) * max(0.5, self.chance("spindle_power").gauss(1, 0.015))
        self.cut_kw *= self.breakage.bite(dt, self.failing("tool_break") > 0)
        faster = (1 + 9 * self.failing("tool_wear")) * (1 + 2 * self.failing("coolant_loss"))
        self.wear[self.tool] = self.vb + physics.wear_rate(self.vb, cut.life_min) * engaged * dt / 60 * faster
        self.cutting_ms += round(dt * 1000)

    def idle_kw(self) -> float:
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
        power = self.idle_kw() + self.cut_kw
        self.watt_hours += (1.1 + power) * dt / 3.6
        self.growth = towards(self.growth, min(1.0, 0.15 + power / RATED_KW * 2.5), dt, 3600)
        self.heat["spindle"] = towards(
            self.heat["spindle"], AMBIENT_C + 9 * self.rpm / MAX_RPM + 7 * power, dt, 900
        )
        if self.failing("coolant_loss"):
            self.heat["spindle"] += 2.0 * self.cut_kw * dt / 60
        self.heat["coolant"] = towards(self.heat["coolant"], AMBIENT_C + 1.2 * self.cut_kw, dt, 1800)
        for axis in ("x", "y", "z"):
            rub = min(12.0, abs(self.moved[axis]) / 800)
            self.heat[axis] = towards(self.heat[axis], AMBIENT_C + 2 + rub, dt, 2400)

    def shake_mm_s(self) -> float:
        """Vibration velocity at the spindle, rms, without the noise of the sensor."""
        shake: float = 0.9 * (self.rpm / 6000) ** 1.5 * (1 + 3 * self.vb) + 0.25 * self.cut_kw
        return shake + self.chatter_mm_s() + self.breakage.shock

    def chatter_mm_s(self) -> float:
        """What chatter adds to the vibration; only a tool in the cut chatters."""
        return 6.0 * self.failing("chatter") if self.cut_kw > 0 else 0.0
