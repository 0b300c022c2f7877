"""One life of a connection: subscribed, watched, and honest about what it missed.

The library's own subscription and its reconnecting lose data silently (README, upstream faults), so the publish loop, the
order of notifications, repair, watchdog and the list of wanted items are ours. A doubt about the subscription renews it, a
doubt about the connection ends the session; the next one takes the subscription up where this one stood, if the server can.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Self

from adapters.base import Bench, Delivery
from adapters.errors import AdapterError, NotConnected
from adapters.opcua.again import patiently, pause
from adapters.opcua.assembly import Assembler
from adapters.opcua.channel import Channel
from adapters.opcua.checkpoint import Checkpoint, Ticket
from adapters.opcua.credentials import Credentials
from adapters.opcua.errors import crossing
from adapters.opcua.facts import facts_of, report
from adapters.opcua.finding import find
from adapters.opcua.history_repair import Recalled
from adapters.opcua.items import Item, Items
from adapters.opcua.naming import Naming
from adapters.opcua.peer import Peer
from adapters.opcua.poll import Poller
from adapters.opcua.restated import Restated
from adapters.opcua.resumption import Beginning, Memory, Start, latest, ticket_of
from adapters.opcua.services import delete_items
from adapters.opcua.settings import OpcUaSource
from adapters.opcua.stream import Stream
from adapters.opcua.subscription import Desk
from adapters.opcua.things import Assembled, Silent, Thing
from adapters.opcua.watch import DEGRADED, Watch

log = logging.getLogger("adapters.opcua")
_PATIENCE = 0.02  # s
_LOOK_AGAIN = 60.0  # s, after which the namespaces are read again for what was found by browsing


class OpcUaSession:
    """An asynchronous iterator of deliveries. Redelivers what a proven server still has (services.proves_itself)."""

    def __init__(
        self,
        name: str,
        settings: OpcUaSource,
        items: Items,
        bench: Bench,
        assembler: Assembler,
        *,
        since: Checkpoint | None,
        memory: Memory,
    ) -> None:
        self._name, self._settings, self._items, self._clock = name, settings, items, bench.clock
        self._assembler, self._since, self._memory = assembler, since, memory
        self._scratch = bench.scratch
        self._channel = Channel(settings.url, settings.request_timeout, self._lost)
        self._desk = Desk(self._channel, settings)
        self._peer = Peer(name, settings, self._channel, self._desk, bench.clock)
        self._stream = Stream(self._peer, items, memory, self._offer, self.fail)
        self._naming = Naming(self._desk, items, bench.labels)
        self.facts: dict[str, str] = {}
        self._watch = Watch(self._peer, self._stream, memory, self.facts)
        self._beginning = Beginning(self._peer, items, memory)
        self._restated = Restated(self._peer, items, self._stream, self._offer)
        self._server: Mapping[str, Any] = {}
        self._ready: list[Thing] = []
        self._failure: AdapterError | None = None
        self._something, self._attaching = asyncio.Event(), asyncio.Lock()
        self._reported: dict[int, str] = {}
        self._tickets: dict[int, Ticket] = {}
        self._kept = False  # a ticket of the subscription is durable: somebody can come back for it
        self._known = since is not None or bench.scratch  # where a next life has to begin its gap
        self._announce = not self._known
        (self._stream.opened if self._known else self._stream.publisher.pressing).set()
        self._following, self._subscription = 1, 0
        self.redelivers = False

    async def start(
        self, credentials: Credentials, spawn: Callable[[Coroutine[Any, Any, None]], Any]
    ) -> None:
        """Connect, subscribe, and set the tasks going. Raises NotConnected or Misconfigured."""
        with crossing(self._settings.url):
            await self._channel.connect(credentials, self._settings.session_timeout)
            since = None if self._scratch else latest(self._since, self._memory)
            start = await self._beginning.begin(credentials, since)
            self._take(start)
            watch = self._watch
            await watch.look()
            if start.arrangement is not None:
                self._items.arrange(start.arrangement.items)
                await self._desk.traits.recall([item for item in self._items.wanted if item.live])
            spawn(self._watched(partial(self._stream.run, start, self._renewed)))
            await self._attach_first(start)
        jobs = (
            partial(patiently, self._restated.run, self._clock),
            watch.keep_watch,
            partial(patiently, watch.stay_known, self._clock),
            watch.renew_keys,
            partial(patiently, self._retry, self._clock),
            self._stream.keep_present,
            self._refresh,
            self._mend,
            self._naming.run,
            Poller(self._peer, self._items, self._stream, self._offer, self.facts).run,
        )
        for job in jobs:
            spawn(self._watched(job))
        if self._failure is not None:
            raise self._failure

    def _take(self, start: Start) -> None:
        """What this session is, by how it began."""
        self._server, self._stream.subscription = start.server, start.subscription
        self._subscription, self._following = start.subscription.id, start.following
        self.redelivers = start.proven and not self._scratch
        if start.how:
            self._kept = True
            self._assembler.resumed()
        self.facts["session"] = start.how or ("new" + (f" ({start.why})" if start.why else ""))
        if start.how or start.why:
            log.info("%s: the subscription of the last session: %s", self._name, start.how or start.why)

    async def _attach_first(self, start: Start) -> None:
        if start.arrangement is None:
            await self._attach(self._items.all)
            return
        for item in self._items.wanted:
            if item.live:
                self._items.adopt_known(item)
        ids = start.arrangement.superfluous
        await delete_items(self._channel, start.subscription.id, ids, self._desk.limits.create)
        await self._attach(start.arrangement.missing)

    async def close(self) -> None:
        """Where somebody can come back for it, the subscription stays; otherwise it goes with the session."""
        self._stream.publisher.stop()
        kept, begun = self.redelivers and self._kept, self._beginning
        await self._channel.close(keep=kept or begun.revived, delete=not begun.holds)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delivery:
        if self._known:  # what was handed over is durable when the next is asked for
            self._stream.opened.set()
        while True:
            while not (self._ready or self._announce):
                if self._failure is not None:
                    raise self._failure
                self._something.clear()
                await self._something.wait()
            taken, self._ready = self._ready, []
            made = self._assembler.assemble(taken)
            self._following = made.following or self._following
            self._subscription = made.renewed or self._subscription
            owed = self.redelivers and made.numbers  # acknowledged means durable, empty or not
            if not made.empty or self._announce or owed:
                return self._deliver(made)
            self._stream.publisher.acknowledge(self._subscription, made.numbers, made.count, made.size)

    def _deliver(self, made: Assembled) -> Delivery:
        ticket = self._tickets.get(self._subscription)
        waiting = [(self._subscription, made.numbers, made.count, made.size)]
        now, stale = self._clock.now() if self._known else self._restated.begun, self._memory.stale
        self._announce, self._known = False, True

        async def ack() -> None:
            """Once; a second call finds nothing to do."""
            self._kept = self._kept or ticket is not None
            while waiting:
                self._stream.publisher.acknowledge(*waiting.pop())

        return Delivery(
            batches=made.batches,
            decoded=made.decoded,
            refused=made.refused,
            gaps=made.gaps,
            checkpoint=self._assembler.checkpoint(now, self._following, ticket, stale),
            ack=ack,
            pressing=self._stream.publisher.pressing,
        )

    @property
    def level(self) -> int:
        """The ServiceLevel that the server says (OPC 10000-4, 6.6.2.4.2); 255 if it says nothing."""
        return self._watch.level

    def restate(self) -> int:
        """See adapters.base.Restating."""
        return self._restated.ask()

    def may_move(self, elsewhere: bool) -> None:
        """Whether to leave a server that loses its data: there is another one."""
        self._watch.leave_below = DEGRADED if elsewhere else 0

    def fail(self, error: AdapterError) -> None:
        """End the session: what is ready is delivered first, then this is raised. The first reason counts."""
        if self._failure is None:
            self._failure = error
        self._something.set()

    def _lost(self) -> None:
        self.fail(NotConnected(f"{self._settings.url}: connection lost"))

    def _offer(self, thing: Thing) -> None:
        self._ready.append(thing)
        self._something.set()

    async def _watched(self, job: Callable[[], Awaitable[None]]) -> None:
        """A job whose failure ends the session, and nothing else."""
        try:
            with crossing(self._settings.url):
                await job()
        except AdapterError as error:
            self.fail(error)

    async def _renewed(self) -> None:
        """All items for a new subscription on this session."""
        for item in self._items.wanted:
            item.live = False
        self._items.events.forget()
        self._items.vanished.forget()
        log.warning("%s: the server ended the subscription; there is a new one", self._name)
        await self._attach(self._items.wanted)

    async def _attach(self, wanted: Sequence[Item]) -> None:
        """Find and monitor these items, as far as they are not; tell what failed, once for every change."""
        async with self._attaching:
            found = await self._desk.describe(self._items, [item for item in wanted if not item.live])
            for item in found:
                if self._items.columns.points[item.handle] < 0:
                    self._items.adopt_known(item)
            fit = [item for item in found if not item.failure]
            for item in fit:
                if item.signal.polled:
                    item.succeed(0)
            await self._desk.monitor(self._stream.subscription, [item for item in fit if not item.live])
            await self._items.events.attach(self._channel, self._desk, self._stream.subscription.id)
            if self._items.wishes:
                await self._items.events.model.attach(self._channel, self._stream.subscription.id)
            ids = self._items.vanished.replaced(self._items.all)
            await delete_items(self._channel, self._stream.subscription.id, ids, self._desk.limits.create)
        self._naming.look()
        changed = [item for item in self._items.failed if self._reported.get(item.handle) != item.failure]
        silent = tuple(item for item in changed if item.spread or self._items.adopt_known(item))
        if silent:
            self._offer(Silent(silent, self._clock.now()))
        self._reported = report(self._name, self._items, self._reported)
        self._state()

    def _state(self) -> None:
        """What people and the next session are told, as it is now."""
        subscription = self._stream.subscription
        self.facts |= facts_of(self._settings, self._server, subscription, self._items)
        self.facts |= self._items.events.facts()
        if self.redelivers:
            self._memory.ticket = ticket = ticket_of(self._peer, subscription, self._server, self._items)
            self._tickets = {subscription.id: ticket}
            self._announce = True
            self._something.set()

    async def _mend(self) -> None:
        await self._items.history.mend(self._channel, self._desk, self._items, self._clock, self._recalled)

    async def _recalled(self, thing: Recalled) -> None:
        """The past takes a quarter of what may be on its way unacknowledged, so that the present never waits for it."""
        publisher = self._stream.publisher
        if thing.message is not None:
            while publisher.unacknowledged * 4 >= self._settings.unacknowledged:
                await self._clock.sleep(_PATIENCE)
            publisher.took(len(thing.message.body))
        self._offer(thing)

    async def _refresh(self) -> None:
        await self._items.events.keep_fresh(self._channel, self._clock, lambda: self._stream.subscription.id)

    async def _retry(self) -> None:
        """Failed items again and again, more and more patiently; the namespaces may have changed in the meantime."""
        first, last = 1.0, 60.0
        delay, again = first, self._clock.monotonic() + _LOOK_AGAIN
        while True:
            delay = await pause(self._items, self._clock, delay, first)
            wanting = bool(self._items.failed) or self._items.events.waiting
            delay = min(2 * delay, last) if wanting else first
            before = self._desk.namespaces
            if wanting or (self._items.wishes and self._clock.monotonic() >= again):
                self._server = await self._desk.learn()
                again = self._clock.monotonic() + _LOOK_AGAIN
            await self._desk.types.catch_up()
            model, now = self._items.events.model, self._clock.monotonic()
            if wanting or self._desk.namespaces != before or (self._items.wishes and model.due(now)):
                model.searched(now)
                await find(self._channel, self._desk, self._items)
                await self._attach(self._items.wanted)
