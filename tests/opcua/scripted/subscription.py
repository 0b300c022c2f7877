"""Monitored items and subscriptions as OPC 10000-4, 5.13 and 5.14 have them: queues, sequence numbers, retransmission.

A subscription belongs to no connection: it has a session, may lose it, and may be given to another one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tests.opcua import encoder as enc
from tests.opcua.encoder import DataValue
from tests.opcua.scripted import codes
from tests.opcua.scripted.codec.wire import NodeId

DATA_CHANGE, STATUS_CHANGE = 811, 820
REPORTING, SAMPLING, DISABLED = 2, 1, 0
LAST = 0xFFFFFFFF

Part = tuple[int, bytes]


class Notice(NamedTuple):
    """A NotificationMessage; without parts it is a keep-alive. null: the keep-alive's array is null and not empty."""

    sequence: int
    parts: Sequence[Part] = ()
    null: bool = False


@dataclass
class Monitored:
    """One monitored item and its queue (5.13.1.5)."""

    id: int
    handle: int
    node: str
    sampling: float
    size: int
    discard_oldest: bool = True
    mode: int = REPORTING
    queue: deque[DataValue] = field(default_factory=deque)

    def put(self, value: DataValue) -> DataValue | None:
        """Queue it; what had to go. Overflow is told where the hole is, and only by queues of more than one."""
        if self.mode == DISABLED:
            return None
        if len(self.queue) < self.size:
            self.queue.append(value)
            return None
        if self.size == 1:
            gone = self.queue.popleft()
            self.queue.append(value)
        elif self.discard_oldest:
            gone = self.queue.popleft()
            self.queue.append(value)
            self.queue[0] = flagged(self.queue[0])
        else:
            gone = self.queue.pop()
            self.queue.append(flagged(value))
        return gone


def flagged(value: DataValue) -> DataValue:
    return replace(value, status=(value.status or 0) | codes.OVERFLOW)


@dataclass
class Subscription:
    """interval in s. keep_alive, lifetime: s. silent: it is not served any more, and nobody is told."""

    id: int
    interval: float
    keep_alive: float
    lifetime: float
    most: int
    enabled: bool
    session: NodeId | None
    sequence: int = 1
    keep: int = 1000  # messages for retransmission, at most
    items: dict[int, Monitored] = field(default_factory=dict)
    order: deque[Monitored] = field(default_factory=deque)  # one entry per queued value, in order of arrival
    kept: dict[int, list[Part]] = field(default_factory=dict)
    outbox: deque[Notice] = field(default_factory=deque)
    next_cycle: float = 0.0
    spoke: float = 0.0
    asked: float = 0.0  # when a request was there for it last
    begun: bool = False
    silent: bool = False

    def put(self, item: Monitored, value: DataValue) -> DataValue | None:
        self.order.append(item)
        return item.put(value)

    @property
    def reporting(self) -> bool:
        return self.enabled and any(item.mode == REPORTING and item.queue for item in self.items.values())

    def take(self, most: int) -> list[tuple[Monitored, DataValue]]:
        """The next values that are to be reported, in the order in which they came."""
        taken: list[tuple[Monitored, DataValue]] = []
        held: list[Monitored] = []
        while self.order and len(taken) < most:
            item = self.order.popleft()
            if item.mode == REPORTING and item.queue and item.id in self.items:
                taken.append((item, item.queue.popleft()))
            elif item.queue:
                held.append(item)
        self.order.extendleft(reversed(held))
        return taken

    def number(self, parts: Sequence[Part]) -> Notice:
        """A message with the next sequence number, kept until it is acknowledged or too old."""
        made = Notice(self.sequence, list(parts))
        self.sequence = 1 if self.sequence == LAST else self.sequence + 1
        self.kept[made.sequence] = list(parts)
        while len(self.kept) > self.keep:
            del self.kept[next(iter(self.kept))]
        return made

    def changes(self, taken: Sequence[tuple[Monitored, DataValue]]) -> Notice:
        return self.number([(DATA_CHANGE, enc.data_change([(item.handle, value) for item, value in taken]))])

    def ended(self, code: int) -> Notice:
        return self.number([(STATUS_CHANGE, enc.status_change(code))])
