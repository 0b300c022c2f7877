"""Begins and ends faults, whoever asks: a scenario, an HTTP request, a line on stdin, a test. Idempotent, and in the truth."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from simulators.agenda import Agenda
from simulators.clock import SECOND
from simulators.core import Unit
from simulators.errors import SimulatorError
from simulators.faults.catalogue import disturbable, family
from simulators.faults.sensors import Disturbance
from simulators.faults.wish import Key, Wish
from simulators.proxy.server import Proxy
from simulators.truth import Truth

MOMENTARY: Final = ("cut", "sequence_gap")
_AFTER: Final = 2_000_000  # ns
ON_THE_WAY: Final = ("refuse", "cut", "half_open", "latency")
MOST: Final = 1e9  # of anything: no clock, float32 or second of the agenda is beyond its range with it


@dataclass(slots=True)
class Engine:
    """All faults of a run. doors: the proxy before each machine's endpoint, if there is one."""

    units: Mapping[str, Unit]
    truth: Truth
    agenda: Agenda
    doors: Mapping[str, Proxy] = field(default_factory=dict)
    _active: dict[Key, Wish] = field(default_factory=dict)
    _turn: asyncio.Lock = field(
        default_factory=asyncio.Lock
    )  # a server takes a while to go: who asks meanwhile waits

    def active(self) -> Sequence[Wish]:
        """The faults that are on, in the order they began."""
        return tuple(self._active.values())

    def unit(self, machine: str) -> Unit:
        """The machine; raises SimulatorError in words when there is none of that name."""
        if machine not in self.units:
            known = ", ".join(self.units)
            raise SimulatorError(f"there is no machine '{machine}'. There are: {known}.")
        return self.units[machine]

    async def start(self, wish: Wish) -> bool:
        """Begin a fault; False when it is on already just so. With another amount or time it begins anew."""
        async with self._turn:
            return await self._start(wish, self.check(wish))

    async def _start(self, wish: Wish, what: str) -> bool:
        if self._active.get(wish.key) == wish:
            return False
        await self._stop(wish, what)
        momentary = wish.fault in MOMENTARY or (wish.fault == "restart" and wish.seconds is None)
        self._note("start", wish, what)
        self._active[wish.key] = wish
        await self._switch(wish, what, on=True)
        if momentary:
            await self._stop(wish, what)
        elif wish.seconds is not None:
            self.agenda.after(round(wish.seconds * 1000) * (SECOND // 1000), lambda: self._expire(wish))
        return True

    async def stop(self, wish: Wish) -> bool:
        """End a fault; False when it is not on."""
        async with self._turn:
            return await self._stop(wish, self.check(wish))

    async def _stop(self, wish: Wish, what: str) -> bool:
        if self._active.pop(wish.key, None) is None:
            return False
        await self._switch(wish, what, on=False)
        self._note("stop", wish, what)
        return True

    async def reset(self, machine: str = "") -> int:
        """End all faults, or those of one machine; how many there were."""
        if machine:
            self.unit(machine)
        async with self._turn:
            ending = [wish for wish in self._active.values() if machine in ("", wish.machine)]
            for wish in ending:
                await self._stop(wish, self.check(wish))
        return len(ending)

    async def _expire(self, wish: Wish) -> None:
        async with self._turn:
            if self._active.get(wish.key) is wish:  # not one that was begun anew
                await self._stop(wish, self.check(wish))

    def check(self, wish: Wish) -> str:
        """The family of the fault; raises SimulatorError in words when this machine cannot have it."""
        unit = self.unit(wish.machine)
        _reasonable(wish)
        what = family(unit.model, wish.fault)
        if what == "sensor":
            disturbable(unit.model, wish.signal, wish.fault)
        elif wish.signal:
            raise SimulatorError(
                f"{wish.fault} is no fault of a sensor: leave out the signal '{wish.signal}'."
            )
        if wish.fault in ON_THE_WAY and wish.machine not in self.doors:
            raise SimulatorError(f"{wish.machine}: nothing can be '{wish.fault}' here: start with --faults.")
        playable = (*ON_THE_WAY, "clock_jump", *unit.face.disturbances)
        if what == "communication" and wish.fault not in playable:
            raise SimulatorError(
                f"{wish.machine}: its face cannot play '{wish.fault}'; it can {', '.join(playable)}."
            )
        return what

    async def _switch(self, wish: Wish, what: str, *, on: bool) -> None:
        model = self.units[wish.machine].model
        if what == "process":
            if on:
                model.faults[wish.fault] = 1.0 if wish.amount is None else wish.amount
            else:
                model.faults.pop(wish.fault, None)
        elif what == "sensor":
            if on:
                model.sensors.active[wish.signal, wish.fault] = Disturbance(wish.fault, wish.amount)
            else:
                model.sensors.active.pop((wish.signal, wish.fault), None)
        elif wish.fault == "clock_jump":
            model.clock_error_ns = round(1000 * (3600.0 if wish.amount is None else wish.amount)) * 10**6 * on
        else:
            await self._disturb(wish, on=on)

    async def _disturb(self, wish: Wish, *, on: bool) -> None:
        if wish.fault not in ON_THE_WAY:
            unit = self.units[wish.machine]
            async with unit.busy:
                await unit.face.disturb(wish.fault, on=on, at_ns=self._moment(unit))
            return
        door = self.doors[wish.machine]
        if wish.fault == "refuse":
            await door.set_door("closed" if on else "open")
        elif wish.fault == "half_open":
            door.both(blackhole=on)
        elif wish.fault == "latency":
            door.both(latency=(0.5 if wish.amount is None else wish.amount) if on else 0.0)
        elif on:
            door.cut("both")

    def _moment(self, unit: Unit) -> int:
        """Now; just after its last step, where somebody from outside asks between two: what it said then has been said."""
        return max(self.agenda.now_ns, unit.last_ns + _AFTER)

    def _note(self, event: str, wish: Wish, what: str) -> None:
        more: dict[str, Any] = {"signal": wish.signal} if wish.signal else {}
        if wish.amount is not None:
            more["amount"] = wish.amount
        row = {"kind": "fault", "event": event, "t": self.agenda.now_ns, "machine": wish.machine}
        self.truth.rows([{**row, "fault": wish.fault, "family": what, **more}])


def _reasonable(wish: Wish) -> None:
    """What is beyond every measure would end the run of all machines as soon as it is on."""
    if wish.amount is not None and not abs(wish.amount) <= MOST:
        raise SimulatorError(f"{wish.fault}: the amount {wish.amount:g} is beyond ±{MOST:g}.")
    if wish.amount is not None and wish.amount < 0 and wish.fault == "latency":
        raise SimulatorError(f"latency: {wish.amount:g} s is no delay: 0 or more.")
    if wish.seconds is not None and not 0 < wish.seconds <= MOST:
        raise SimulatorError(
            f"{wish.fault}: it cannot last {wish.seconds:g} s: more than 0, at most {MOST:g}."
        )
