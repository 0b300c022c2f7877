"""What is to happen at which simulated moment, in the order it was written: faults that begin and end, orders, shifts."""

import heapq
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

Deed = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Agenda:
    """Entries before the start count from the start; `now_ns` is the simulated time, UTC."""

    now_ns: int = 0
    _entries: list[tuple[int, int, Deed]] = field(default_factory=list)
    _number: int = 0
    _origin: int | None = None

    def start(self, origin_ns: int) -> None:
        """The clock starts here."""
        self.now_ns = self._origin = origin_ns
        self._entries = [(at + origin_ns, number, deed) for at, number, deed in self._entries]

    def after(self, delay_ns: int, deed: Deed) -> None:
        """So long after now, or after the start when that has not been."""
        at = delay_ns + (0 if self._origin is None else self.now_ns)
        self._number += 1
        heapq.heappush(self._entries, (at, self._number, deed))

    async def reach(self, at_ns: int) -> None:
        """Do everything that is due at or before this moment."""
        while self._entries and self._entries[0][0] <= at_ns:
            at, _, deed = heapq.heappop(self._entries)
            self.now_ns = max(self.now_ns, at)
            await deed()
        self.now_ns = max(self.now_ns, at_ns)
