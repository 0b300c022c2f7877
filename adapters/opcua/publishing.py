"""The publish loop: several requests in flight, acknowledgements riding on the next one, and never a task per request.

A PublishRequest is the server's permission to answer, so flow control is simply not sending the next one: too much
received that is not yet durable, and we fall silent towards the server, whose own queues take over (OPC 10000-4, 5.14.1).

How many wait at the server follows the line: requests that come back about as fast as the wire allows found the server waiting
for them, so there are too few. One place more is kept for acknowledgements, which otherwise wait for the next answer: with
nothing to say, for the next keep-alive.
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
from adapters.opcua.services import GONE
from adapters.opcua.values import Malformed
from adapters.pressing import Pressing

IN_FLIGHT: Final = 3
MOST_IN_FLIGHT: Final = 32
_PATIENCE: Final = (
    0.1  # s that acknowledgements wait for an answer before they take a request beyond the spare one
)
_PROMPT: Final = 2.0  # round trips; an answer within them was waiting for its request
_HELD: Final = 64 * 2**20  # bytes of notifications that are not yet durable, at most
_TOO_MANY, _TIMED_OUT = "BadTooManyPublishRequests", ("BadTimeout", "BadRequestTimeout")


class Arrival(NamedTuple):
    """A message as it came. available: numbers that the server could still republish then. received: ns, our clock.

    counted: among what is not yet durable.
    """

    message: Message
    available: tuple[int, ...]
    received: int
    counted: bool = True


class Broken(NamedTuple):
    """An answer that could not be read at all."""

    body: bytes
    reason: str
    received: int


class Publisher:
    """Keeps the server supplied with PublishRequests. `arrived` fills in the order of the wire; `wake` says so.

    ended: called with the reason when the subscription is gone and the session is not; nothing is sent until `switch`.
    stranger: called with the number of a subscription that uses up our requests and is not the one that is read.
    heard: when the subscription spoke last; faults and other subscriptions say nothing about its life.
    round_trip: s, as measured by whoever asks the server something simple; 0 until then, and nothing grows.
    """

    def __init__(
        self,
        channel: Channel,
        bound: int,
        clock: Clock,
        *,
        wake: Callable[[], None],
        fail: Callable[[AdapterError], None],
        ended: Callable[[str], None],
        stranger: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._channel, self._bound, self._clock = channel, bound, clock
        self._wake, self._fail, self._ended, self._stranger = wake, fail, ended, stranger
        self._flying: dict[asyncio.Future[Any], tuple[list[int], float]] = {}
        self._acknowledge: list[int] = []
        self._subscription = 0
        self._target, self._spare, self._ceiling, self._prompt = IN_FLIGHT, 1, MOST_IN_FLIGHT, 0
        self._carrier: asyncio.Handle | None = None
        self._closed = True
        self.arrived: deque[Arrival | Broken] = deque()
        self.unacknowledged = 0
        self.held = 0
        self.heard = 0.0
        self.round_trip = 0.0
        self.pressing, self.roomy = Pressing(), asyncio.Event()
        self.roomy.set()

    def switch(self, subscription: int) -> None:
        """Go on with this one. Acknowledgements of another are void."""
        self._subscription, self._acknowledge, self._closed = subscription, [], False
        self.heard = self._clock.monotonic()
        self._pump(self.heard)

    def stop(self) -> None:
        """Send nothing more; what still comes is not looked at."""
        self._closed = True
        if self._carrier is not None:
            self._carrier.cancel()
            self._carrier = None

    @property
    def waiting(self) -> bool:
        """The server has a request of ours to answer: only then does its silence mean anything."""
        return bool(self._flying) and not self._closed

    @property
    def target(self) -> int:
        """Requests that are kept waiting at the server."""
        return self._target

    def took(self, size: int) -> None:
        """A notification of this size is ours to make durable."""
        self.unacknowledged += 1
        self.held += size
        if self.unacknowledged * 2 >= self._bound or self.held * 2 >= _HELD:
            self.pressing.set()
        if self._full():
            self.roomy.clear()

    def acknowledge(self, subscription: int, numbers: Iterable[int], count: int, size: int) -> None:
        """Durable: `count` notifications of `size` bytes together; those with `numbers` are still known to the server."""
        self.unacknowledged -= count
        self.held -= size
        if self.unacknowledged * 2 < self._bound and self.held * 2 < _HELD:
            self.pressing.clear()
        if not self._full():
            self.roomy.set()
        if subscription == self._subscription:
            self.settle(numbers)
        self._pump()

    def settle(self, numbers: Iterable[int]) -> None:
        """Say with the next request that these are durable; with a request of their own when none would go soon."""
        self._acknowledge += numbers
        if not self._acknowledge or self._closed:
            return
        if len(self._flying) < self._target + self._spare and not self._full():
            self._send(self._clock.monotonic())
        elif self._carrier is None:
            self._carrier = asyncio.get_running_loop().call_later(_PATIENCE, self._carry)

    def _carry(self) -> None:
        """No answer came meanwhile that would have taken these along."""
        self._carrier = None
        if self._acknowledge and not self._closed and not self._full() and len(self._flying) < self._ceiling:
            self._send(self._clock.monotonic())

    def _pump(self, now: float = 0.0) -> None:
        """now: if the caller knows."""
        while not self._closed and len(self._flying) < self._target and not self._full():
            if len(self._flying) + self.unacknowledged >= self._bound:
                break
            self._send(now or self._clock.monotonic())

    def _full(self) -> bool:
        return self.unacknowledged >= self._bound or self.held >= _HELD

    def _send(self, now: float) -> None:
        if not self._flying:
            self.heard = now  # from now on the server has something to answer
        riding, self._acknowledge = self._acknowledge, []
        try:
            future = self._channel.publish(self._subscription, riding)
        except ConnectionError as error:
            self._closed = True
            self._fail(to_border(error, self._channel.url))
            return
        self._flying[future] = (riding, now)
        future.add_done_callback(self._answered)

    def _answered(self, future: asyncio.Future[Any]) -> None:
        riding, sent = self._flying.pop(future)
        error = None if future.cancelled() else future.exception()
        if self._closed or future.cancelled():
            return
        if error is not None:
            self._closed = True
            self._fail(to_border(error, self._channel.url))
            return
        now = self._clock.monotonic()
        self._keep_pace(now - sent)
        self._understand(bytes(future.result()), riding, now)
        self._pump(now)

    def _keep_pace(self, took: float) -> None:
        """One request more when as many as there are have come back at once, one after the other."""
        self._prompt = self._prompt + 1 if took <= _PROMPT * self.round_trip else 0
        if self._prompt > self._target:
            self._prompt = 0
            self._target = max(self._target, min(self._target + 1, self._ceiling - self._spare))

    def _understand(self, body: bytes, riding: list[int], now: float) -> None:
        try:
            answer = decode_response(body)
        except Malformed as error:
            self.heard = now
            self.arrived.append(Broken(body, str(error), self._clock.now()))
            self._wake()
            return
        if answer.message is None:
            self._refused(answer, riding)
        elif answer.subscription != self._subscription:
            self._stranger(answer.subscription)
        else:
            self.heard = now
            if answer.message.parts:
                self.took(len(body))
            self.arrived.append(Arrival(answer.message, answer.available, self._clock.now()))
            self._wake()

    def _refused(self, answer: Published, riding: list[int]) -> None:
        name = status_name(answer.result)
        if name == _TOO_MANY and self._flying:
            self._ceiling = len(self._flying)
            self._target = max(1, self._ceiling - 1)
            self._spare = self._ceiling - self._target
            self._acknowledge = riding + self._acknowledge
        elif name in GONE:
            self.stop()
            self._ended(name)
        elif name not in _TIMED_OUT:
            self._closed = True
            self._fail(NotConnected(f"{self._channel.url}: the server ended the session ({name})"))
