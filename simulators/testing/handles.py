"""What a test holds in its hand: a machine or a workshop that it can ask, drive, break, and compare with the truth."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from simulators.errors import SimulatorError
from simulators.faults.engine import Engine
from simulators.faults.wish import Wish
from simulators.model import Model, Value
from simulators.testing.thread import Running


class SimMachine:
    """One machine. Its time is the workshop's: letting it pass for one lets it pass for all."""

    def __init__(self, running: Running, machine: str) -> None:
        self._running = running
        self.id = machine

    @property
    def url(self) -> str:
        """Where a client finds it: opc.tcp://…, mqtt://… of its broker, or file://…"""
        endpoints = self._running.workshop.endpoints
        return endpoints.get(self.id) or endpoints["mqtt"]

    @property
    def config(self) -> Path:
        """A collector configuration that reads it."""
        return self._running.plan.config

    @property
    def state(self) -> str:
        """Its true state, whatever its signals claim."""
        return self._model.state

    @property
    def values(self) -> Mapping[str, Value]:
        """What its sensors say now."""
        return dict(self._model.values)

    @property
    def truth(self) -> list[dict[str, Any]]:
        """Its rows of the ground truth so far: what was handed over, states that ended, faults. See simulators/README.md."""
        return [row for row in truth_rows(self._running.plan.truth) if row.get("machine") == self.id]

    def advance(self, seconds: float) -> None:
        """Let simulated time pass; every value of it has been handed over when this returns."""
        self._running.ask(self._running.advance(seconds))

    def wait_for(
        self,
        *,
        state: str = "",
        until: Callable[[Mapping[str, Value]], bool] | None = None,
        within: float = 3600.0,
    ) -> float:
        """Let time pass until it is in this state, or its values are as wanted; how many simulated seconds that took.

        AssertionError when that is not so within `within` simulated seconds.
        """
        passed, step = 0.0, self._model.period_ms / 1000
        while not ((not state or self.state == state) and (until is None or until(self.values))):
            if passed >= within:
                wanted = f"the state '{state}'" if state else "the wanted values"
                raise AssertionError(
                    f"{self.id}: {wanted} did not come within {within:g} s; it is in '{self.state}'"
                )
            self.advance(step)
            passed += step
        return passed

    def inject(
        self, fault: str, *, signal: str = "", amount: float | None = None, seconds: float | None = None
    ) -> bool:
        """Begin a fault (`shopfloor-sim list --json` names them); False when it is on already."""
        return self._running.ask(self._engine.start(Wish(self.id, fault, signal, amount, seconds)))

    def clear(self, fault: str, *, signal: str = "") -> bool:
        """End a fault; False when it is not on."""
        return self._running.ask(self._engine.stop(Wish(self.id, fault, signal)))

    def set(self, signal: str, value: Value, *, by: str = "test") -> None:
        """Write a setting (`shopfloor-sim list --json` names them); it counts from the next step on. Raises Refused."""

        async def write() -> None:
            self._model.set(signal, value, by)

        self._running.ask(write())

    @property
    def alarms(self) -> frozenset[str]:
        """The names of the alarms that are on."""
        return self._model.alarming()

    def reset(self) -> int:
        """End all its faults; how many there were."""
        return self._running.ask(self._engine.reset(self.id))

    @property
    def _engine(self) -> Engine:
        return self._running.workshop.engine

    @property
    def _model(self) -> Model:
        units = self._running.workshop.units
        return next(unit.model for unit in units if unit.model.machine == self.id)


class SimWorkshop:
    """Several machines with one clock, by id: `workshop["cnc-1"]`."""

    def __init__(self, running: Running) -> None:
        self._running = running

    def __getitem__(self, machine: str) -> SimMachine:
        known = [unit.model.machine for unit in self._running.workshop.units]
        if machine not in known:
            raise SimulatorError(f"there is no machine '{machine}'. There are: {', '.join(known)}.")
        return SimMachine(self._running, machine)

    def __iter__(self) -> Iterator[SimMachine]:
        return iter([SimMachine(self._running, unit.model.machine) for unit in self._running.workshop.units])

    @property
    def urls(self) -> Mapping[str, str]:
        """Endpoints by machine, and "mqtt" for the broker."""
        return dict(self._running.workshop.endpoints)

    @property
    def config(self) -> Path:
        """A collector configuration that reads all of them."""
        return self._running.plan.config

    @property
    def truth(self) -> list[dict[str, Any]]:
        """All rows of the ground truth so far."""
        return list(truth_rows(self._running.plan.truth))

    @property
    def truth_file(self) -> Path:
        """For `shopfloor-sim verify`."""
        return self._running.plan.truth

    def advance(self, seconds: float) -> None:
        """Let simulated time pass for all."""
        self._running.ask(self._running.advance(seconds))

    def close(self) -> None:
        """Switch everything off now; the truth is then complete."""
        self._running.close()


def truth_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a truth file, as far as they are written. A text may have line ends of its own, such as U+2028."""
    *whole, _ = path.read_bytes().split(b"\n")
    for line in whole:
        yield json.loads(line)
