"""The run itself: machines step on the simulated clock, in one fixed order, and their faces hand the values over."""

import asyncio
import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from simulators.agenda import Agenda
from simulators.clock import MILLISECOND, Clock
from simulators.faces.base import Face
from simulators.model import Model
from simulators.truth import Truth

Prepare = Callable[[int, Model], None]
"""Called before each step of a machine with its time: what it finds around it."""


@dataclass(slots=True)
class Unit:
    """A machine with its face, and how many changes it may still make (None: any number).

    busy: held while it steps and while its face is disturbed: a server that is being built anew must not be stepped under its hands.
    """

    model: Model
    face: Face
    left: int | None = None
    last_ns: int = 0
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def begin(self, at_ns: int) -> None:
        """The clock starts here."""
        self.last_ns = at_ns
        async with self.busy:
            await self.face.begin(at_ns, self.model.values)

    async def step(self, at_ns: int, truth: Truth) -> bool:
        """One period: physics, then the hand-over; False when the machine has made all its changes."""
        async with self.busy:
            return await self._step(at_ns, truth)

    def retire(self, truth: Truth) -> None:
        """It makes no further step: what was taken for one, and waits, is told as unheeded; nothing more is taken. Once is enough."""
        self.model.over = True
        waiting, self.model.waiting = self.model.waiting, []
        if waiting:
            truth.unheeded(self.model.machine, self.last_ns, waiting)

    async def _step(self, at_ns: int, truth: Truth) -> bool:
        changed, ended = self.model.step(at_ns, self.model.period_ms / 1000)
        self.last_ns = at_ns
        if ended is not None:
            truth.state(self.model.machine, ended)
        if self.model.written:
            truth.written(self.model.machine, at_ns, self.model.written)
        allowed = dict(islice(changed.items(), self.left))
        await self.face.emit(at_ns + self.model.clock_error_ns, allowed, self.model.values)
        if self.left is None:
            return True
        self.left -= len(allowed)
        return self.left > 0


async def drive(
    units: Sequence[Unit],
    clock: Clock,
    truth: Truth,
    stop: asyncio.Event,
    *,
    origin_ns: int,
    until_ns: int | None = None,
    agenda: Agenda | None = None,
    prepare: Prepare | None = None,
) -> None:
    """Step all machines from `origin_ns` until `stop`, `until_ns` (inclusive), or until none has a change left.

    Machines that are due at one moment step in the order given: the truth of two runs is the same line by line. What the
    agenda has for a moment comes before the steps of that moment.
    """
    clock.start(origin_ns)
    agenda = agenda or Agenda()
    agenda.start(origin_ns)
    for unit in units:
        await unit.begin(origin_ns)
    due = [(origin_ns + unit.model.period_ms * MILLISECOND, number) for number, unit in enumerate(units)]
    heapq.heapify(due)
    while due:
        at_ns, number = due[0]
        if (until_ns is not None and at_ns > until_ns) or not await clock.reached(at_ns, stop):
            return
        await agenda.reach(at_ns)
        heapq.heappop(due)
        if prepare is not None:
            prepare(at_ns, units[number].model)
        if await units[number].step(at_ns, truth):
            heapq.heappush(due, (at_ns + units[number].model.period_ms * MILLISECOND, number))
        else:
            units[number].retire(truth)
        truth.check()
