"""One life of a connection as the line sees it: what came since the last hand-over, and nothing acknowledged before its time.

The session never touches the socket. It takes all messages that are there when the line asks (natural batching), and keeps
account of what is not yet acknowledged: under half a window left it presses for a commit, beyond the bound it stops reading.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Self

from adapters.base import Delivery
from adapters.clock import Clock
from adapters.mqtt.channel import Message
from adapters.mqtt.checkpoint import Checkpoint
from adapters.mqtt.connection import Connection
from adapters.mqtt.dropped import TOPIC as DROPPED
from adapters.mqtt.dropped import Dropped
from adapters.mqtt.rivals import Rivals
from adapters.mqtt.routes import Routes
from adapters.mqtt.sheet import Sheet
from adapters.mqtt.silence import Silence, suspicion
from adapters.mqtt.standing import Standing
from adapters.pressing import Pressing
from pipelines.stage import Gap

log = logging.getLogger(__name__)

WINDOW_311 = 20  # messages that mosquitto keeps in flight in 3.1.1; the protocol does not tell
VOLUME = 16_000_000  # bytes of payload that may wait for their acknowledgement
OPENING = 8  # times as much may come before the line takes anything: the answer to SUBSCRIBE stands behind what the broker kept
SURE = (
    3.0  # keep-alives after which a connection that still lives has carried an acknowledgement to the broker
)
LATELY = 2.0  # seconds in which an acknowledgement may be lost with the connection, for brokers that send again without DUP


REPEATED = "messages came again without saying so (DUP); recognised by packet id and content"
AT_ONCE = 0.05  # seconds of reading before the event loop gets its turn
SLICE = 256  # messages between two looks at the clock


@dataclass(frozen=True, slots=True)
class Memory:
    """What a source knows beyond one connection. version: of the registry."""

    clock: Clock
    version: Callable[[], int]
    rivals: Rivals
    silence: Silence
    standing: Standing


class MqttSession:
    """A SourceSession. Made by `source.MqttBroker.session`, which connects and subscribes before."""

    def __init__(
        self, connection: Connection, routes: Routes, checkpoint: Checkpoint, memory: Memory
    ) -> None:
        """memory: what outlives the connection. A loss that is known already is `lacking`, set before the first delivery."""
        self.redelivers = routes.redelivers
        self.facts: dict[str, str] = {}
        self.lacking: Gap | None = None
        self._connection, self._routes, self._memory = connection, routes, memory
        self._checkpoint, self._clock = checkpoint, memory.clock
        self._begun = False
        self._handed = self._settled = self._volume = 0
        self._past: deque[tuple[float, int]] = (
            deque()
        )  # when deliveries were acknowledged; what was remembered
        self._lately: deque[tuple[float, int]] = deque()
        self._sure = SURE * connection.settings.keep_alive
        self._pressing = Pressing()
        five = connection.version == "5"
        maximum = connection.settings.receive_maximum
        self._window = maximum if five else WINDOW_311
        self._bound = 2 * maximum if five else maximum
        self._dropped = Dropped(checkpoint.dropped, checkpoint.last, checkpoint.untold)
        routes.watch(DROPPED, self._dropped.told)
        connection.received, connection.ticked = self._received, self._ticked

    def __aiter__(self) -> AsyncIterator[Delivery]:
        return self

    async def __anext__(self) -> Delivery:
        """All that was received and not yet handed over; the end of the connection only after that."""
        if not self._begun:
            return self._beginning()
        while not self._room() and not self._is_due():
            if self._connection.lost is not None:
                raise self._memory.rivals.judge(self._connection.lost)
            self._connection.woken.clear()
            await self._connection.woken.wait()
        return self._delivery()

    def _room(self) -> int:
        """How many of the messages that wait may be handed over now: those handed over and not acknowledged count. Where
        the connection is lost nothing is held back.
        """
        waiting = len(self._connection.wire.messages)
        if self._connection.lost is not None:
            return waiting
        return max(0, min(waiting, self._bound - self._handed + self._settled))

    def _is_due(self) -> bool:
        host = self._routes.host
        return host is not None and host.is_due(self._clock.monotonic())

    def _beginning(self) -> Delivery:
        """A delivery without values: the gap, if there is one, and that a session now exists, before anything arrives."""
        self._begun = True
        self._checkpoint.last = self._clock.now()
        gaps = () if self.lacking is None else (self.lacking,)
        return Delivery((), 0, gaps=gaps, checkpoint=self._checkpoint.dump(), ack=self._memory.standing.told)

    def _delivery(self) -> Delivery:
        sheet = Sheet()
        messages = self._read(sheet)
        self._forget()
        last = messages[-1].at if messages else self._clock.now()
        self._checkpoint.last, self._checkpoint.dropped = last, self._dropped.count
        gaps = [gap] if (gap := self._dropped.gap(last)) is not None else []
        self._checkpoint.untold = self._dropped.untold
        gaps += self._settled_nodes(sheet)
        return Delivery(
            sheet.batches(last, self._memory.version()),
            sheet.decoded,
            sheet.refused,
            gaps=gaps,
            checkpoint=self._checkpoint.dump(),
            ack=_Ack(self, messages, self._checkpoint.remembered),
            pressing=self._pressing,
        )

    def _settled_nodes(self, sheet: Sheet) -> Sequence[Gap]:
        """What time tells about Sparkplug nodes, what they lost, and what may be asked of them."""
        host = self._routes.host
        if host is None:
            return ()
        now, at = self._clock.monotonic(), self._clock.now()
        host.due(now, at, sheet)
        for topic, payload in host.commands(now, at):
            self._connection.publish(topic, payload)
        self._checkpoint.sparkplug = host.dump()
        gaps, host.gaps = host.gaps, []
        return gaps

    def _read(self, sheet: Sheet) -> Sequence[Message]:
        """What waits, on the sheet; what takes longer than AT_ONCE stays for the next delivery: the event loop is not ours."""
        waiting, routes, checkpoint = self._connection.wire.messages, self._routes, self._checkpoint
        read: list[Message] = []
        until, room = self._clock.monotonic() + AT_ONCE, self._room()
        while len(read) < room and (len(read) % SLICE or not read or self._clock.monotonic() < until):
            message = waiting.popleft()
            read.append(message)
            if not routes.read_quickly(message, sheet):
                stamp = checkpoint.stamp(message)
                if routes.read(message, stamp, sheet):
                    checkpoint.remember(message, stamp)
        self._handed += len(read)
        checkpoint.passed(read)
        if checkpoint.repeats:
            self.stated(repeats_without_dup=f"{checkpoint.repeats} {REPEATED}")
        return read

    def _ticked(self) -> None:
        """Once a second: subscriptions that stay silent although they were granted."""
        if self._routes.host is not None:
            self.stated(sparkplug=self._routes.host.words())
            if self._is_due():
                self._connection.woken.set()
        silence, user = self._memory.silence, self._connection.settings.username
        self.facts.pop("silent_topics", None)
        self.stated(silent_topics=suspicion(silence.silent(), user))
        if news := suspicion(silence.news(), user):
            log.warning("%s: %s", self._connection.settings.url, news)

    def _forget(self) -> None:
        """A link that is dead is found within 1.5 keep-alives; what was acknowledged before that has arrived."""
        now = self._clock.monotonic()
        while self._past and now - self._past[0][0] > self._sure:
            self._checkpoint.forget(self._past.popleft()[1])
        while self._lately and now - self._lately[0][0] > LATELY:
            self._checkpoint.acknowledged(self._lately.popleft()[1])

    def _received(self) -> None:
        """Called after every look at the socket, and when there is room again."""
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
        most = 1 if self._begun else OPENING
        if owed >= most * self._bound or wire.volume - self._volume >= most * VOLUME:
            self._connection.pause()
        else:
            self._connection.resume()

    def settle(self, messages: Sequence[Message], mark: int) -> None:
        """These are durable: acknowledge them, in the order of their receipt. mark: see `Checkpoint.forget`."""
        self._connection.acknowledge(messages)
        if self._connection.lost is None:
            self._past.append((self._clock.monotonic(), mark))
            self._lately.append(self._past[-1])
        self._settled += len(messages)
        self._volume += sum(len(message.payload) for message in messages)
        self._received()

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
