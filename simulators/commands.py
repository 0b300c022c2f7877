"""What can be asked of a running workshop, whoever asks: a line on stdin or a request over HTTP. One place, one set of words."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import msgspec

from simulators.clock import Clock, DrivenClock
from simulators.errors import SimulatorError
from simulators.faults.catalogue import COMMUNICATION, SENSOR
from simulators.faults.wish import Wish
from simulators.workshop import Workshop

WORDS: Final = ("go", "stop", "inject", "clear", "reset", "advance", "set", "state", "faults")


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """`{"machine": "cnc-1", "fault": "stuck", "signal": "spindle_load", "amount": 3.5, "for": 10}`; the last three are optional."""

    machine: str
    fault: str
    signal: str = ""
    amount: float | None = None
    seconds: float | None = msgspec.field(default=None, name="for")

    def wish(self) -> Wish:
        return Wish(self.machine, self.fault, self.signal, self.amount, self.seconds)


class Written(msgspec.Struct, forbid_unknown_fields=True):
    """`{"machine": "imm-1", "signal": "zone_3_set", "value": 240}`; by: who says so."""

    machine: str
    signal: str
    value: str | bool | int | float
    by: str = "control"


class Commands:
    """Obeys; every answer is a JSON object. Raises SimulatorError in words at what it does not understand."""

    def __init__(self, workshop: Workshop, clock: Clock, go: asyncio.Event, stop: asyncio.Event) -> None:
        self._workshop, self._clock, self._go, self._stop = workshop, clock, go, stop

    async def obey(self, word: str, given: Any = None) -> Mapping[str, Any]:
        """One command. given: what came with it."""
        if word in ("go", "stop"):
            (self._go if word == "go" else self._stop).set()
            return {"event": "done"}
        if word in ("inject", "clear"):
            return await self._fault(word, given)
        if word == "reset":
            if not isinstance(given, str | None):
                raise SimulatorError('reset takes a machine, such as "cnc-1", or null for all of them.')
            ended = await self._workshop.engine.reset(given or "")
            return {"event": "done", "ended": ended}
        if word == "advance":
            return await self._advance(given)
        if word == "set":
            return self._set(given)
        if word in ("state", "faults"):
            return self.state() if word == "state" else self.faults()
        raise SimulatorError(f"'{word}' is unknown. There are: {', '.join(WORDS)}.")

    def state(self) -> Mapping[str, Any]:
        """Where every machine stands."""
        units = self._workshop.units
        machines = {
            unit.model.machine: {
                "kind": unit.model.kind,
                "state": unit.model.state,
                "parts": unit.model.parts_made,
                "alarms": sorted(unit.model.alarming()),
            }
            for unit in units
        }
        return {"event": "state", "t": self._workshop.agenda.now_ns, "machines": machines, **self._active()}

    def faults(self) -> Mapping[str, Any]:
        """What is on, and what there is."""
        process = {unit.model.machine: dict(unit.model.process_faults) for unit in self._workshop.units}
        known = {"process": process, "sensor": dict(SENSOR), "communication": dict(COMMUNICATION)}
        return {"event": "faults", **self._active(), "known": known}

    def _active(self) -> Mapping[str, Any]:
        return {"active": [asdict(wish) for wish in self._workshop.engine.active()]}

    async def _fault(self, word: str, given: Any) -> Mapping[str, Any]:
        try:
            wish = msgspec.convert(given, Fault).wish()
        except msgspec.ValidationError as error:
            raise SimulatorError(f'{word}: {error}. Write {{"machine": …, "fault": …}}.') from None
        engine = self._workshop.engine
        changed = await (engine.start(wish) if word == "inject" else engine.stop(wish))
        return {"event": "done", "changed": changed}

    def _set(self, given: Any) -> Mapping[str, Any]:
        try:
            wish = msgspec.convert(given, Written)
        except msgspec.ValidationError as error:
            raise SimulatorError(f'set: {error}. Write {{"machine": …, "signal": …, "value": …}}.') from None
        self._workshop.engine.unit(wish.machine).model.set(wish.signal, wish.value, wish.by[:64])
        return {"event": "done"}

    async def _advance(self, given: Any) -> Mapping[str, Any]:
        if not isinstance(self._clock, DrivenClock):
            raise SimulatorError(
                "time passes by itself here: start with --speed 0 to let it pass by 'advance'."
            )
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= 1e9:
            raise SimulatorError("advance needs a number of seconds.")
        self._go.set()
        return {"event": "done", "t": await self._clock.advance(float(given))}


async def answer(commands: Commands, line: bytes) -> Mapping[str, Any] | None:
    """A line of stdin: a bare word, or a JSON object of one command, `{"advance": 10}`; nothing is said about `go` and `stop`."""
    try:
        if line in (b"go", b"stop"):
            await commands.obey(line.decode())
            return None
        given = (
            msgspec.json.decode(line) if line.startswith(b"{") else {line.decode("utf-8", "replace"): None}
        )
        ((word, what),) = given.items()
        return await commands.obey(word, what)
    except (SimulatorError, msgspec.DecodeError, RecursionError) as error:
        return {"event": "refused", "reason": str(error)}
    except ValueError:
        return {"event": "refused", "reason": 'one command in a line, for example {"advance": 10}'}
