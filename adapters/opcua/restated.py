"""What has not changed while nobody listened, said once more: otherwise it would count as unknown until it changes.

When a source is lost, each of its points gets a row without value (collector/facts.py). When it is back, the server's first value of
a signal that stands still has the time at which it was set, which is long known; a subscription that is taken up again says nothing at
all. So all signals are read once if the line asks for it, and what was so before this session began is stored again under the time at
which it began, with the flag HEARTBEAT. What is younger is left to the subscription. Under that time and not that of the reading: a
change in between has a later one, and stays the last word.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from adapters.opcua.batches import in_batches
from adapters.opcua.errors import doing
from adapters.opcua.items import Item, Items
from adapters.opcua.patient import data_value
from adapters.opcua.peer import Peer
from adapters.opcua.poll import as_of
from adapters.opcua.present import cells_of, notification, read_values
from adapters.opcua.stream import Stream
from adapters.opcua.things import Reading, Thing
from adapters.opcua.values import EPOCH_TICKS
from adapters.opcua.vanished import GONE

log = logging.getLogger("adapters.opcua")


class Restated:
    """`run` once per session, when its items are there; it waits until somebody asks. begun: ns, our clock."""

    def __init__(self, peer: Peer, items: Items, stream: Stream, offer: Callable[[Thing], None]) -> None:
        self._peer, self._items, self._stream, self._offer = peer, items, stream, offer
        self.begun = peer.clock.now() // 100 * 100
        self._asked = asyncio.Event()

    def ask(self) -> int:
        """Returns `begun`."""
        self._asked.set()
        return self.begun

    async def run(self) -> None:
        """One Read of each live item. Raises what a call raises; an answer that does not come in time is no reason to end."""
        await self._asked.wait()
        live = [item for item in self._items.all if item.live and not item.gone]
        try:
            with doing("reading what has not changed"):
                await in_batches(live, self._peer.desk.limits.read, self._read)
        except TimeoutError:
            log.debug("%s: no answer to a reading of what has not changed", self._peer.name)

    async def _read(self, batch: Sequence[Item]) -> list[None]:
        await self._stream.publisher.roomy.wait()
        desk = self._peer.desk
        there = [item for item in batch if item.live and desk.node_id(item.address) is not None]
        if there:
            answer = await self._peer.channel.call_raw(read_values(desk, there))
            self._take(there, cells_of(answer, len(there)))
        return [None] * len(batch)

    def _take(self, items: Sequence[Item], cells: Sequence[bytes]) -> None:
        begun = self.begun // 100 + EPOCH_TICKS
        old = [(item, cell) for item, cell in zip(items, cells, strict=True) if _stands(cell, begun)]
        if old:
            message = notification([item.handle for item, _ in old], [as_of(cell, begun) for _, cell in old])
            self._stream.publisher.took(len(message.body))
            self._offer(Reading(message, self._peer.clock.now(), beat=True))


def _stands(cell: bytes, begun: int) -> bool:
    """Whether it has a time of its own, which lies before `begun` (ticks); a node that is gone is told by others."""
    _, row, _ = data_value(cell, 0)
    return EPOCH_TICKS < row[2] < begun and row[1] & 0xFFFF0000 not in GONE
