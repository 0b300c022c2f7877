"""One run from ready line to stopped line: what `python -m simulators run` does once it knows what is wanted."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager

import msgspec

from simulators import stdin
from simulators.building import nothing_is_rubbish
from simulators.clock import SECOND, Clock, DrivenClock, RealClock, wall_ns
from simulators.commands import Commands, answer
from simulators.workshop import Plan, Workshop, open_workshop


def say(row: Mapping[str, object]) -> None:
    """One JSON line on stdout, out at once: a pipe would keep it otherwise. A reader that is gone is no error."""
    try:
        sys.stdout.write(msgspec.json.encode(row).decode() + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # or Python complains again when it ends


def tell(words: str) -> None:
    """Words for people."""
    sys.stderr.write(f"simulators: {words}\n")
    sys.stderr.flush()


async def run(plan: Plan) -> int:
    """Open, say ready, simulate, drain, say stopped."""
    stop, go = asyncio.Event(), asyncio.Event()
    with stop_signals(stop):
        async with AsyncExitStack() as stack:
            workshop = await _opened(plan, stack)
            clock: Clock = RealClock(plan.speed) if plan.speed else DrivenClock()
            commands = Commands(workshop, clock, go, stop)
            if plan.control is not None:
                from simulators.control import open_control

                opened = open_control(commands, plan.config, plan.control)
                workshop.endpoints["control"] = await stack.enter_async_context(opened)
            if words := plan.exposed():
                tell(words)
            say(ready_line(plan, workshop))
            listen_to_commands(commands, go, stop, hold=plan.hold, leash=plan.leash)
            if plan.hold:
                await first_of(go, stop)
            if not stop.is_set():
                await simulate(plan, workshop, clock, stop)
            await workshop.drain()
            say({"event": "stopped", **workshop.report()})
    return 0


async def _opened(plan: Plan, stack: AsyncExitStack) -> Workshop:
    """What a run begins with stays until its end: nobody needs to look through it for rubbish ever again."""
    with nothing_is_rubbish():
        workshop = await stack.enter_async_context(open_workshop(plan))
        gc.freeze()
    return workshop


def ready_line(plan: Plan, workshop: Workshop) -> Mapping[str, object]:
    """What another program needs to find everything."""
    return {
        "event": "ready",
        "seed": plan.seed,
        "machines": [machine for _, machine in plan.machines],
        "endpoints": workshop.endpoints,
        "config": str(plan.config),
        "truth": str(plan.truth),
    }


async def simulate(plan: Plan, workshop: Workshop, clock: Clock, stop: asyncio.Event) -> None:
    """Run the clock; without --duration go on serving after the last change until told to stop."""
    origin = (
        workshop.opened_ns if plan.start_ns is not None else max(workshop.opened_ns + 1_000_000, wall_ns())
    )
    until = None if plan.duration_s is None else origin + round(plan.duration_s * SECOND)
    await workshop.drive(clock, stop, origin_ns=origin, until_ns=until)
    if isinstance(clock, DrivenClock):
        clock.release()
    elif isinstance(clock, RealClock) and clock.behind_s > 1.0:
        tell(
            f"the simulation is {clock.behind_s:.0f} s late: this computer is too slow for --speed {plan.speed:g}"
        )
    if plan.duration_s is None:
        await stop.wait()


async def first_of(*events: asyncio.Event) -> None:
    """Wait until one of them is set."""
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(event.wait()) for event in events]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()


@contextmanager
def stop_signals(stop: asyncio.Event) -> Iterator[None]:
    """SIGTERM and Ctrl-C set `stop`. Through `signal` rather than the loop: Windows knows only that."""
    loop = asyncio.get_running_loop()

    def ask(_number: int, _frame: object) -> None:
        loop.call_soon_threadsafe(stop.set)

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def listen_to_commands(
    commands: Commands, go: asyncio.Event, stop: asyncio.Event, *, hold: bool, leash: bool
) -> None:
    """Commands from stdin; answers go to stdout."""

    async def each(line: bytes) -> None:
        if line and (said := await answer(commands, line)) is not None:
            say(said)

    def gone() -> None:
        if leash or (hold and not go.is_set()):
            stop.set()  # whoever was to say go, or has started this, is gone

    stdin.listen(each, gone)


def listen_to_stdin(go: asyncio.Event, stop: asyncio.Event) -> None:
    """`go` and `stop` from stdin, for what has nothing else to be told."""

    async def each(line: bytes) -> None:
        event = {b"go": go, b"stop": stop}.get(line)
        if event is not None:
            event.set()

    def gone() -> None:
        if not go.is_set():
            stop.set()

    stdin.listen(each, gone)
