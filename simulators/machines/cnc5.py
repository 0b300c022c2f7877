"""A five-axis machining centre for single parts: another part on every pallet, simultaneous axes, chatter where the cut is too
deep for the speed, thermal growth per axis, and the vibration itself as a waveform.

Chatter follows the stability lobes of one mode of the spindle: beside a whole number of waves per tooth the limit of the
depth is low, at a whole number it is four times that (Altintas, Manufacturing Automation, chapter 4, simplified to one mode).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from simulators.machines.cnc import Cnc
from simulators.machines.cnc_signals import SIGNALS as THREE_AXES
from simulators.machines.cnc_work import PROGRAMS, Operation, Phase, Program
from simulators.model import Signal, Type, Value
from simulators.physics import towards

MODE_HZ = 620.0  # of the spindle with its tool
LIMIT_MM = 3.0  # depth that is always stable
SAMPLES = 256
RATE_HZ = 12_800.0
GROWTH_UM = {"x": 9.0, "y": 7.0, "z": 24.0}  # of a warm machine

EXTRA = (
    Signal("pallet", Type.BYTE, "Pallet in the machine", address="Pallet.Number"),
    Signal("order", Type.STRING, "Order of the part", address="Production.Order"),
    *(
        Signal(f"{n}_growth", Type.FLOAT, f"Thermal growth {n.upper()}", "4H", -100, 100, 2, f"Axes.{n.upper()}.Growth")
        for n in GROWTH_UM
    ),
    *(
        Signal(f"{n}_load", Type.FLOAT, f"Load of drive {n.upper()}", "P1", 0, 200, 1, f"Axes.{n.upper()}.Load")
        for n in ("a", "c")
    ),
    Signal("chatter", Type.BOOLEAN, "The monitoring hears chatter", address="Spindle.Chatter"),
    Signal("chatter_frequency", Type.FLOAT, "Frequency of the chatter", "HTZ", 0, 6400, 1, "Spindle.ChatterFrequency"),
    Signal(
        "vibration_waveform", Type.FLOAT, f"Vibration velocity, {SAMPLES} samples at {RATE_HZ:.0f} Hz, once a second",
        "C16", -200, 200, 3, "Spindle.Waveform", SAMPLES,
    ),
)  # fmt: skip


def depth_limit(rpm: float, teeth: int) -> float:
    """The deepest stable cut in mm: low between the lobes, four times as much where waves and teeth agree."""
    tooth_hz = rpm * teeth / 60.0
    if tooth_hz <= 0:
        return 4 * LIMIT_MM
    apart = abs(MODE_HZ / tooth_hz - round(MODE_HZ / tooth_hz))  # 0 agreed .. 0.5 worst
    return LIMIT_MM * (1.0 + 3.0 * (1.0 - 2.0 * apart) ** 2)


@dataclass
class Cnc5(Cnc):
    """Steps of 100 ms. The states of the milling machine; pallet_change in place of part_change, and short set-ups."""

    kind = "cnc5"
    title = "Five-axis machining centre (simulated)"
    signals = (*THREE_AXES, *EXTRA)
    attended_states = frozenset({"setup"})

    pallet: int = field(default=1, init=False)
    order: str = field(default="A-1000", init=False)
    axes_um: dict[str, float] = field(default_factory=lambda: dict.fromkeys(GROWTH_UM, 0.0), init=False)
    _wave: tuple[float, ...] = field(default=(0.0,) * SAMPLES, init=False, repr=False)
    _wave_age: float = field(default=0.0, init=False)

    @property
    def chattering(self) -> bool:
        """Whether the cut that is on is deeper than it may be, or is made to chatter."""
        if self.cut is None or self.cut_kw <= 0:
            return False
        return bool(self.failing("chatter")) or self.cut.ap > depth_limit(self.rpm, self.cut.teeth)

    def advance(self, dt: float) -> None:
        super().advance(dt)
        for axis, warm in GROWTH_UM.items():
            self.axes_um[axis] = towards(self.axes_um[axis], warm * self.growth, dt, 3000.0)
        self._wave_age += dt
        if self._wave_age >= 1.0 - 1e-9:
            self._wave_age = 0.0
            self._wave = self._waveform() if self.rpm > 0 else (0.0,) * SAMPLES

    def read(self) -> dict[str, Value]:
        push = 4.0 * self.cut_kw
        return {
            **super().read(),
            "pallet": self.pallet,
            "order": self.job.order or self.around.order or self.order,
            **{f"{axis}_growth": growth for axis, growth in self.axes_um.items()},
            **{f"{n}_load": 3.0 + push + abs(self.moved[n]) / 400 for n in ("a", "c")},
            "chatter": self.chattering,
            "chatter_frequency": MODE_HZ * 1.05 if self.chattering else 0.0,
            "vibration_waveform": self._wave,
        }

    def chatter_mm_s(self) -> float:
        return 6.0 * max(self.failing("chatter"), 1.0) if self.chattering else 0.0

    def _live(self) -> Iterator[Phase]:
        """Lot size 1: a pallet is changed, and now and then a new programme is set up beside it."""
        done = len(PROGRAMS[0].operations) - 2
        while True:
            yield from self._wait()
            yield from self._part(done)
            done = 0
            dice = self.chance("order")
            self.pallet = self.pallet % 8 + 1
            self.order = f"A-{dice.randint(1001, 9999)}"
            self.program = _varied(dice.choice(PROGRAMS), dice.uniform(0.6, 1.3), dice.uniform(-40, 40))
            yield Phase("pallet_change", dice.uniform(18, 26))
            if dice.random() < 0.2:
                yield from self._attendance()
                yield Phase("setup", dice.uniform(120, 480))

    def _target(self) -> dict[str, float]:
        """In the cut, the rotary axes follow the path: simultaneous, not indexed."""
        target = super()._target()
        cut = self.phase.cut
        if cut is not None and self.stop is None and (cut.a or cut.c):
            swing = math.sin(self.travelled / 60.0)
            target["a"] = max(-110.0, min(110.0, cut.a + 12.0 * swing))
            target["c"] = cut.c + 25.0 * swing
        return target

    def _waveform(self) -> tuple[float, ...]:
        """Spindle, teeth and chatter as tones, and noise, scaled so that its rms is the vibration that is reported."""
        cut, dice = self.cut, self.chance("vibration_waveform")
        teeth = 0 if cut is None or self.cut_kw <= 0 else cut.teeth
        turn = self.rpm / 60.0
        tones = [(turn, 1.0), (turn * teeth, 1.6 if teeth else 0.0)]
        tones.append((MODE_HZ * 1.05, 5.0 if self.chattering else 0.0))
        phases = [dice.uniform(0, 2 * math.pi) for _ in tones]
        samples = [
            sum(level * math.sin(2 * math.pi * hz * n / RATE_HZ + at) for (hz, level), at in zip(tones, phases, strict=True))
            + dice.gauss(0, 0.15)
            for n in range(SAMPLES)
        ]  # fmt: skip
        rms = math.sqrt(sum(sample * sample for sample in samples) / SAMPLES)
        scale = self.shake_mm_s() / rms
        return EXTRA[-1].samples([sample * scale for sample in samples])


def _varied(program: Program, length: float, swivel: float) -> Program:
    """The same kind of part in another size and another orientation: nothing is made twice."""

    def other(operation: Operation) -> Operation:
        return replace(
            operation, length=operation.length * length, a=operation.a + (swivel if operation.a else 0.0)
        )

    return Program(program.name, tuple(other(operation) for operation in program.operations))
