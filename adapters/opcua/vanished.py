"""Nodes that were there and are gone: told by a data change with BadNodeIdUnknown, or found when a value is read again.

Some servers go on with the monitored item when the node returns, others keep a dead one and say nothing for ever. So the item is looked
for again and made anew; the old one is deleted only then, and what it may bring meanwhile counts. What came between the node's return and
the new item nobody sent: a gap, unless the old one spoke first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from adapters.opcua.columns import Segment
from adapters.opcua.errors import status_name
from pipelines.batch import Flag
from pipelines.stage import Gap

if TYPE_CHECKING:
    from adapters.opcua.items import Item

GONE: Final = (0x80340000, 0x80330000)  # BadNodeIdUnknown, BadNodeIdInvalid


class Vanished:
    """Of one session, by client handle."""

    def __init__(self) -> None:
        self._told: dict[int, int] = {}  # status
        self._since: dict[int, int] = {}  # ns, the newest value before
        self._stale: dict[int, int] = {}  # its item at the server

    @property
    def told(self) -> bool:
        """Somebody should look for them."""
        return bool(self._told)

    def note(self, item: Item, status: int, newest: int) -> None:
        """The server does not know its node. newest: ns, 0 where there was no value."""
        if item.live and not item.gone:
            self._told[item.handle] = status
            self._since.setdefault(item.handle, newest)

    def expel(self, items: Sequence[Item]) -> None:
        """What was told has failed from now on; its item at the server waits for its successor."""
        for handle, status in self._told.items():
            item = items[handle]
            if item.at_server:
                self._stale[handle] = item.at_server
            item.fail(status_name(status), status)
        self._told.clear()

    def replaced(self, items: Sequence[Item]) -> list[int]:
        """The server's ids of items that have a successor."""
        back = [handle for handle in self._stale if items[handle].live]
        return [self._stale.pop(handle) for handle in back]

    def forget(self) -> None:
        """The subscription is another one."""
        self._stale.clear()
        self._told.clear()

    def look(
        self, segment: Segment, at: np.ndarray, items: Sequence[Item], last: np.ndarray
    ) -> Iterator[Gap]:
        """Who is gone by these rows, and who is back. last: ns by handle, before them."""
        gone = np.isin(segment.quality & 0xFFFF0000, GONE)
        said: dict[int, int] = {}  # the last row that says so
        for row in np.flatnonzero(gone).tolist():
            handle = int(segment.handles[row])
            said[handle] = row
            if not items[handle].signal.polled:
                self.note(items[handle], int(segment.quality[row]), int(last[handle]))
        if self._since:
            speaks = (
                ~gone & ((segment.flags & Flag.NO_VALUE) == 0) & np.isin(segment.handles, list(self._since))
            )
            for row in np.flatnonzero(speaks).tolist():
                handle = int(segment.handles[row])
                if row > said.get(handle, -1):  # what was said before it went is no return
                    yield from self._back(items[handle], int(at[row]))

    def _back(self, item: Item, at: int) -> Iterator[Gap]:
        begins = self._since.pop(item.handle, 0)
        by_itself = self._told.pop(item.handle, None) is not None or not item.live
        if begins and not by_itself:
            detail = f"the server did not know {item.signal.name} for a while; values since its return may be missing"
            yield Gap(min(begins, at), at, "node_unknown", detail, (item.machine,))
