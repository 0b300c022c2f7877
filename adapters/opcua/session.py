"""One life of a connection: subscribed, watched, and honest about what it missed.

The library's own subscription and its reconnecting lose data silently (README, upstream faults), so the publish loop, the
order of notifications, repair, watchdog and the list of wanted items are ours. Any doubt about the connection ends the
session; the next one starts from the list again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Self

from asyncua import ua
from asyncua.ua.uaerrors import UaStatusCodeError

from adapters.base import Bench, Delivery
from adapters.errors import AdapterError, NotConnected
from adapters.opcua.assembly import Assembled, Assembler, Missing, Silent, Thing, publish_time_ns
from adapters.opcua.channel import Channel, Credentials
from adapters.opcua.decode import STATUS_CHANGE, Message, decode_response
from adapters.opcua.errors import FOREIGN, crossing, status_name, to_border
from adapters.opcua.facts import facts_of, report
from adapters.opcua.items import Item, Items
from adapters.opcua.publishing import Arrival, Broken, Publisher
from adapters.opcua.sequence import SequenceBook, Verdict, distance, to_republish
from adapters.opcua.settings import OpcUaSource
from adapters.opcua.subscription import Desk, Subscription
from adapters.opcua.values import Malformed, uint32

log = logging.getLogger("adapters.opcua")
SILENCE: Final = 2.5  # revised keep-alives without a word, after which the connection counts as lost
_DOUBT: Final = 2.4
_MISSES: Final = 3
_RETRY_FIRST, _RETRY_LAST = 1.0, 60.0
_RENEW: Final = 0.75  # of the channel's lifetime (OPC 10000-4, 5.6.2)


class OpcUaSession:
    """An asynchronous iterator of deliveries. Not redelivering yet: a new session gets present values and tells the gap."""

    redelivers = False

    def __init__(
        self, name: str, settings: OpcUaSource, items: Items, bench: Bench, assembler: Assembler
    ) -> None:
        self._name, self._settings, self._items, self._clock = name, settings, items, bench.clock
        self._assembler = assembler
        self._channel = Channel(settings.url, settings.request_timeout, self._lost)
        self._desk = Desk(self._channel, settings)
        self._publisher = Publisher(self._channel, settings.unacknowledged, bench.clock)
        self._book = SequenceBook()
        self._subscription = Subscription(0, 0.0, 0.0)
        self._ready: list[Thing] = []
        self._failure: AdapterError | None = None
        self._arrival, self._something = asyncio.Event(), asyncio.Event()
        self._reported: dict[int, str] = {}
        self.facts: dict[str, str] = {}

    async def start(
        self, credentials: Credentials, spawn: Callable[[Coroutine[Any, Any, None]], Any]
    ) -> None:
        """Connect, subscribe, and set the tasks going. Raises NotConnected or Misconfigured."""
        with crossing(self._settings.url):
            await self._channel.open(credentials, self._settings.session_timeout)
            server = await self._desk.learn()
            self._subscription = await self._desk.subscribe()
            self._publisher.start(self._subscription.id, self._arrival.set, self.fail)
            spawn(self._watched(self._put_in_order()))
            await self._attach(self._items.all)
        self.facts |= facts_of(self._settings, server, self._subscription, self._items)
        self._notice_state(server["state"])
        for job in (self._keep_watch, self._stay_known, self._renew, self._retry):
            spawn(self._watched(job()))
        if self._failure is not None:
            raise self._failure

    async def close(self) -> None:
        self._publisher.stop()
        await self._channel.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delivery:
        while True:
            while not self._ready:
                if self._failure is not None:
                    raise self._failure
                self._something.clear()
                await self._something.wait()
            taken, self._ready = self._ready, []
            made = self._assembler.assemble(taken)
            if not made.empty:
                return self._deliver(made)
            self._publisher.acknowledge(made.numbers, made.size)

    def _deliver(self, made: Assembled) -> Delivery:
        last = made.numbers[-1] if made.numbers else 0
        waiting = [(made.numbers, made.size)]

        async def ack() -> None:
            """Once; a second call finds nothing to do."""
            while waiting:
                self._publisher.acknowledge(*waiting.pop())

        return Delivery(
            batches=made.batches,
            decoded=made.decoded,
            refused=made.refused,
            gaps=made.gaps,
            checkpoint=self._assembler.checkpoint(self._clock.now(), self._subscription.id, last),
            ack=ack,
            pressing=self._publisher.pressing,
        )

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

    async def _watched(self, job: Coroutine[Any, Any, None]) -> None:
        """A job whose failure ends the session, and nothing else."""
        try:
            await job
        except (*FOREIGN, AdapterError) as error:
            self.fail(to_border(error, self._settings.url))

    async def _put_in_order(self) -> None:
        while True:
            await self._arrival.wait()
            self._arrival.clear()
            while self._publisher.arrived:
                arrival = self._publisher.arrived.popleft()
                if isinstance(arrival, Broken):
                    self._offer(arrival)
                else:
                    await self._accept(arrival)

    async def _accept(self, arrival: Arrival) -> None:
        message = arrival.message
        judged = self._book.judge(message.sequence, keep_alive=not message.parts)
        if judged.verdict is Verdict.DUPLICATE:
            self._publisher.acknowledge([message.sequence], len(message.body))
            return
        if judged.missing:
            await self._repair(judged.first, judged.missing, arrival)
        if judged.verdict is Verdict.NEXT:
            self._offer(arrival)
            self._heed(message)

    def _heed(self, message: Message) -> None:
        """A StatusChangeNotification with a bad status is the subscription's last word (OPC 10000-4, 7.25.4)."""
        for part in message.parts:
            if part.type_id == STATUS_CHANGE and part.end - part.start >= 4:
                status, _ = uint32(message.body, part.start)
                if status >> 31:
                    name = status_name(status)
                    self.fail(
                        NotConnected(f"{self._settings.url}: the server ended the subscription ({name})")
                    )

    async def _repair(self, first: int, missing: int, arrival: Arrival) -> None:
        """Ask once for each missing notification that the server still has; the rest is a gap, in its place."""
        published = publish_time_ns(arrival.message.publish_time) or arrival.received
        done = 0
        for number in to_republish(first, missing, arrival.available):
            message = await self._republished(number)
            if message is None:
                continue
            steps = distance(first, number)
            if steps > done:
                self._offer(Missing(steps - done, published))
            self._publisher.took(len(message.body))
            self._offer(Arrival(message, (), arrival.received))
            done = steps + 1
        if done < missing:
            self._offer(Missing(missing - done, published))

    async def _republished(self, number: int) -> Message | None:
        request = ua.RepublishRequest()
        request.Parameters.SubscriptionId = self._subscription.id
        request.Parameters.RetransmitSequenceNumber = number
        try:
            message = decode_response(await self._channel.call_raw(request)).message
        except (UaStatusCodeError, Malformed):
            return None
        return message if message is not None and message.parts and message.sequence == number else None

    async def _attach(self, wanted: Sequence[Item]) -> None:
        """Find and monitor these items; tell what failed, once for every change."""
        found = await self._desk.describe(self._items, wanted)
        for item in found:
            if self._items.columns.points[item.handle] < 0:
                self._items.adopt_known(item)
        await self._desk.monitor(self._subscription, [item for item in found if not item.failure])
        changed = [item for item in self._items.failed if self._reported.get(item.handle) != item.failure]
        silent = tuple(item for item in changed if self._items.adopt_known(item))
        if silent:
            self._offer(Silent(silent, self._clock.now()))
        self._reported = report(self._name, self._items, self._reported)

    async def _keep_watch(self) -> None:
        """The watchdog, on the keep-alive that the server really promised.

        It looks twice, a moment apart: if it was we who slept, what has arrived meanwhile gets its turn in between.
        """
        promised = self._subscription.keep_alive
        while True:
            await self._clock.sleep(max(_DOUBT * promised - self._silence(), promised / 10))
            if self._silence() >= _DOUBT * promised and self._publisher.waiting:
                await self._clock.sleep((SILENCE - _DOUBT) * promised)
                if self._silence() >= _DOUBT * promised and self._publisher.waiting:
                    raise NotConnected(f"{self._settings.url}: not a word for {self._silence():.1f} s")

    def _silence(self) -> float:
        return self._clock.monotonic() - self._publisher.heard

    async def _stay_known(self) -> None:
        """Keep the session alive while nothing is asked for, and see how the server feels."""
        missed = 0
        while True:
            await self._clock.sleep(max(1.0, min(self._channel.session_timeout / 3, 15.0)))
            try:
                self._notice_state(await self._desk.state())
                missed = 0
            except TimeoutError:
                missed += 1
                if missed >= _MISSES:
                    raise

    def _notice_state(self, state: int | None) -> None:
        warned = self.facts.pop("warning", None)
        if state:
            name = ua.ServerState(state).name if state in set(ua.ServerState) else str(state)
            self.facts["warning"] = f"the server is not running normally: {name}"
            if warned is None:
                log.warning("%s: %s", self._name, self.facts["warning"])

    async def _renew(self) -> None:
        while True:
            await self._clock.sleep(self._channel.lifetime * _RENEW)
            await self._channel.renew()

    async def _retry(self) -> None:
        """Failed items again and again, more and more patiently; the namespaces may have changed in the meantime."""
        delay = _RETRY_FIRST
        while self._items.failed:
            await self._clock.sleep(delay)
            delay = min(2 * delay, _RETRY_LAST)
            server = await self._desk.learn()
            await self._attach(self._items.failed)
            self.facts |= facts_of(self._settings, server, self._subscription, self._items)
