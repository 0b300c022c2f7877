"""One life of a connection as the line sees it: what came since the last hand-over, and nothing acknowledged before its time.

The session never touches the socket. It takes all messages that are there when the line asks (natural batching), and keeps
account of what is not yet acknowledged: under half a window left it presses for a commit, beyond the bound it stops reading.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Self

from adapters.base import Delivery
from adapters.clock import Clock
from adapters.mqtt.channel import Message
from adapters.mqtt.checkpoint import Checkpoint
from adapters.mqtt.connection import Connection
from adapters.mqtt.routes import Routes
from adapters.mqtt.sheet import Sheet
from pipelines.stage import Gap

WINDOW_311 = 20  # messages that mosquitto keeps in flight in 3.1.1; the protocol does not tell
VOLUME = 16_000_000  # bytes of payload that may wait for their acknowledgement
SURE = (
    3.0  # keep-alives after which a connection that still lives has carried an acknowledgement to the broker
)


class MqttSession:
    """A SourceSession. Made by `source.MqttBroker.session`, which connects and subscribes before."""

    def __init__(
        self,
        connection: Connection,
        routes: Routes,
        checkpoint: Checkpoint,
        clock: Clock,
        version: Callable[[], int],
        *,
        gap: Gap | None,
    ) -> None:
        self.redelivers = all(qos > 0 for qos in routes.filters.values())
        self.facts: dict[str, str] = {}
        self._connection, self._routes = connection, routes
        self._checkpoint, self._clock, self._version = checkpoint, clock, version
        self._gap = gap
        self._begun = False
        self._settled = self._volume = 0
        self._past: deque[tuple[float, int]] = (
            deque()
        )  # when deliveries were acknowledged; what was remembered
        self._sure = SURE * connection.settings.keep_alive
        self._pressing = asyncio.Event()
        five = connection.version == "5"
        maximum = connection.settings.receive_maximum
        self._window = maximum if five else WINDOW_311
        self._bound = 2 * maximum if five else maximum
        connection.received = self._received

    def __aiter__(self) -> AsyncIterator[Delivery]:
        return self

    async def __anext__(self) -> Delivery:
        """All that was received and not yet handed over; the end of the connection only after that."""
        if not self._begun:
            return self._beginning()
        while not self._connection.wire.messages:
            if self._connection.lost is not None:
                raise self._connection.lost
            self._connection.woken.clear()
            await self._connection.woken.wait()
        return self._delivery()

    def _beginning(self) -> Delivery:
        """A delivery without values: the gap, if there is one, and that a session now exists, before anything arrives."""
        self._begun = True
        self._checkpoint.last = self._clock.now()
        return Delivery(
            (), 0, gaps=() if self._gap is None else (self._gap,), checkpoint=self._checkpoint.dump()
        )

    def _delivery(self) -> Delivery:
        waiting = self._connection.wire.messages
        messages = tuple(waiting)
        waiting.clear()
        sheet = Sheet()
        for message in messages:
            stamp = self._checkpoint.stamp(message)
            if self._routes.read(message, stamp, sheet):
                self._checkpoint.remember(message, stamp)
        self._forget()
        last = messages[-1].at
        self._checkpoint.last = last
        return Delivery(
            sheet.batches(last, self._version()),
            sheet.decoded,
            sheet.refused,
            checkpoint=self._checkpoint.dump(),
            ack=_Ack(self, messages, self._checkpoint.remembered),
            pressing=self._pressing,
        )

    def _forget(self) -> None:
        """A link that is dead is found within 1.5 keep-alives; what was acknowledged before that has arrived."""
        now = self._clock.monotonic()
        while self._past and now - self._past[0][0] > self._sure:
            self._checkpoint.forget(self._past.popleft()[1])

    def _received(self) -> None:
        """Called after every look at the socket."""
        if self._connection.wire.messages:
            self._connection.woken.set()
        self._look()

    def _look(self) -> None:
        wire = self._connection.wire
        owed = wire.received - self._settled
        if owed >= self._window // 2:
            self._pressing.set()
        else:
            self._pressing.clear()
        if owed >= self._bound or wire.volume - self._volume >= VOLUME:
            self._connection.pause()
        else:
            self._connection.resume()

    def settle(self, messages: Sequence[Message], mark: int) -> None:
        """These are durable: acknowledge them, in the order of their receipt. mark: see `Checkpoint.forget`."""
        self._connection.acknowledge(messages)
        self._past.append((self._clock.monotonic(), mark))
        self._settled += len(messages)
        self._volume += sum(len(message.payload) for message in messages)
        self._look()

    def stated(self, **facts: str) -> Self:
        self.facts.update({name: fact for name, fact in facts.items() if fact})
        return self


class _Ack:
    """Acknowledges a delivery's messages once, on the connection that brought them."""

    def __init__(self, session: MqttSession, messages: Sequence[Message], mark: int) -> None:
        self._session, self._messages, self._mark = session, messages, mark

    async def __call__(self) -> None:
        messages, self._messages = self._messages, ()
        if messages:
            self._session.settle(messages, self._mark)
