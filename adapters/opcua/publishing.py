"""The publish loop: several requests in flight, acknowledgements riding on the next one, and never a task per request.

A PublishRequest is the server's permission to answer, so flow control is simply not sending the next one: too much
received that is not yet durable, and we fall silent towards the server, whose own queues take over (OPC 10000-4, 5.14.1).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from adapters.clock import Clock
from adapters.errors import AdapterError, NotConnected
from adapters.opcua.channel import Channel
from adapters.opcua.decode import Message, Published, decode_response
from adapters.opcua.errors import status_name, to_border
from adapters.opcua.values import Malformed

IN_FLIGHT: Final = 3
_HELD: Final = 64 * 2**20  # bytes of notifications that are not yet durable, at most
_TOO_MANY, _TIMED_OUT = "BadTooManyPublishRequests", ("BadTimeout", "BadRequestTimeout")


class Arrival(NamedTuple):
    """A message as it came. available: numbers that the server could still republish then. received: ns, our clock."""

    message: Message
    available: tuple[int, ...]
    received: int


class Broken(NamedTuple):
    """An answer that could not be read at all."""

    body: bytes
    reason: str
    received: int


class Publisher:
    """Keeps the server supplied with PublishRequests. `arrived` fills in the order of the wire; `wake` says so."""

    def __init__(self, channel: Channel, bound: int, clock: Clock) -> None:
        self._channel, self._bound, self._clock = channel, bound, clock
        self._flying: dict[asyncio.Future[Any], list[int]] = {}
        self._acknowledge: list[int] = []
        self._subscription = 0
        self._target, self._spare = IN_FLIGHT, 1
        self._closed = True
        self._wake: Callable[[], None] = lambda: None
        self._fail: Callable[[AdapterError], None] = lambda _: None
        self.arrived: deque[Arrival | Broken] = deque()
        self.unacknowledged = 0
        self.held = 0
        self.heard = 0.0
        self.pressing = asyncio.Event()

    def start(
        self, subscription: int, wake: Callable[[], None], fail: Callable[[AdapterError], None]
    ) -> None:
        self._subscription, self._wake, self._fail, self._closed = subscription, wake, fail, False
        self.heard = self._clock.monotonic()
        self._pump()

    def stop(self) -> None:
        self._closed = True

    @property
    def waiting(self) -> bool:
        """The server has a request of ours to answer: only then does its silence mean anything."""
        return bool(self._flying)

    def took(self, size: int) -> None:
        """A notification of this size is ours to make durable."""
        self.unacknowledged += 1
        self.held += size
        if self._short():
            self.pressing.set()

    def acknowledge(self, numbers: Iterable[int], size: int) -> None:
        """These are durable: say so with the next request, or with a spare one when all are waiting at the server."""
        durable = list(numbers)
        self._acknowledge += durable
        self.unacknowledged -= len(durable)
        self.held -= size
        if not self._short():
            self.pressing.clear()
        if not self._closed:
            self._pump(self._spare if self._acknowledge else 0)

    def _pump(self, spare: int = 0) -> None:
        if not self._flying:
            self.heard = self._clock.monotonic()  # from now on the server has something to answer
        while len(self._flying) < self._target + spare and not self._full() and not self._closed:
            spare = 0
            self._send()

    def _short(self) -> bool:
        return self.unacknowledged * 2 >= self._bound or self.held * 2 >= _HELD

    def _full(self) -> bool:
        return self.unacknowledged >= self._bound or self.held >= _HELD

    def _send(self) -> None:
        riding, self._acknowledge = self._acknowledge, []
        try:
            future = self._channel.publish(self._subscription, riding)
        except ConnectionError as error:
            self._closed = True
            self._fail(to_border(error, self._channel.url))
            return
        self._flying[future] = riding
        future.add_done_callback(self._answered)

    def _answered(self, future: asyncio.Future[Any]) -> None:
        riding = self._flying.pop(future)
        error = None if future.cancelled() else future.exception()
        if self._closed or future.cancelled():
            return
        if error is not None:
            self._closed = True
            self._fail(to_border(error, self._channel.url))
            return
        self.heard = self._clock.monotonic()
        self._understand(bytes(future.result()), riding)
        self._pump()

    def _understand(self, body: bytes, riding: list[int]) -> None:
        try:
            answer = decode_response(body)
        except Malformed as error:
            self.arrived.append(Broken(body, str(error), self._clock.now()))
            self._wake()
            return
        if answer.message is None:
            self._refused(answer, riding)
        elif answer.subscription == self._subscription:
            if answer.message.parts:
                self.took(len(body))
            self.arrived.append(Arrival(answer.message, answer.available, self._clock.now()))
            self._wake()

    def _refused(self, answer: Published, riding: list[int]) -> None:
        name = status_name(answer.result)
        if name == _TOO_MANY and self._flying:
            self._target, self._spare = len(self._flying), 0
            self._acknowledge = riding + self._acknowledge
        elif name not in _TIMED_OUT:
            self._closed = True
            self._fail(NotConnected(f"{self._channel.url}: the server ended the subscription ({name})"))
