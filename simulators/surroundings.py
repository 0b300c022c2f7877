"""What a machine finds around it. A value of its own, so that no machine knows a hall, and a hall is no part of a machine."""

from dataclasses import dataclass


@dataclass(slots=True)
class Surroundings:
    """What a machine finds around it; alone in the world it always finds everything.

    ordered: how many parts are to be made in all; None: any number. air: bar in the net. load_kw, air_use (m3/min): what all the others draw, None where nobody knows. A hall
    (`simulators.hall`) sets these before each step.
    """

    on_shift: bool = True
    operators: int = 1_000_000
    order: str = ""
    program: str = ""
    ordered: int | None = None
    air: float = 7.0
    load_kw: float | None = None
    air_use: float | None = None

    def may_work(self, made: int) -> bool:
        """Whether a machine that has made so many parts may begin another."""
        return self.on_shift and (self.ordered is None or made < self.ordered)
