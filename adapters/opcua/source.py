"""An OPC UA server as a source: opens sessions, one at a time, and looks at the server for `check --online`."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from adapters.base import Bench, Finding, SourceSession
from adapters.clock import Clock
from adapters.opcua.assembly import Assembler
from adapters.opcua.checkpoint import Checkpoint
from adapters.opcua.errors import crossing
from adapters.opcua.items import Items, items_of
from adapters.opcua.probe import probe
from adapters.opcua.resumption import Memory
from adapters.opcua.security import Gate, introducing
from adapters.opcua.session import OpcUaSession
from adapters.opcua.settings import OpcUaSource
from adapters.opcua.trust_expiry import Expiry
from adapters.settings import Reading


class OpcUaReader:
    """The source. `life` names this process in checkpoints, so that a gap can say whether we or the line were down."""

    def __init__(self, name: str, settings: OpcUaSource, readings: Sequence[Reading], bench: Bench) -> None:
        self.name, self._settings, self._readings, self._bench = name, settings, readings, bench
        self.machines = tuple(dict.fromkeys(reading.machine for reading in readings))
        self._life = secrets.token_hex(8)
        self._expiry = Expiry(name)
        self._gate = Gate(name, settings, bench.state_dir, bench.clock.wall_now)
        self._memory = Memory()

    def session(self, resume: bytes | None) -> AbstractAsyncContextManager[SourceSession]:
        items = Items(items_of(self._readings), self._bench.registry)
        since = Checkpoint.from_bytes(resume)
        assembler = Assembler(self.name, items, since, self._life)
        session = OpcUaSession(
            self.name, self._settings, items, self._bench, assembler, since=since, memory=self._memory
        )
        return Life(session, self._gate, self._expiry, self._bench.clock)

    async def probe(self) -> Sequence[Finding]:
        return await probe(self._gate, self._readings, self._bench)


class Life:
    """Entering connects, leaving releases everything, and an error in between passes unchanged.

    Not `async with TaskGroup()` around a `yield`: the group would wrap the error of the body, and the laws promise
    NotConnected itself.
    """

    def __init__(self, session: OpcUaSession, gate: Gate, expiry: Expiry, clock: Clock) -> None:
        self._session, self._gate, self._expiry, self._clock = session, gate, expiry, clock
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> SourceSession:
        await self._group.__aenter__()
        started = False
        try:
            with crossing(self._gate.settings.url):
                shown = await self._gate.credentials()
            with introducing(shown):
                await self._session.start(shown, lambda job: self._tasks.append(self._group.create_task(job)))
            self._session.facts["security"] = shown.words
            watch = self._expiry.keep(shown, self._session.facts, self._clock)
            self._tasks.append(self._group.create_task(watch))
            started = True
        finally:
            if not started:
                await self._leave()
        return self._session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    async def _leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        try:
            await self._session.close()
        finally:
            await self._group.__aexit__(None, None, None)
