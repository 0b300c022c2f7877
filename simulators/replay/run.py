"""One playing of a recording: ready line, the tape at its speed, finished line; it goes on serving until told to stop."""

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulators.clock import Clock, FreeClock, RealClock, wall_ns
from simulators.faces.broker import Address
from simulators.replay.config import configuration
from simulators.replay.faces import Face, open_mqtt, open_opcua, topics
from simulators.replay.tape import Tape, open_tape
from simulators.runner import first_of, listen_to_stdin, say, stop_signals
from simulators.truth import Truth, fresh, open_truth, write_all

GRACE_S = 3.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What the user asked for. speed 0: as fast as the readers take it. shift: "now", a start in ns, or None."""

    file: Path
    truth: Path
    config: Path
    face: str = "mqtt"
    form: str = "auto"
    machine: str = ""
    speed: float = 1.0
    loop: bool = False
    shift: str | int | None = None
    host: str = "127.0.0.1"
    port: int = 0
    broker: Address | None = None
    hold: bool = False
    leave: bool = False
    limit: int | None = None

    def lines(self, tape: Tape) -> bool:
        """Is the recording spoken line by line?"""
        return tape.lines and self.face == "mqtt" and self.form != "json"


async def run(plan: Plan) -> int:
    """Look the recording through, open, say ready, play, serve, say stopped."""
    stop, go = asyncio.Event(), asyncio.Event()
    tape = open_tape(plan.file, plan.machine)
    with stop_signals(stop), open_truth(plan.truth) as truth:
        async with _face(plan, tape, truth) as (face, url):
            _write_config(plan, tape, url)
            say(_ready(plan, tape, url))
            if plan.hold:
                listen_to_stdin(go, stop)
                await first_of(go, stop)
            if not stop.is_set():
                await _played(plan, tape, truth, face, stop)
            await face.drain(GRACE_S)
            report = {"emitted": dict(truth.emitted), **face.report()}
            truth.rows([{"kind": "stop", **report}])
        say({"event": "stopped", **report})
    return 0


async def _played(plan: Plan, tape: Tape, truth: Truth, face: Face, stop: asyncio.Event) -> None:
    shift = _shift(plan, tape)
    truth.rows([_start(plan, tape, tape.first + shift)])
    rounds = await play(plan, tape, face, stop, shift)
    await face.drain(GRACE_S)
    say({"event": "finished", "rounds": rounds, "emitted": dict(truth.emitted)})
    if not plan.leave:
        await stop.wait()


def _face(plan: Plan, tape: Tape, truth: Truth) -> AbstractAsyncContextManager[tuple[Face, str]]:
    if plan.face == "opcua":
        return open_opcua(tape, truth, plan.host, plan.port)
    return open_mqtt(tape, truth, plan.broker, plan.host, plan.port, lines=plan.lines(tape))


def _shift(plan: Plan, tape: Tape) -> int:
    if plan.shift is None:
        return 0
    return (wall_ns() if isinstance(plan.shift, str) else plan.shift) - tape.first


async def play(plan: Plan, tape: Tape, face: Face, stop: asyncio.Event, shift: int) -> int:
    """Play until the end, `limit` values, or `stop`; in a loop every round is a whole span later. Returns rounds begun."""
    clock: Clock = RealClock(plan.speed) if plan.speed else FreeClock()
    clock.start(0)
    rounds, left, moment = 0, plan.limit, 0
    while True:
        before = None
        offset = rounds * tape.span
        rounds += 1
        for event in tape.events():
            moment += 0 if before is None else tape.wait(before, event.t)
            before = event.t
            if (left is not None and left <= 0) or not await clock.reached(moment, stop):
                return rounds
            await face.emit(event, shift + offset)
            left = None if left is None else left - len(event.rows)
        if not plan.loop:
            return rounds
        moment += tape.span - (tape.last - tape.first)


def _source(plan: Plan) -> str:
    return "broker" if plan.face == "mqtt" else "replay"


def _start(plan: Plan, tape: Tape, t: int) -> dict[str, Any]:
    machines = [{"machine": m, "type": "recording", "source": _source(plan)} for m in tape.machines]
    return {"kind": "start", "t": t, "recording": tape.path.name, "speed": plan.speed, "machines": machines}


def _ready(plan: Plan, tape: Tape, url: str) -> dict[str, Any]:
    return {
        "event": "ready",
        "recording": str(tape.path),
        "machines": tape.machines,
        "signals": len(tape.signals),
        "values": tape.values,
        "seconds": (tape.last - tape.first) / 1e9,
        "endpoints": {"mqtt" if plan.face == "mqtt" else "replay": url},
        "config": str(plan.config),
        "truth": str(plan.truth),
    }


def _write_config(plan: Plan, tape: Tape, url: str) -> None:
    mqtt = "auto" if plan.broker else "3.1.1"
    text = configuration(tape, plan.face, url, topics(tape), lines=plan.lines(tape), mqtt=mqtt)
    with fresh(plan.config) as file:
        write_all(file, text.encode())
