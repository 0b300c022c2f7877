"""What can happen to a milling machine, and how a tool breaks: a jolt, then air is cut, then the control notices."""

from dataclasses import dataclass
from types import MappingProxyType

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
