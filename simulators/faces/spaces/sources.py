"""Where the value of each variable comes from: a signal, a rule over signals, a state, or what is fixed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from asyncua import ua

from simulators.faces.spaces.layout import Grown, Growth, Values
from simulators.faces.spaces.nodes import Numbers, arguments, unit
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
        if node.name.text in ("InputArguments", "OutputArguments"):
            said = arguments(node.layers[-1], self.numbers)
            return Source(lambda _: said, fixed=True)
        if above is not None and node.data in MEASURES:
            return Source(lambda _: self._measure(node, above), fixed=True)
        return self._state(node)

    def _measure(self, node: Grown, above: Any) -> Any:
        signal = next((each for each in self.model.signals if each.name == above.signal), None)
        if node.data == EU_INFORMATION:
            code = above.unit or (signal.unit if signal is not None else "")
            return unit(code) if code else None
        low, high = above.span or _span(signal)
        return ua.Range(float(low), float(high))

    def _state(self, node: Grown) -> Source:
        """CurrentState with Id and Number, and AvailableStates, of a state machine (OPC 10000-16, 4.4.2 and 4.4.3).

        A state machine inside another is in no state while the other is not in the state that it refines.
        """
        machine, _, inner = node.path.rpartition("/CurrentState")
        machine = machine or node.above
        part = self.growth.parts.get(machine)
        if part is None or part.state is None:
            return Source(lambda _: None, fixed=True)
        rule, states = part.state, self.growth.states(machine)
        if node.name.text in ("AvailableStates", "AvailableTransitions"):
            known = [key for key, _ in states.values()] if node.name.text == "AvailableStates" else []
            return Source(lambda _: known, fixed=True)
        column = COLUMNS.get(inner)
        if column is None:
            return Source(lambda values: rule(values) or None)
        return Source(lambda values: states[rule(values)][column] if rule(values) else None)


COLUMNS: Final = {"/Id": 0, "/Number": 1}
EU_INFORMATION: Final = Key(UA, 887)
MEASURES: Final = frozenset({EU_INFORMATION, Key(UA, 884)})


def _span(signal: Signal | None) -> tuple[float, float]:
    if signal is None or signal.low is None or signal.high is None:
        return 0.0, 0.0
    return float(signal.low), float(signal.high)
