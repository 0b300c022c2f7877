"""A fault that somebody wants: what a scenario, a command line and a request have in common."""

from dataclasses import dataclass

Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Wish:
    """A fault that is wanted. signal: for faults of sensors. amount: None is the usual. seconds: None is until stopped."""

    machine: str
    fault: str
    signal: str = ""
    amount: float | None = None
    seconds: float | None = None

    @property
    def key(self) -> Key:
        return self.machine, self.fault, self.signal
