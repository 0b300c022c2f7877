"""One subscription: its monitored items, and notifications with sequence numbers, acknowledgements and Republish.

PublishRequests wait with the session (`sessions.py`); a subscription is given one of them when it has something to say.
"""

import itertools
import struct
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulators.load.queues import Indices, Notice, Queues
from simulators.load.series import Series
from simulators.load.sheet import Fields, Order, Sheet, ua_time

DATA_CHANGE = 811
MOST_KEPT = (
    20_000  # notifications that are not acknowledged; older ones can be neither republished nor counted
)
REPUBLISHABLE = 100  # notifications named in AvailableSequenceNumbers, the newest


class Wanted(NamedTuple):
    """A monitored item. size: values its queue keeps. oldest: a full queue discards the oldest."""

    variable: int
    handle: int
    size: int
    oldest: bool


class Terms(NamedTuple):
    """keep_alive, lifetime: s. most: values in one notification."""

    keep_alive: float
    lifetime: float
    most: int


class Items:
    """The monitored items of a subscription by position, which is the id less `ITEM_BASE`; deleted ones keep theirs."""

    def __init__(self, types: NDArray[np.uint8], order: Order, seed: int) -> None:
        self._all_types, self._order, self._seed = types, order, seed
        self.variables: Indices = np.zeros(0, np.int32)
        self.handles = np.zeros(0, np.uint32)
        self.base: Indices = np.zeros(0, np.int32)
        self.queues = Queues()

    def add(self, wanted: Sequence[Wanted]) -> range:
        """Their positions."""
        before = len(self.variables)
        variables, handles, sizes, oldest = zip(*wanted, strict=True)
        self.variables = np.append(self.variables, np.array(variables, np.int32))
        self.handles = np.append(self.handles, np.array(handles, np.uint32))
        self.queues.add(np.array(sizes, np.int32), np.array(oldest, np.bool_))
        self.base = np.append(self.base, np.arange(before, len(self.variables), dtype=np.int32))
        return range(before, len(self.variables))

    def remove(self, position: int) -> bool:
        """False when there is no such item."""
        if position not in self.base:
            return False
        self.queues.remove(np.array([position], np.int32))
        self.base = self.base[self.base != position]
        return True

    def tick(self, tick: int) -> None:
        order = self.base
        if self._order == "shuffled":
            order = np.random.default_rng((self._seed, tick)).permutation(order)
        self.queues.tick(tick, order)

    def sheet(self, series: Series, fields: Fields) -> Sheet:
        return Sheet(series, fields, self.variables, self.handles, self._all_types[self.variables])


class Subscription:
    """Makes messages of what waits in the items' queues. delivered, acknowledged: values."""

    def __init__(self, number: int, terms: Terms, items: Items, fields: Fields) -> None:
        self.number, self.terms, self.items, self._fields = number, terms, items, fields
        self._sheet: Sheet | None = None
        self._unacknowledged: dict[int, Notice] = {}
        self._next = 1
        self.spoke = self.asked = time.monotonic()
        self.delivered = self.acknowledged = 0

    @property
    def owing(self) -> int:
        """Notifications that were not acknowledged yet."""
        return len(self._unacknowledged)

    @property
    def available(self) -> tuple[int, ...]:
        """Sequence numbers that Republish would find, the newest."""
        newest = itertools.islice(reversed(self._unacknowledged), REPUBLISHABLE)
        return tuple(newest)[::-1]

    def start(self, series: Series) -> None:
        """The items have changed, or the time of the first tick is known now."""
        self._sheet = self.items.sheet(series, self._fields) if len(self.items.variables) else None

    def acknowledge(self, number: int) -> bool:
        """False for a number that is not known."""
        notice = self._unacknowledged.pop(number, None)
        self.acknowledged += notice.values if notice else 0
        return notice is not None

    @property
    def due(self) -> bool:
        """Values are waiting, or it is time to say that there are none."""
        return bool(self.items.queues.queued) or time.monotonic() - self.spoke >= self.terms.keep_alive

    @property
    def expired(self) -> bool:
        """Nobody has asked for its lifetime."""
        return time.monotonic() - self.asked > self.terms.lifetime

    def message(self) -> tuple[bytes, list[bytes | memoryview]]:
        """What stands before and what is the NotificationMessage of the next PublishResponse."""
        self.spoke = time.monotonic()
        if self.items.queues.queued and self._sheet is not None:
            message = self._notification()
        else:  # a message without notifications carries the number of the next one (OPC 10000-4, 5.14.1.2)
            message = [struct.pack("<Iqi", self._next, ua_time(time.time_ns()), 0)]
        known, more = self.available, bool(self.items.queues.queued)
        return struct.pack(f"<Ii{len(known)}I?", self.number, len(known), *known, more), message

    def _notification(self) -> list[bytes | memoryview]:
        notice = self.items.queues.take(self.terms.most)
        number, self._next = self._next, self._next % 0xFFFF_FFFF + 1
        self._unacknowledged[number] = notice
        if len(self._unacknowledged) > MOST_KEPT:
            del self._unacknowledged[next(iter(self._unacknowledged))]
        self.delivered += notice.values
        return self._encoded(number, notice)

    def _encoded(self, number: int, notice: Notice) -> list[bytes | memoryview]:
        """A NotificationMessage (OPC 10000-4, 7.26) with one DataChangeNotification."""
        items = self._sheet.items(notice) if self._sheet is not None else memoryview(b"")
        head = struct.pack(
            "<IqiBBHBii",
            *(number, ua_time(time.time_ns()), 1),
            *(1, 0, DATA_CHANGE, 1, len(items) + 8, notice.values),
        )
        return [head, items, b"\xff" * 4]

    def again(self, number: int) -> list[bytes | memoryview] | None:
        """The same notification again; None when it is not available."""
        notice = self._unacknowledged.get(number)
        return None if notice is None else self._encoded(number, notice)
