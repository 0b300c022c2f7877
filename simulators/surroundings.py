"""What a machine finds around it. A value of its own, so that no machine knows a hall, and a hall is no part of a machine."""

from dataclasses import dataclass


@dataclass(slots=True)
class Surroundings:
    """What a machine finds around it; alone in the world it always finds everything.

    air: bar in the net. load_kw, air_use (m3/min): what all the others draw, None where nobody knows. A hall
    (`simulators.hall`) sets these before each step.
    """

    on_shift: bool = True
    operators: int = 1_000_000
    order: str = ""
    program: str = ""
    has_work: bool = True
    air: float = 7.0
    load_kw: float | None = None
    air_use: float | None = None

    @property
    def may_work(self) -> bool:
        """Whether a part may be begun."""
        return self.on_shift and self.has_work
