"""A history read by hand: a connection of its own, no subscription, and the same way from bytes to rows as a repair.

Beside a running session rather than in it: it works the same without one, and whoever waits for a long history can stop it by
closing the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from adapters.base import Delivery
from adapters.clock import Clock
from adapters.errors import AdapterError
from adapters.opcua.assembly import Assembler
from adapters.opcua.channel import Channel
from adapters.opcua.errors import FOREIGN, crossing, to_border
from adapters.opcua.finding import find
from adapters.opcua.history import History
from adapters.opcua.history_repair import Recalled, Repair
from adapters.opcua.items import Items
from adapters.opcua.security import Gate, introducing
from adapters.opcua.subscription import Desk
from pipelines.stage import Gap

_AHEAD: Final = 4  # pieces that are read before somebody takes them


class Backfill:
    """See adapters.base.Recall."""

    def __init__(self, name: str, items: Items, clock: Clock) -> None:
        items.history = History(active=True)
        self._items, self._clock = items, clock
        self._assembler = Assembler(name, items, None, "")
        self._pieces: asyncio.Queue[Recalled | AdapterError] = asyncio.Queue(_AHEAD)
        self._repair = Repair(Gap(0, 0, ""))

    @property
    def signals(self) -> int:
        return self._repair.kept

    @property
    def done(self) -> int:
        return self._repair.finished

    @property
    def troubles(self) -> Mapping[str, str]:
        return self._repair.troubles

    async def read(self, channel: Channel, desk: Desk, begins: int, ends: int) -> None:
        """Into the queue; an error is the last piece."""
        self._repair = Repair(Gap(begins, ends - 1, "backfill"))
        try:
            await self._items.history.read(
                self._repair, channel, desk, self._items, self._clock, self._pieces.put
            )
        except (*FOREIGN, AdapterError) as error:
            await self._pieces.put(to_border(error, channel.url))

    async def __aiter__(self) -> AsyncIterator[Delivery]:
        while True:
            piece = await self._pieces.get()
            if isinstance(piece, AdapterError):
                raise piece
            made = self._assembler.assemble([piece])
            yield Delivery(made.batches, made.decoded, made.refused)
            if piece.over:
                return


@asynccontextmanager
async def backfill(gate: Gate, items: Items, clock: Clock, begins: int, ends: int) -> AsyncIterator[Backfill]:
    """Connected, with the signals found; leaving closes the connection."""
    settings = gate.settings
    channel = Channel(settings.url, settings.request_timeout)
    desk = Desk(channel, settings)
    made = Backfill(gate.source, items, clock)
    with crossing(settings.url):
        shown = await gate.credentials()
        with introducing(shown):
            await channel.open(shown, settings.session_timeout)
    try:
        with crossing(settings.url):
            await desk.learn()
            await find(channel, desk, items)
            for item in await desk.describe(items, items.all):
                if items.columns.points[item.handle] < 0:
                    items.adopt_known(item)
        tasks = asyncio.TaskGroup()  # not `async with`: it would wrap the error of whoever reads
        await tasks.__aenter__()
        reading = tasks.create_task(made.read(channel, desk, begins, ends))
        try:
            yield made
        finally:
            reading.cancel()
            await tasks.__aexit__(None, None, None)
    finally:
        await channel.close()
