"""What the milling machine has to do: programs, operations with their cutting data, and its states."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from simulators.physics import spindle_rpm, table_feed, tool_life_min

RATED_KW = 7.5
STROKE = 120.0  # mm, one pass over the part
AMBIENT_C = 21.5


@dataclass(frozen=True, slots=True)
class Operation:
    """One tool path: mm, m/min, mm per tooth, MPa; `taylor` is the constant C of the tool and material."""

    tool: int
    diameter: float
    teeth: int
    vc: float
    fz: float
    ap: float
    ae: float
    length: float
    kc: float
    taylor: float
    a: float = 0.0
    c: float = 0.0

    @property
    def rpm(self) -> float:
        return spindle_rpm(self.vc, self.diameter)

    @property
    def feed(self) -> float:
        return table_feed(self.fz, self.teeth, self.rpm)

    @property
    def life_min(self) -> float:
        return tool_life_min(self.vc, self.taylor)


class Program(NamedTuple):
    """A part: the name the control shows, and its operations in order."""

    name: str
    operations: tuple[Operation, ...]


class Phase(NamedTuple):
    """What the machine does now: for some seconds, or, when cutting, until the path is travelled."""

    state: str
    seconds: float
    cut: Operation | None = None
    alarm: int = 0


class State(NamedTuple):
    """Execution as MTConnect words it, numbered as OPC UA for MTConnect 2 does (alphabetically)."""

    execution: str
    code: int


STATES = MappingProxyType(
    {
        "cutting": State("ACTIVE", 0),
        "rapid": State("ACTIVE", 0),
        "tool_change": State("ACTIVE", 0),
        "micro_stop": State("INTERRUPTED", 2),
        "setup": State("STOPPED", 7),
        "part_change": State("PROGRAM_COMPLETED", 5),
        "pallet_change": State("PROGRAM_COMPLETED", 5),
        "idle": State("READY", 6),
        "alarm": State("INTERRUPTED", 2),
    }
)

STEEL, ALUMINIUM = 2100.0, 700.0

PROGRAMS = (
    Program(
        "O2040_FLANGE",
        (
            Operation(1, 50, 4, 180, 0.10, 2.0, 40, 110, STEEL, 420),
            Operation(4, 16, 4, 160, 0.06, 5.0, 5, 170, STEEL, 380, c=90),
            Operation(7, 10, 3, 140, 0.05, 4.0, 6, 120, STEEL, 360, a=30, c=90),
            Operation(9, 12, 4, 200, 0.05, 0.4, 8, 130, STEEL, 480),
        ),
    ),
    Program(
        "O1001_BRACKET",
        (
            Operation(2, 40, 3, 500, 0.10, 2.5, 30, 260, ALUMINIUM, 1400),
            Operation(5, 12, 3, 300, 0.08, 6.0, 8, 320, ALUMINIUM, 900, a=45),
            Operation(6, 8, 2, 220, 0.06, 4.0, 5, 240, ALUMINIUM, 800, a=45, c=180),
        ),
    ),
    Program(
        "O3177_HOUSING",
        (
            Operation(1, 50, 4, 170, 0.12, 2.0, 45, 160, STEEL, 420),
            Operation(3, 20, 4, 150, 0.08, 6.0, 6, 200, STEEL, 400),
            Operation(7, 10, 3, 140, 0.05, 4.0, 6, 90, STEEL, 360, a=-30),
            Operation(8, 6, 2, 110, 0.04, 2.0, 4, 80, STEEL, 330, a=-30, c=45),
            Operation(9, 12, 4, 200, 0.05, 0.4, 8, 150, STEEL, 480),
        ),
    ),
)
