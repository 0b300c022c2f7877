"""What can happen to a milling machine, and how a tool breaks: a jolt, then air is cut, then the control notices."""

from dataclasses import dataclass
from types import MappingProxyType

from simulators.live import Alarm

FAULTS = MappingProxyType(
    {
        "tool_wear": "tools wear ten times as fast (1 + 9 times the amount)",
        "tool_break": "the tool breaks in the cut: a jolt, five seconds of air, an alarm until a new tool is fitted",
        "chatter": "the cut chatters: vibration, and parts out of tolerance",
        "coolant_loss": "no coolant: three times the wear, and heat",
    }
)
TOOL_BROKEN = 5021
ALARMS = MappingProxyType({2031: "Chip conveyor overload", 1410: "Coolant flow low", 3007: "Probe not ready"})
WORDS = MappingProxyType({**ALARMS, TOOL_BROKEN: "Tool broken"})
CONDITIONS = (
    Alarm("ToolBroken", "Tool broken", 900, "Tool", "5021"),
    Alarm("ToolLifeOver", "Tool life is over", 300, "Tool", "5010"),
    Alarm("CoolantLoss", "No coolant", 700, "Coolant", "1400"),
    Alarm("ChipConveyorOverload", "Chip conveyor overload", 500, "Machine", "2031"),
    Alarm("CoolantFlowLow", "Coolant flow low", 400, "Coolant", "1410"),
    Alarm("ProbeNotReady", "Probe not ready", 400, "Tool", "3007"),
)
BY_NUMBER = MappingProxyType({int(each.code): each.name for each in CONDITIONS})
JOLT_S = 0.3
NOTICED_S = 5.0


@dataclass(slots=True)
class Breakage:
    """seconds: of cutting since the tool broke; None while it is whole."""

    seconds: float | None = None

    @property
    def alarm(self) -> bool:
        """Whether the control has noticed."""
        return self.seconds is not None and self.seconds >= NOTICED_S

    @property
    def shock(self) -> float:
        """mm/s that the jolt adds to the vibration."""
        return 8.0 if self.seconds is not None and self.seconds <= JOLT_S else 0.0

    def bite(self, dt: float, breaking: bool) -> float:
        """What is left of the cutting power in this step of cutting."""
        if not breaking:
            return 1.0
        self.seconds = dt if self.seconds is None else self.seconds + dt
        return 2.5 if self.seconds <= JOLT_S else 0.0

    def repaired(self, breaking: bool) -> bool:
        """Whether a new tool was fitted just now: the fault has ended."""
        if breaking or self.seconds is None:
            return False
        self.seconds = None
        return True
