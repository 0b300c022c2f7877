"""Makes what the fixtures hand out."""

import asyncio
import threading
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from simulators.arguments import machine_id
from simulators.errors import SimulatorError
from simulators.faces.broker import Address, own_broker
from simulators.faces.opcua_security import security_of
from simulators.faces.opcua_space import Nursery
from simulators.machines import kind
from simulators.testing.handles import SimWorkshop
from simulators.testing.thread import Running
from simulators.workshop import Plan

START_NS = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z: times in tests are always the same


def make_workshop(
    machines: Sequence[str],
    faces: Mapping[str, str],
    scenario: Path | None,
    folder: Path,
    seed: int,
    *,
    faulty: bool,
    nursery: Nursery,
    security: Mapping[str, Any] | None = None,
) -> SimWorkshop:
    """A running workshop whose time stands still. security: as `security:` of a scenario; paths begin at `folder`."""
    plan = _scenario(scenario) if scenario is not None else Plan(_named(machines), seed, folder, folder)
    start = START_NS if plan.start_ns is None else plan.start_ns
    plan = replace(
        plan, truth=folder / "truth.jsonl", config=folder / "collector.yaml", start_ns=start,
        faces={**plan.faces, **faces}, faulty=faulty,
        security=plan.security if security is None else security_of(security, folder),
    )  # fmt: skip
    running = Running(plan, nursery)
    running.start()
    return SimWorkshop(running)


def _scenario(path: Path) -> Plan:
    from simulators.scenario.reading import read

    return read(path)


def _named(machines: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """`cnc` is cnc-1, `cnc=mill` is mill."""
    if not machines:
        raise SimulatorError('name the machines, for example sim_workshop("cnc", "energy").')
    numbers: Counter[str] = Counter()
    named = []
    for text in machines:
        name, equals, given = text.partition("=")
        kind(name)
        numbers[name] += not equals
        named.append((name, machine_id(given) if equals else f"{name}-{numbers[name]}"))
    return tuple(named)


@contextmanager
def running_broker() -> Generator[Address]:
    """The built-in broker in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="simulated broker", daemon=True)
    thread.start()
    try:
        opened = own_broker("127.0.0.1", 0)
        broker = asyncio.run_coroutine_threadsafe(opened.__aenter__(), loop).result(20)
        try:
            yield broker.address
        finally:
            asyncio.run_coroutine_threadsafe(opened.__aexit__(None, None, None), loop).result(20)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()
