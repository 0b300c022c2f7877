"""An OPC UA server as a source: opens sessions, one at a time, and looks at the server for `check --online`.

A server may have several addresses (`also`): they are tried in turn, beginning with the one that worked last. Another address
is another server: its subscription begins anew, and the gap is told.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from types import TracebackType

from adapters.base import Bench, Finding, Recall, SourceSession
from adapters.clock import Clock
from adapters.errors import AdapterError, NotConnected
from adapters.opcua.assembly import Assembler
from adapters.opcua.channel import Channel
from adapters.opcua.checkpoint import Checkpoint
from adapters.opcua.doctor import examine
from adapters.opcua.errors import crossing
from adapters.opcua.events import entries_of
from adapters.opcua.history import History
from adapters.opcua.history_backfill import backfill
from adapters.opcua.items import Items, items_of, wishes_of
from adapters.opcua.peer import Peer
from adapters.opcua.probe import probe
from adapters.opcua.resumption import Memory, forget
from adapters.opcua.security import Gate, introducing
from adapters.opcua.session import OpcUaSession
from adapters.opcua.settings import OpcUaSource
from adapters.opcua.subscription import Desk
from adapters.opcua.trust_expiry import Expiry
from adapters.opcua.watch import DEGRADED
from adapters.settings import Reading

log = logging.getLogger("adapters.opcua")
_AGAIN = 0.1
Attempt = Callable[[str], tuple[OpcUaSession, Gate]]


class OpcUaReader:
    """The source. `life` names this process in checkpoints, so that a gap can say whether we or the line were down."""

    def __init__(self, name: str, settings: OpcUaSource, readings: Sequence[Reading], bench: Bench) -> None:
        self.name, self._settings, self._readings, self._bench = name, settings, readings, bench
        self.machines = tuple(dict.fromkeys(reading.machine for reading in readings))
        self._life = secrets.token_hex(8)
        self._expiry = Expiry(name)
        self._memory = Memory()
        self._begun = [0]

    def session(self, resume: bytes | None) -> AbstractAsyncContextManager[SourceSession]:
        since = Checkpoint.from_bytes(resume)

        def attempt(url: str) -> tuple[OpcUaSession, Gate]:
            gate = self._gate(url)
            items = Items(items_of(self._readings), self._bench.registry, wishes_of(self._readings))
            items.events = entries_of(self._readings, self._bench.registry)
            items.history = self._history(since)
            assembler = Assembler(self.name, items, since, self._life)
            session = OpcUaSession(
                self.name, gate.settings, items, self._bench, assembler, since=since, memory=self._memory
            )
            return session, gate

        return Life(
            self._in_order(since), attempt, self._memory, expiry=self._expiry, clock=self._bench.clock
        )

    def _history(self, since: Checkpoint | None) -> History:
        active = self._settings.history == "auto" and not self._bench.scratch
        return History(active, since.repairs if since else (), self._begun)

    def _gate(self, url: str) -> Gate:
        settings = self._settings.model_copy(update={"url": url})
        return Gate(self.name, settings, self._bench.state_dir, self._bench.clock.wall_now)

    def _in_order(self, since: Checkpoint | None) -> list[str]:
        """The one that worked last comes first, unless it sent us away."""
        urls, memory = [self._settings.url, *self._settings.also], self._memory
        last = memory.endpoint or (since.ticket.url if since and since.ticket else "")
        first = urls.index(last) if last in urls else 0
        first += 1 if urls[first] == memory.avoid else 0
        return [*urls[first:], *urls[:first]]

    @asynccontextmanager
    async def recall(self, begins: int, ends: int) -> AsyncIterator[Recall]:
        """From the first address that answers."""
        errors: list[AdapterError] = []
        for url in self._urls:
            items = Items(items_of(self._readings), self._bench.registry, wishes_of(self._readings))
            async with AsyncExitStack() as stack:
                going = backfill(self._gate(url), items, self._bench.clock, begins, ends)
                try:
                    found = await stack.enter_async_context(going)
                except AdapterError as error:
                    errors.append(error)
                    continue
                yield found
                return
        raise _together(errors)

    @property
    def lingers(self) -> str:
        """The subscription that the server keeps for us, as far as we know of one."""
        ticket = self._memory.ticket
        return "" if ticket is None else f"{ticket.url} {ticket.started} {ticket.subscription}"

    async def farewell(self) -> None:
        """Have the server delete the subscription and end the session. Raises NotConnected."""
        ticket = self._memory.ticket
        if ticket is None:
            return
        gate = self._gate(ticket.url)
        channel = Channel(ticket.url, gate.settings.request_timeout)
        peer = Peer(self.name, gate.settings, channel, Desk(channel, gate.settings), self._bench.clock)
        with crossing(ticket.url):
            shown = await gate.credentials()
            with introducing(shown):
                await forget(peer, ticket, shown, self._memory)
        log.info("%s: its subscription at the server is deleted", self.name)

    async def probe(self) -> Sequence[Finding]:
        found = [await probe(self._gate(url), self._readings, self._bench) for url in self._urls]
        others = [finding for findings in found[1:] for finding in findings if finding.level == "error"]
        return [*found[0], *others]

    def examine(self) -> AsyncIterator[Finding]:
        return examine([self._gate(url) for url in self._urls], self._readings, self._bench)

    @property
    def _urls(self) -> list[str]:
        return [self._settings.url, *self._settings.also]


class Life:
    """Entering connects, leaving releases everything, and an error in between passes unchanged.

    Not `async with TaskGroup()` around a `yield`: the group would wrap the error of the body, and the laws promise
    NotConnected itself.
    """

    def __init__(
        self, urls: Sequence[str], attempt: Attempt, memory: Memory, *, expiry: Expiry, clock: Clock
    ) -> None:
        self._urls, self._attempt, self._memory = urls, attempt, memory
        self._expiry, self._clock = expiry, clock
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []
        self._session: OpcUaSession | None = None

    async def __aenter__(self) -> SourceSession:
        await self._group.__aenter__()
        started = False
        try:
            session = await self._first_that_is_well()
            started = True
        finally:
            if not started:
                await self._leave()
        return session

    async def _first_that_is_well(self) -> OpcUaSession:
        """The first address whose server has data; if none is well, the one that is least unwell."""
        levels: dict[str, int] = {}
        errors: list[AdapterError] = []
        for url in self._urls:
            try:
                session = await self._try(url)
            except AdapterError as error:
                errors.append(error)
                continue
            if session.level >= DEGRADED or len(self._urls) == 1:
                return self._settled(url, session)
            levels[url] = session.level
            await self._let_go()
        if not levels:
            raise _together(errors)
        best = max(levels, key=lambda url: levels[url])
        return self._settled(best, await self._try(best))

    def _settled(self, url: str, session: OpcUaSession) -> OpcUaSession:
        self._memory.endpoint, self._memory.avoid = url, ""
        session.may_move(session.level >= DEGRADED and len(self._urls) > 1)
        return session

    async def _try(self, url: str) -> OpcUaSession:
        session, gate = self._attempt(url)
        started = False
        self._session = session
        try:
            with crossing(url):
                shown = await gate.credentials()
            with introducing(shown):
                await session.start(shown, lambda job: self._tasks.append(self._group.create_task(job)))
            session.facts["security"] = shown.words
            watch = self._expiry.keep(shown, session.facts, self._clock)
            self._tasks.append(self._group.create_task(watch))
            started = True
        finally:
            if not started:
                await self._let_go()
        return session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    async def _let_go(self) -> None:
        """End what was tried, and be ready to try another."""
        tasks, self._tasks = self._tasks, []
        session, self._session = self._session, None
        _cancel(tasks)
        if session is not None:
            await session.close()
        while waiting := [task for task in tasks if not task.done()]:
            _cancel(
                waiting
            )  # again: asyncio.wait_for of Python 3.11, in the library, may swallow a cancellation
            await asyncio.wait(waiting, timeout=_AGAIN)

    async def _leave(self) -> None:
        try:
            await self._let_go()
        finally:
            await self._group.__aexit__(None, None, None)


def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()


def _together(errors: Sequence[AdapterError]) -> AdapterError:
    """What to say when no address works: the first one's word, and that the others do not work either."""
    if len(errors) == 1:
        return errors[0]
    words = "; ".join(str(error) for error in errors)
    return NotConnected(f"none of {len(errors)} addresses: {words}", errors[0].remedy)
