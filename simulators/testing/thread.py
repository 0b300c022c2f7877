"""A workshop in a thread of its own, with its own event loop: a test, synchronous or not, talks to it as to real machines.

In the process and not beside it, because then a test can let time pass, and look at the truth, without waiting for anything.
"""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TYPE_CHECKING, Any, Final, TypeVar

from simulators.clock import DrivenClock
from simulators.errors import SimulatorError
from simulators.workshop import Plan, Workshop, open_workshop

if TYPE_CHECKING:
    from simulators.faces.opcua_space import Nursery

T = TypeVar("T")
PATIENCE: Final = 120.0  # s, for anything that is asked of the thread


class Running:
    """Started by `start`, ended by `close`; what goes wrong in the thread is raised in the test."""

    def __init__(self, plan: Plan, nursery: "Nursery | None" = None) -> None:
        self.plan = plan
        self._nursery = nursery
        self.clock = DrivenClock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="simulated machines", daemon=True)
        self._begin, self._stop = asyncio.Event(), asyncio.Event()
        self._opened: Workshop | None = None
        self._lived: Future[None] | None = None

    @property
    def workshop(self) -> Workshop:
        if self._opened is None:
            raise SimulatorError("the machines have been switched off.")
        return self._opened

    def start(self) -> None:
        """Everything listens when this returns."""
        self._thread.start()
        ready: Future[None] = Future()
        self._lived = asyncio.run_coroutine_threadsafe(self._live(ready), self._loop)
        wait((ready, self._lived), PATIENCE, FIRST_COMPLETED)
        if self._lived.done() or not ready.done():
            self.close()

    def ask(self, work: Coroutine[Any, Any, T]) -> T:
        """Run this in the thread and wait for its result."""
        if self._lived is None:
            work.close()
            raise SimulatorError("the machines have been switched off.")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def close(self) -> None:
        """Stop, drain, close every socket; once is enough."""
        lived, self._lived = self._lived, None
        if lived is None:
            return
        try:
            self._loop.call_soon_threadsafe(self._stop.set)
            lived.result(PATIENCE)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(PATIENCE)
            self._loop.close()

    async def advance(self, seconds: float) -> None:
        """Let so much time pass; what was published has been taken by the broker."""
        self._begin.set()
        await self.clock.advance(seconds)
        if (publisher := self.workshop.publisher) is not None:
            async with asyncio.timeout(PATIENCE / 2):
                await publisher.idle.wait()

    async def _live(self, ready: "Future[None]") -> None:
        """From opening to closing in one task, as a task group wants it."""
        async with open_workshop(self.plan, self._nursery) as workshop, asyncio.TaskGroup() as group:
            driving = group.create_task(self._drive(workshop))
            self._opened = workshop
            ready.set_result(None)
            await self._stop.wait()
            self._opened = None
            self._begin.set()
            await driving
            await workshop.drain()

    async def _drive(self, workshop: Workshop) -> None:
        """The clock starts when time is first let pass: who is to hear the first values of MQTT can be there."""
        await self._begin.wait()
        if self._stop.is_set():
            return  # nobody let time pass: nothing is said in the very moment of the end
        try:
            await workshop.drive(self.clock, self._stop, origin_ns=workshop.opened_ns)
        finally:
            self.clock.release()
