"""One edge from its ready line to its stopped line: births, data in time, rules broken when they are due, commands on stdin."""

import asyncio
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from simulators import stdin
from simulators.awake import patient
from simulators.clock import wall_ns
from simulators.errors import SimulatorError
from simulators.runner import first_of, say, stop_signals
from simulators.sparkplug.book import Book
from simulators.sparkplug.breaks import BREAKS, break_rule
from simulators.sparkplug.cell import open_cell
from simulators.sparkplug.edge import Edge, Place, now_ms
from simulators.sparkplug.habits import Habits
from simulators.sparkplug.model import DataType
from simulators.truth import open_truth

AGAIN = 0.5  # s until a lost connection is tried again
FAREWELL = (
    5.0  # s that the broker has to read our last words; to cut it short may make it speak the will after all
)


@dataclass(frozen=True, slots=True)
class Plan:
    """period: s between two steps. breaks: (after so many steps, rule). steps: stop changing after so many."""

    place: Place
    truth: Path
    habits: Habits = field(default_factory=Habits)
    types: tuple[DataType, ...] = ()
    devices: int = 2
    metrics: int = 10
    period: float = 0.5
    share: float = 0.3
    steps: int | None = None
    seconds: float | None = None
    seed: int | None = None
    breaks: tuple[tuple[int, str], ...] = ()
    hold: bool = False


async def run(plan: Plan) -> int:
    """Connect, say ready, go on until told to stop, or for as long as it was said."""
    stop, go = asyncio.Event(), asyncio.Event()
    seed = secrets.randbelow(2**31) if plan.seed is None else plan.seed
    cell = open_cell(seed, plan.devices, plan.metrics, plan.types, now_ms())
    with stop_signals(stop), open_truth(plan.truth) as truth:
        machines = [name or plan.place.node for name in cell.devices]
        truth.rows([_start(seed, machines)])
        edge = Edge(plan.place, cell, plan.habits, Book(truth))
        await edge.connect()
        say(_ready(plan, seed, machines))
        stdin.listen(lambda line: _obey(edge, line, go, stop), lambda: None)
        if plan.hold:
            await first_of(go, stop)
        await live(edge, plan, stop)
        await end(edge)
        truth.rows([{"kind": "stop", "t": wall_ns(), "emitted": dict(truth.emitted)}])
        say({"event": "stopped", "emitted": dict(truth.emitted)})
    return 0


def _start(seed: int, machines: list[str]) -> Mapping[str, Any]:
    known = [{"machine": machine, "type": "sparkplug", "source": "broker"} for machine in machines]
    return {"kind": "start", "t": wall_ns(), "seed": seed, "machines": known}


def _ready(plan: Plan, seed: int, machines: list[str]) -> Mapping[str, Any]:
    place = plan.place
    return {
        "event": "ready",
        "seed": seed,
        "machines": machines,
        "endpoints": {"mqtt": place.address.url},
        "group": place.group,
        "node": place.node,
        "truth": str(plan.truth),
    }


async def live(edge: Edge, plan: Plan, stop: asyncio.Event) -> None:
    """Step by step; a lost connection is made again, and what changes meanwhile is kept."""
    begin, step = time.monotonic(), 0
    while not stop.is_set() and (plan.seconds is None or time.monotonic() < begin + plan.seconds):
        if not edge.connected:
            await again(edge)
        if plan.steps is None or step < plan.steps:
            step += 1
            _step(edge, plan, step)
        await confirm(edge)
        await _pause(begin + step * plan.period, plan.period, stop)


def _step(edge: Edge, plan: Plan, step: int) -> None:
    for device, changed in edge.cell.step(now_ms(), plan.share).items():
        edge.data(device, changed)
    for due, rule in plan.breaks:
        if due == step:
            break_rule(edge, rule)


async def _pause(until: float, period: float, stop: asyncio.Event) -> None:
    delay = until - time.monotonic()
    try:
        async with asyncio.timeout(delay if delay > 0 else period):
            await stop.wait()
    except TimeoutError:
        return


async def again(edge: Edge) -> None:
    """Another connection; if the broker is away, at the next step."""
    edge.book.lose()
    try:
        await edge.connect()
    except SimulatorError:
        await asyncio.sleep(AGAIN)


async def confirm(edge: Edge) -> None:
    """What was published is in the broker's hands, or nobody knows."""
    try:
        if edge.link is not None and edge.connected:
            await edge.link.fence()
            edge.book.settle()
    except (ConnectionError, TimeoutError):
        edge.book.lose()


async def end(edge: Edge) -> None:
    """NDEATH, DISCONNECT, and the broker has had it all."""
    edge.leave()
    if edge.link is not None:
        try:
            async with patient(FAREWELL):
                await edge.link.lost.wait()
        except TimeoutError:
            edge.link.abort()
    edge.book.settle()


async def _obey(edge: Edge, line: bytes, go: asyncio.Event, stop: asyncio.Event) -> None:
    """`go`, `stop`, the name of a rule to break, or `{"break": "seq-gap"}`; the answer on stdout."""
    word = line.decode("utf-8", "replace")
    if word.startswith("{"):
        try:
            word = str(msgspec.json.decode(line)["break"])
        except (msgspec.DecodeError, KeyError):
            word = ""
    if word in ("go", "stop"):
        (go if word == "go" else stop).set()
    elif word in BREAKS and edge.born and edge.connected:
        break_rule(edge, word)
        await confirm(edge)
        say({"event": "broken", "rule": word})
    elif word:
        reason = "the edge is not connected" if word in BREAKS else f"there are go, stop, {', '.join(BREAKS)}"
        say({"event": "refused", "reason": reason})
