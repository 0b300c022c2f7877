"""Machines whose life is a sequence of phases, each with a state and a length: the part that they have in common."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from simulators.model import Model


class Step(NamedTuple):
    """A state and how long it lasts, s."""

    state: str
    seconds: float


@dataclass
class Phased(Model):
    """`life` says what comes next; the model asks for it when a phase is over, and not before: it may look around."""

    now: Step = field(default=Step("off", 0.0), init=False)
    elapsed: float = field(default=0.0, init=False)
    _life: Iterator[Step] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._life = self.life()
        self.now = next(self._life)

    @abstractmethod
    def life(self) -> Iterator[Step]:
        """All phases, without end."""

    @property
    def state(self) -> str:
        return self.now.state

    @property
    def progress(self) -> float:
        """Of the phase, 0 to 1."""
        return min(1.0, self.elapsed / self.now.seconds) if self.now.seconds > 0 else 1.0

    def proceed(self, dt: float) -> None:
        """Let the phase go on, and the next begin when it is over."""
        self.elapsed += dt
        if self.elapsed >= self.now.seconds - 1e-9:
            self.now = next(self._life)
            self.elapsed = 0.0

    def idle(self, state: str = "idle") -> Iterator[Step]:
        """Wait, a second at a time, for a shift and for work."""
        while not self.may_work:
            yield Step(state, 1.0)

    def attendance(self, state: str) -> Iterator[Step]:
        """Wait for an operator who is free."""
        while self.around.operators < 1:
            yield Step(state, 1.0)
