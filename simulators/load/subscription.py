"""One subscription: PublishRequests in, PublishResponses out, with sequence numbers, acknowledgements and Republish.

The only two messages that are counted by the thousand are read and written as bytes here (OPC 10000-4, 5.14.5 and
10000-6, 5.2): no object per message, none per value.
"""

import struct
import time
from collections import deque
from typing import NamedTuple

from simulators.load.backlog import Place
from simulators.load.channel import Channel
from simulators.load.sheet import Sheet, ua_time

PUBLISH_REQUEST, PUBLISH_RESPONSE, REPUBLISH_RESPONSE, DATA_CHANGE = 826, 829, 835, 811
MOST_WAITING = 100  # PublishRequests
MOST_KEPT = (
    20_000  # notifications that are not acknowledged; older ones can be neither republished nor counted
)
REPUBLISHABLE = 100  # notifications named in AvailableSequenceNumbers, the newest
_TWO_BYTES, _FOUR_BYTES, _NUMERIC, _GUID = 0, 1, 2, 4
_NODE_ID_SIZES = {_TWO_BYTES: 2, _FOUR_BYTES: 4, _NUMERIC: 7, _GUID: 19}


class Waiting(NamedTuple):
    """A PublishRequest: how to answer it, and how many acknowledgements it brought."""

    request: int
    handle: int
    acknowledged: int


class Asked(NamedTuple):
    """What stands in a PublishRequest: (subscription, sequence number) of what is acknowledged."""

    handle: int
    acknowledged: tuple[tuple[int, int], ...]


def node_id_end(body: bytes, at: int) -> int:
    """Where the NodeId at `at` ends (OPC 10000-6, 5.2.2.9)."""
    form = body[at] & 0x3F
    if form in _NODE_ID_SIZES:
        return at + _NODE_ID_SIZES[form]
    length = int.from_bytes(body[at + 3 : at + 7], "little", signed=True)
    return at + 7 + max(length, 0)


def read_publish(body: bytes) -> Asked:
    """A PublishRequest: type id, RequestHeader, then the acknowledgements."""
    at = node_id_end(body, node_id_end(body, 0)) + 8
    (handle,) = struct.unpack_from("<I", body, at)
    (audit,) = struct.unpack_from("<i", body, at + 8)
    at += 12 + max(audit, 0) + 4
    at = node_id_end(body, at) + 1  # AdditionalHeader, always empty
    (count,) = struct.unpack_from("<i", body, at)
    numbers = struct.unpack_from(f"<{2 * max(count, 0)}I", body, at + 4)
    return Asked(handle, tuple(zip(numbers[::2], numbers[1::2], strict=True)))


def response_head(kind: int, handle: int) -> bytes:
    """Type id and ResponseHeader, good."""
    return struct.pack("<BBHqIIBi3x", 1, 0, kind, ua_time(time.time_ns()), handle, 0, 0, -1)


class Subscription:
    """Sends what it is given when there is a request for it. delivered, acknowledged: values."""

    def __init__(self, number: int, keep_alive: float) -> None:
        self.number, self.keep_alive = number, keep_alive
        self.sheet: Sheet | None = None
        self._waiting: deque[tuple[Channel, Waiting]] = deque()
        self._unacknowledged: dict[int, Place] = {}
        self._recent: deque[int] = deque(maxlen=REPUBLISHABLE)
        self._next = 1
        self.spoke = time.monotonic()
        self.delivered = self.acknowledged = 0

    @property
    def asked(self) -> bool:
        """There are items, a PublishRequest, and room in the socket for its answer."""
        return self.sheet is not None and bool(self._waiting) and not self._waiting[0][0].congested

    @property
    def owing(self) -> int:
        """Notifications that were not acknowledged yet."""
        return len(self._unacknowledged)

    def publish(self, channel: Channel, request: int, body: bytes) -> Waiting | None:
        """Take a PublishRequest; returns the oldest one, to be refused, when there are too many."""
        asked = read_publish(body)
        for _, number in asked.acknowledged:
            place = self._unacknowledged.pop(number, None)
            self.acknowledged += place.values if place else 0
        self._waiting.append((channel, Waiting(request, asked.handle, len(asked.acknowledged))))
        return self._waiting.popleft()[1] if len(self._waiting) > MOST_WAITING else None

    def send(self, place: Place) -> None:
        """Answer the oldest request with these items."""
        number, self._next = self._next, self._next % 0xFFFF_FFFF + 1
        self._unacknowledged[number] = place
        if len(self._unacknowledged) > MOST_KEPT:
            del self._unacknowledged[next(iter(self._unacknowledged))]
        self._recent.append(number)
        self.delivered += place.values
        self._answer(self._notification(number, place))

    def keep_alive_if_due(self) -> None:
        """A message without notifications carries the number of the next one (OPC 10000-4, 5.14.1.2)."""
        if self._waiting and time.monotonic() - self.spoke >= self.keep_alive:
            self._answer([struct.pack("<Iqi", self._next, ua_time(time.time_ns()), 0)])

    def _answer(self, message: list[bytes | memoryview]) -> None:
        channel, waiting = self._waiting.popleft()
        self.spoke = time.monotonic()
        available = [number for number in self._recent if number in self._unacknowledged]
        start = struct.pack(f"<Ii{len(available)}Ix", self.number, len(available), *available)
        good = struct.pack("<i", waiting.acknowledged) + bytes(4 * waiting.acknowledged) + b"\xff" * 4
        channel.send_parts(
            waiting.request, [response_head(PUBLISH_RESPONSE, waiting.handle), start, *message, good]
        )

    def _notification(self, number: int, place: Place) -> list[bytes | memoryview]:
        """A NotificationMessage (OPC 10000-4, 7.26) with one DataChangeNotification."""
        items = self.sheet.items(place) if self.sheet is not None else memoryview(b"")
        head = struct.pack(
            "<IqiBBHBii",
            *(number, ua_time(time.time_ns()), 1),
            *(1, 0, DATA_CHANGE, 1, len(items) + 8, place.values),
        )
        return [head, items, b"\xff" * 4]

    def republish(self, channel: Channel, request: int, handle: int, number: int) -> bool:
        """The same notification again; False when it is not available."""
        place = self._unacknowledged.get(number)
        if place is not None:
            head = response_head(REPUBLISH_RESPONSE, handle)
            channel.send_parts(request, [head, *self._notification(number, place)])
        return place is not None

    def forget(self, channel: Channel) -> None:
        """Requests that came over a connection that is gone cannot be answered."""
        self._waiting = deque(pair for pair in self._waiting if pair[0] is not channel)

    def fault_all(self) -> list[tuple[Channel, Waiting]]:
        """The requests that will never be answered, because the subscription ends."""
        left, self._waiting = list(self._waiting), deque()
        return left
