"""Sessions: whose subscriptions they are, and the PublishRequests that wait for something to be said (OPC 10000-4, 5.14.5)."""

import struct
from collections import deque
from typing import NamedTuple

from asyncua.ua.status_codes import StatusCodes

from simulators.load.channel import Channel
from simulators.load.publish import PUBLISH_RESPONSE, read_publish, response_head
from simulators.load.services import fault
from simulators.load.subscription import Subscription

MOST_WAITING = 100  # PublishRequests


class Waiting(NamedTuple):
    """A PublishRequest: how to answer it, and what became of the acknowledgements that it brought."""

    channel: Channel
    request: int
    handle: int
    results: tuple[int, ...]

    def refuse(self, code: int) -> None:
        self.channel.send(self.request, fault(self.handle, code))

    def answer(self, start: bytes, message: list[bytes | memoryview]) -> None:
        good = struct.pack(f"<i{len(self.results)}Ii", len(self.results), *self.results, -1)
        head = response_head(PUBLISH_RESPONSE, self.handle)
        self.channel.send_parts(self.request, [head, start, *message, good])


class Session:
    """One session. token: as encoded in its requests. `channel`: the connection that it was last activated on."""

    def __init__(self, token: bytes) -> None:
        self.token = token
        self.channel: Channel | None = None
        self.subscriptions: dict[int, Subscription] = {}
        self.waiting: deque[Waiting] = deque()

    def publish(self, channel: Channel, request: int, body: bytes) -> None:
        """Take a PublishRequest; the oldest one is refused when there are too many."""
        asked = read_publish(body)
        results = tuple(self._acknowledge(*one) for one in asked.acknowledged)
        self.waiting.append(Waiting(channel, request, asked.handle, results))
        if len(self.waiting) > MOST_WAITING:
            self.waiting.popleft().refuse(StatusCodes.BadTooManyPublishRequests)

    def _acknowledge(self, subscription: int, number: int) -> int:
        known = self.subscriptions.get(subscription)
        if known is None:
            return int(StatusCodes.BadSubscriptionIdInvalid)
        return 0 if known.acknowledge(number) else int(StatusCodes.BadSequenceNumberUnknown)

    def pump(self) -> None:
        """Answer as many requests as there is something to say for, the subscriptions in turn."""
        while self.waiting and not self.waiting[0].channel.congested:
            due = next((one for one in self.subscriptions.values() if one.due), None)
            if due is None:
                break
            self.waiting.popleft().answer(*due.message())
            due.asked = due.spoke
            self.subscriptions[due.number] = self.subscriptions.pop(due.number)  # the others come first now

    def forget(self, channel: Channel) -> None:
        """Requests that came over a connection that is gone cannot be answered."""
        self.waiting = deque(one for one in self.waiting if one.channel is not channel)
        self.channel = None if self.channel is channel else self.channel

    def expired(self) -> list[int]:
        """Subscriptions that nobody has asked about for longer than they live."""
        if self.waiting:
            return []
        return [number for number, one in self.subscriptions.items() if one.expired]

    def refuse_all(self, code: int) -> None:
        """The requests that will never be answered."""
        left, self.waiting = list(self.waiting), deque()
        for one in left:
            one.refuse(code)
