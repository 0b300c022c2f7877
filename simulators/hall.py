"""What machines share: shifts, operators, orders, electricity and compressed air. Everything follows from the plan and the
simulated time; what happens is in the truth.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from simulators.clock import SECOND
from simulators.model import Model
from simulators.truth import Truth

LIGHT_KW = 1.5  # lighting and offices
AIR_LEAK = 0.15  # m3/min that no machine uses


@dataclass(frozen=True, slots=True)
class Shift:
    """Times in seconds after local midnight; one that ends before it begins goes over midnight. days: Monday is 0."""

    name: str
    begin_s: int
    end_s: int
    operators: int = 1_000_000
    days: frozenset[int] = frozenset(range(7))

    def covers(self, moment: datetime) -> bool:
        second = moment.hour * 3600 + moment.minute * 60 + moment.second
        if self.begin_s < self.end_s:
            return moment.weekday() in self.days and self.begin_s <= second < self.end_s
        if second >= self.begin_s:
            return moment.weekday() in self.days
        return (moment.weekday() - 1) % 7 in self.days and second < self.end_s


@dataclass(frozen=True, slots=True)
class Order:
    """So many parts of a programme on a machine; programme empty: whatever it makes."""

    order: str
    machine: str
    parts: int
    program: str = ""


@dataclass(frozen=True, slots=True)
class HallPlan:
    """Without shifts it is always open, without orders there is always work."""

    zone: str = "UTC"
    shifts: tuple[Shift, ...] = ()
    orders: tuple[Order, ...] = ()


@dataclass(slots=True)
class Hall:
    """Tells each machine, right before its step, what it finds around it."""

    plan: HallPlan
    models: Sequence[Model]
    truth: Truth
    _shift: str | None = None
    _queues: dict[str, deque[Order]] = field(default_factory=dict)
    _begun: dict[str, int] = field(default_factory=dict)

    def prepare(self, at_ns: int, model: Model) -> None:
        """Set `model.around` for the step that ends at this time."""
        around, shift = model.around, self._now(at_ns)
        around.on_shift = shift is not None or not self.plan.shifts
        staff = 1_000_000 if shift is None else shift.operators
        around.operators = staff - sum(m.attended for m in self.models if m is not model)
        self._order(at_ns, model)
        others = [each for each in self.models if each is not model]
        around.load_kw = LIGHT_KW + sum(each.power_kw for each in others)
        around.air_use = AIR_LEAK + sum(each.air for each in others)
        around.air = next((each.pressure_bar for each in others if each.pressure_bar is not None), 7.0)

    def _now(self, at_ns: int) -> Shift | None:
        moment = datetime.fromtimestamp(at_ns // SECOND, ZoneInfo(self.plan.zone))
        shift = next((each for each in self.plan.shifts if each.covers(moment)), None)
        name = "" if shift is None else shift.name
        if self.plan.shifts and name != self._shift:
            self._shift = name
            self.truth.rows([{"kind": "shift", "t": at_ns, "shift": name}])
        return shift

    def _order(self, at_ns: int, model: Model) -> None:
        if not self.plan.orders:
            return
        queue = self._queues.get(model.machine)
        if queue is None:
            mine = deque(each for each in self.plan.orders if each.machine == model.machine)
            queue = self._queues[model.machine] = mine
            self._next(at_ns, model, queue)
        elif queue and model.parts_made - self._begun[model.machine] >= queue[0].parts:
            done = queue.popleft()
            self._note(at_ns, "done", done)
            self._next(at_ns, model, queue)

    def _next(self, at_ns: int, model: Model, queue: deque[Order]) -> None:
        around, self._begun[model.machine] = model.around, model.parts_made
        around.ordered = model.parts_made + sum(order.parts for order in queue)
        around.order, around.program = "", ""
        if queue:
            around.order, around.program = queue[0].order, queue[0].program
            self._note(at_ns, "start", queue[0])

    def _note(self, at_ns: int, event: str, order: Order) -> None:
        row = {"kind": "order", "event": event, "t": at_ns, "machine": order.machine}
        self.truth.rows([{**row, "order": order.order, "parts": order.parts}])
