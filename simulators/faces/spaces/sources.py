"""Where the value of each variable comes from: a signal, a rule over signals, a state, or what is fixed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from asyncua import ua

from simulators.faces.spaces.layout import Grown, Growth, Values
from simulators.faces.spaces.nodes import EU_INFORMATION, RANGE, Numbers, unit
from simulators.faces.spaces.table import UA, Key
from simulators.model import Model, Signal


class Source(NamedTuple):
    """of: a signal, whose quality the value has, and at whose changes alone it changes. None as value: there is none."""

    compute: Callable[[Values], Any]
    of: str = ""
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class Sources:
    """Of one machine's nodes."""

    model: Model
    growth: Growth
    numbers: Numbers

    def of(self, node: Grown) -> Source:
        """The source of a variable."""
        part, above = node.part, self.growth.parts.get(node.above)
        if part is not None and part.signal:
            return Source(lambda values, name=part.signal: values[name], part.signal)  # type: ignore[misc]
        if part is not None and part.rule is not None:
            return Source(part.rule)
        if part is not None and part.value is not None:
            return Source(lambda _: part.value, fixed=True)
        if above is not None and node.data in MEASURES:
            return Source(lambda _: self._measure(node, above), fixed=True)
        return self._state(node)

    def _measure(self, node: Grown, above: Any) -> Any:
        signal = next((each for each in self.model.signals if each.name == above.signal), None)
        if node.data == Key(UA, EU_INFORMATION):
            code = above.unit or (signal.unit if signal is not None else "")
            return unit(code) if code else None
        low, high = above.span or _span(signal)
        return ua.Range(float(low), float(high))

    def _state(self, node: Grown) -> Source:
        """CurrentState, and its Id and Number, of a state machine (OPC 10000-16, 4.4.2)."""
        machine, _, inner = node.path.rpartition("CurrentState")
        part = self.growth.parts.get(machine.rstrip("/"))
        if part is None or part.state is None or inner not in ("", "/Id", "/Number"):
            return Source(lambda _: None, fixed=True)
        rule, states = part.state, self.growth.states(machine.rstrip("/"))
        if inner == "/Id":
            return Source(lambda values: self.numbers.node(states[rule(values)][0]))
        return Source(rule) if not inner else Source(lambda values: states[rule(values)][1])


MEASURES = frozenset({Key(UA, EU_INFORMATION), Key(UA, RANGE)})


def _span(signal: Signal | None) -> tuple[float, float]:
    if signal is None or signal.low is None or signal.high is None:
        return 0.0, 0.0
    return float(signal.low), float(signal.high)
