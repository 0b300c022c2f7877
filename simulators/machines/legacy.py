"""A press from 1987: no control that speaks, only a stack light and a pulse per stroke, wired to a small input box.

The box counts pulses and publishes each input when it changes. Everything that is known of the machine is in three lamps.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import MappingProxyType

from simulators.machines.phased import Phased, Step
from simulators.model import Signal, Type, Value

STROKE_S = 2.4
RUN_S = 240.0  # mean length of a run

SIGNALS = (
    Signal("light_red", Type.BOOLEAN, "Input 1: red lamp"),
    Signal("light_yellow", Type.BOOLEAN, "Input 2: yellow lamp"),
    Signal("light_green", Type.BOOLEAN, "Input 3: green lamp"),
    Signal("pulses", Type.UINT32, "Counter 1: strokes since the box was switched on"),
)


@dataclass
class Legacy(Phased):
    """Steps of 100 ms. States: running (green), waiting (yellow), fault (red), off (dark) out of shift."""

    kind = "legacy"
    title = "Old press with a stack light (simulated)"
    interface = "mqtt"
    period_ms = 100
    signals = SIGNALS
    attended_states = frozenset({"fault"})
    process_faults = MappingProxyType(
        {
            "jam": "a sheet is stuck: red until the fault ends",
            "starvation": "no sheets: yellow until the fault ends",
        }
    )

    pulses: int = field(default=0, init=False)
    _stroke: float = field(default=0.0, init=False)  # of the stroke that goes on, 0 to 1

    def life(self) -> Iterator[Step]:
        dice = self.chance("life")
        while True:
            yield from self.idle("off")
            yield Step("running", 20.0 + dice.expovariate(1 / RUN_S))
            if self.failing("jam") or dice.random() < 0.15:
                yield Step("fault", 10.0 + dice.expovariate(1 / 60.0))
                while self.failing("jam") or self.around.operators < 1:
                    yield Step("fault", 1.0)
            yield Step("waiting", 5.0 + dice.expovariate(1 / 30.0))
            while self.failing("starvation"):
                yield Step("waiting", 1.0)

    @property
    def power_kw(self) -> float:
        return 4.0 if self.state == "running" else 0.6

    @property
    def parts_made(self) -> int:
        return self.pulses

    def advance(self, dt: float) -> None:
        if self.state == "running":
            self._stroke += dt / STROKE_S * self.chance("pulses").gauss(1.0, 0.02)
            if self._stroke >= 1.0:
                self._stroke -= 1.0
                self.pulses += 1
            if self.failing("jam") or self.failing("starvation"):
                self.elapsed = self.now.seconds  # the run is over
        self.proceed(dt)

    def read(self) -> dict[str, Value]:
        return {
            "light_red": self.state == "fault",
            "light_yellow": self.state == "waiting",
            "light_green": self.state == "running",
            "pulses": self.pulses,
        }
