"""Notifications in order, whatever happens to them: repaired, told as missing, or begun again with a new subscription.

One task does it all, so that nothing of an old subscription can be taken for the new one's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from adapters.errors import AdapterError, NotConnected
from adapters.opcua.decode import STATUS_CHANGE, Message
from adapters.opcua.errors import status_name
from adapters.opcua.items import Items
from adapters.opcua.peer import Peer
from adapters.opcua.present import present_values
from adapters.opcua.publishing import Arrival, Broken, Publisher
from adapters.opcua.resumption import Memory, Start
from adapters.opcua.sequence import Anew, SequenceBook, Verdict, after, distance, to_republish
from adapters.opcua.services import GONE, delete_subscription, republish, resend_data
from adapters.opcua.subscription import Subscription
from adapters.opcua.things import Missing, Renewed, Thing, publish_time_ns
from adapters.opcua.values import uint32

_TRANSFERRED: Final = 0x002D0000  # GoodSubscriptionTransferred: to another session
_RENEWALS, _WITHIN = 3, 60.0  # more new subscriptions than this in so many seconds are no repair
_MOST_STRANGERS: Final = 100  # other subscriptions that are asked to go
_REFRESH_PAUSE: Final = 5.0  # s between two rounds of present values


class Stream:
    """One subscription, or the one that follows it. `offer` takes what is in order, `renewed` makes the items live again.

    opened: set when it is durable that we listen: what came sooner and was lost in a crash would be lost without a word.
    """

    def __init__(
        self,
        peer: Peer,
        items: Items,
        memory: Memory,
        offer: Callable[[Thing], None],
        fail: Callable[[AdapterError], None],
    ) -> None:
        self._channel, self._desk, self._settings = peer.channel, peer.desk, peer.settings
        self._items, self._memory, self._clock, self._offer = items, memory, peer.clock, offer
        self._arrival, self._stale = asyncio.Event(), asyncio.Event()
        self.opened = asyncio.Event()
        self._ended = ""
        self._renewals: list[float] = []
        self._book, self._anew = SequenceBook(), Anew()
        self._durable: int | None = None
        self._strangers: dict[int, bool] = {}  # by number: asked to go
        self.subscription = Subscription(0, 0.0, 0.0)
        self.publisher = Publisher(
            peer.channel,
            peer.settings.unacknowledged,
            peer.clock,
            wake=self._arrival.set,
            fail=fail,
            ended=self.ended,
            stranger=self._met,
        )

    def ended(self, why: str) -> None:
        """The subscription is no more, the session is: begin another one."""
        self.publisher.stop()
        self._ended = self._ended or why
        self._arrival.set()

    def _met(self, subscription: int) -> None:
        """On our session, so one of ours that was to be deleted, or made when the connection broke: it takes our requests."""
        if subscription not in self._strangers and len(self._strangers) < _MOST_STRANGERS:
            self._strangers[subscription] = False
            self._arrival.set()

    async def _send_away(self) -> None:
        for number in [number for number, asked in self._strangers.items() if not asked]:
            self._strangers[number] = True
            await delete_subscription(self._channel, number)

    async def run(self, start: Start, renewed: Callable[[], Awaitable[None]]) -> None:
        """For ever. Raises what ends the session."""
        await self.opened.wait()
        if start.how:
            await self._replay(start)
        if not self._ended and self.subscription.id:
            self.publisher.switch(self.subscription.id)
        while True:
            while self.publisher.arrived:
                arrival = self.publisher.arrived.popleft()
                if isinstance(arrival, Broken):
                    self._offer(arrival)
                else:
                    await self._accept(arrival)
            if self._ended:
                await self._renew(renewed)
            await self._send_away()
            await self._arrival.wait()
            self._arrival.clear()

    async def _replay(self, start: Start) -> None:
        """What the server still has of the time since the last durable notification, before anything new; bounded.

        The first that it does not have ends it: whether that one is missing or has never been is known with the next message.
        """
        number, answer = start.following, start.first
        for _ in range(self._settings.unacknowledged):
            if answer.message is None:
                break
            self._take_again(answer.message)
            number = after(number)
            await self.publisher.roomy.wait()
            answer = await republish(self._channel, self.subscription.id, number)
        if answer.refusal in GONE:
            self.ended(answer.refusal)
        self._book, self._durable = SequenceBook(number), start.following

    def _take_again(self, message: Message) -> None:
        self.publisher.took(len(message.body))
        self._offer(Arrival(message, (), self._clock.now()))

    async def _accept(self, arrival: Arrival) -> None:
        message = arrival.message
        if self._durable is not None:
            self._forget_the_durable(self._durable, arrival.available)
        judged = self._book.judge(message.sequence, keep_alive=not message.parts)
        if judged.verdict is Verdict.DUPLICATE:
            self.publisher.acknowledge(self.subscription.id, [message.sequence], 1, len(message.body))
            if self._anew.duplicate(message.sequence, message.publish_time):
                self.ended("it numbers its notifications anew")
            return
        if judged.missing:
            await self._repair(judged.first, judged.missing, arrival)
        if judged.verdict is Verdict.NEXT:
            self._anew.taken(message.publish_time)
            self._offer(arrival)
            self._heed(message)

    def _forget_the_durable(self, following: int, available: Sequence[int]) -> None:
        """What was stored before the last session ended, and never acknowledged."""
        self._durable = None
        self.publisher.settle([n for n in available if n and distance(following, n) < 0])

    def _heed(self, message: Message) -> None:
        """A StatusChangeNotification with a bad status is the subscription's last word (OPC 10000-4, 7.25.4)."""
        for part in message.parts:
            if part.type_id == STATUS_CHANGE and part.end - part.start >= 4:
                status, _ = uint32(message.body, part.start)
                if status >> 31 or status == _TRANSFERRED:
                    self.ended(status_name(status))

    async def _repair(self, first: int, missing: int, arrival: Arrival) -> None:
        """Ask once for each missing notification that the server still has; the rest is a gap, in its place."""
        published = publish_time_ns(arrival.message.publish_time) or arrival.received
        done = 0
        for number in to_republish(first, missing, arrival.available):
            message = (await republish(self._channel, self.subscription.id, number)).message
            if message is None:
                continue
            steps = distance(first, number)
            if steps > done:
                self._lose(steps - done, published, number)
            self._take_again(message)
            done = steps + 1
        if done < missing:
            self._lose(missing - done, published, after(first, missing))

    def _lose(self, lost: int, published: int, following: int) -> None:
        self._offer(Missing(lost, published, following))
        self._memory.stale = True
        self._stale.set()

    async def keep_present(self) -> None:
        """After a loss that could not be repaired, what does not change soon would be wrong for long: have it sent again."""
        if self._memory.stale:  # the session before this one came to its end first
            self._stale.set()
        while True:
            await self._stale.wait()
            self._stale.clear()
            if not await resend_data(self._channel, self.subscription.id):
                live = [item for item in self._items.wanted if item.live]
                for message in await present_values(self._channel, self._desk, live):
                    self._offer(Arrival(message, (), self._clock.now(), counted=False))
            self._memory.stale = self._stale.is_set()
            await self._clock.sleep(_REFRESH_PAUSE)

    async def _renew(self, renewed: Callable[[], Awaitable[None]]) -> None:
        """Another subscription on the same session, with all items. Not again and again: then the session is the trouble."""
        why, now = self._ended, self._clock.monotonic()
        self._renewals = [*(at for at in self._renewals if now - at < _WITHIN), now]
        if len(self._renewals) > _RENEWALS:
            raise NotConnected(
                f"{self._settings.url}: the server ended the subscription again and again ({why})"
            )
        await delete_subscription(self._channel, self.subscription.id)
        self.subscription = await self._desk.subscribe()
        self._offer(Renewed(self.subscription.id, why, self._clock.now()))
        self._book, self._anew, self._durable, self._ended = SequenceBook(), Anew(), None, ""
        self._memory.stale = False
        self.publisher.switch(self.subscription.id)
        await renewed()
