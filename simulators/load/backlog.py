"""The monitored items' queues: what the server holds while nobody asks for it, bounded, the oldest dropped and counted.

Every variable changes at every tick, so the queues of all items are one window over the ticks, and a queue of n values
per item is a window of n ticks: two counters are the whole queue, and nothing is encoded before it is sent.
"""

from dataclasses import dataclass
from typing import NamedTuple


class Place(NamedTuple):
    """One notification: the items [first, last) of the order of `tick`."""

    tick: int
    first: int
    last: int

    @property
    def values(self) -> int:
        return self.last - self.first


@dataclass(slots=True)
class Backlog:
    """Notifications that are waiting. variables, per_notification, depth (ticks): what there is, and what is kept."""

    variables: int
    per_notification: int
    depth: int
    emitted: int = 0
    dropped: int = 0
    _head: int = 0
    _tail: int = 0

    @property
    def parts(self) -> int:
        """Notifications per tick."""
        return -(-self.variables // self.per_notification)

    def __len__(self) -> int:
        return self._tail - self._head

    def tick(self) -> None:
        """Every variable has changed once more."""
        self.emitted += self.variables
        self._tail += self.parts
        while len(self) > self.depth * self.parts:
            self.dropped += self.take().values

    def take(self) -> Place:
        """The oldest notification. There must be one."""
        tick, part = divmod(self._head, self.parts)
        self._head += 1
        first = part * self.per_notification
        return Place(tick, first, min(first + self.per_notification, self.variables))

    def drop_all(self) -> None:
        """The subscription is gone, and its queues with it."""
        while len(self):
            self.dropped += self.take().values
