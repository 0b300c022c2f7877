"""What a broker owes to one client, whether it is there or not: subscriptions, what waits, what is in flight."""

import logging
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from simulators.broker import packets
from simulators.broker.filters import matches
from simulators.broker.packets import Message

LOG = logging.getLogger(__name__)
WINDOW: Final = 100  # messages in flight to a reader
LIMIT: Final = 100_000  # messages kept for a reader
LAST: Final = 0xFFFF

Write = Callable[[bytes], None]


class Session:
    """4.1: lives on while its client is away, unless that wanted a clean one. write: how to reach the client; None: it is away.

    undelivered: messages that were thrown away, by client.
    """

    def __init__(self, client_id: str, undelivered: Counter[str], *, clean: bool) -> None:
        self.client_id, self.clean = client_id, clean
        self.filters: dict[str, int] = {}
        self.received: set[int] = set()  # identifiers of QoS 2 that were passed on and not released
        self.write: Write | None = None
        self._undelivered = undelivered
        self._told = False
        self._waiting: deque[Message] = deque()
        self._flying: dict[int, Message] = {}
        self._number = 0

    @property
    def owes(self) -> int:
        """Messages that the client has not acknowledged."""
        return len(self._waiting) + len(self._flying)

    def qos_for(self, topic: str) -> int | None:
        """The highest that a matching subscription was granted; None: it is not wanted."""
        granted = [qos for text, qos in self.filters.items() if matches(text, topic)]
        return max(granted, default=None)

    def attach(self, write: Write) -> None:
        """The client is there: first what was in flight, again and in its order (4.4), then what came meanwhile."""
        self.write = write
        for number, message in self._flying.items():
            write(packets.publish(message, 1, number, again=True))
        self._pump()

    def detach(self) -> None:
        self.write = None

    def send(self, message: Message, qos: int) -> None:
        """QoS 0 for who is there, QoS 1 until it is acknowledged."""
        if not min(message.qos, qos):
            if self.write is not None:
                self.write(packets.publish(message, 0, 0))
        elif len(self._waiting) >= LIMIT:
            self.throw_away(f"{LIMIT:,} messages wait for it already")
        else:
            self._waiting.append(message)
            self._pump()

    def throw_away(self, why: str) -> None:
        """A message does not reach its client: counted always, said once until the client has nothing to wait for."""
        self._undelivered[self.client_id] += 1
        if not self._told:
            self._told = True
            LOG.warning("%s does not get what is said now: %s.", self.client_id, why)

    def acknowledged(self, number: int) -> None:
        """3.4."""
        self._flying.pop(number, None)
        self._pump()
        self._told = self._told and bool(self.owes)

    def _pump(self) -> None:
        while self.write is not None and self._waiting and len(self._flying) < WINDOW:
            message = self._waiting.popleft()
            self._number = self._free()
            self._flying[self._number] = message
            self.write(packets.publish(message, 1, self._number))

    def _free(self) -> int:
        """The next packet identifier that is not in flight; the window is far smaller than what there is."""
        number = self._number % LAST + 1
        while number in self._flying:
            number = number % LAST + 1
        return number
