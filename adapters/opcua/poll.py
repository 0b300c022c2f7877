"""Signals that are read instead of monitored (`mode: poll`), and values that are read again to show that they are still true.

Each interval has its own grid of moments, counted from the first one: a round that is late takes nothing from the next, and one
that lasts longer than its interval leaves moments out (`late` in the facts) instead of piling up. A reading is stored when value, status
or source time differ from the one before, as a subscription reports it; what it brings is a notification like any other,
with the same bound on what is not yet durable.
"""

from __future__ import annotations

import logging
import math
import struct
from collections.abc import Callable, Sequence
from typing import Final

from asyncua.ua.uaerrors import UaError

from adapters.opcua.again import BUSY
from adapters.opcua.batches import in_batches
from adapters.opcua.errors import doing, name_of, status_name
from adapters.opcua.items import Item, Items
from adapters.opcua.patient import data_value
from adapters.opcua.peer import Peer
from adapters.opcua.present import cells_of, notification, read_values
from adapters.opcua.stream import Stream
from adapters.opcua.things import Reading, Thing
from adapters.opcua.values import EPOCH_TICKS, int64, node_id
from adapters.opcua.vanished import GONE

log = logging.getLogger("adapters.opcua")
_LONGEST_PAUSE: Final = 60.0
_IDLE: Final = 1.0  # s after which somebody may have a new interval
_MISSES: Final = 3
_LOOKS: Final = 4  # per heartbeat: it comes a quarter late at most
_SOURCE, _SERVER, _SOURCE_PICO, _SERVER_PICO = 0x04, 0x08, 0x10, 0x20  # OPC 10000-6, 5.2.2.17

_NEAR: Final = (
    10_000_000  # ticks: a server's time of a value that is no further from its clock is that of the reading
)

Wanted = tuple[float, bool]
"""Interval in s, and whether it is a heartbeat's."""


class Grid:
    """When each interval has its next moment, by a monotonic clock. missed: moments that were left out."""

    def __init__(self) -> None:
        self._begun: dict[Wanted, float] = {}
        self._next: dict[Wanted, float] = {}
        self.missed = 0

    def due(self, wanted: Sequence[Wanted], now: float) -> list[Wanted]:
        """Those whose moment has come; a new one begins now."""
        for one in wanted:
            self._begun.setdefault(one, now)
            self._next.setdefault(one, now)
        return [one for one in wanted if self._next[one] <= now]

    def done(self, wanted: Sequence[Wanted], now: float) -> None:
        """They are over: their next moment is the first one that is still to come."""
        for one in wanted:
            interval, begun = one[0], self._begun[one]
            step = math.floor((now - begun) / interval + 1e-9) + 1
            planned = round((self._next[one] - begun) / interval) + 1
            self.missed += 0 if one[1] else max(0, step - planned)
            self._next[one] = begun + max(step, planned) * interval

    def pause(self, wanted: Sequence[Wanted], now: float) -> float:
        """Seconds until the next moment."""
        return min([_IDLE, *(max(0.0, self._next.get(one, now) - now) for one in wanted)])


class Poller:
    """`run` for as long as the session lives; it raises what ends it. `facts` are told how it goes."""

    def __init__(
        self, peer: Peer, items: Items, stream: Stream, offer: Callable[[Thing], None], facts: dict[str, str]
    ) -> None:
        self._peer, self._items, self._stream, self._offer, self._facts = peer, items, stream, offer, facts
        self._clock, self._grid = peer.clock, Grid()
        self._told: dict[int, bytes] = {}
        self._seen: dict[int, tuple[int, int]] = {}  # (time of the newest value, looks since) by handle
        self._backoff, self._misses = 0.0, 0

    async def run(self) -> None:
        await self._stream.opened.wait()
        while any(signal.polled or signal.heartbeat for signal in self._items.signals):
            wanted = self._wanted()
            due = self._grid.due(list(wanted), self._clock.monotonic())
            for one in due:
                await self._round(wanted[one], beat=one[1])
            now = self._clock.monotonic()
            self._grid.done(due, now)
            self._tell(sum(len(items) for (_, beat), items in wanted.items() if not beat))
            await self._clock.sleep(max(self._backoff, self._grid.pause(list(wanted), now)))

    def _wanted(self) -> dict[Wanted, list[Item]]:
        wanted: dict[Wanted, list[Item]] = {}
        for item in self._items.all:
            if item.live and not item.gone:
                if item.signal.polled:
                    wanted.setdefault((item.signal.every, False), []).append(item)
                if item.signal.heartbeat:
                    wanted.setdefault((item.signal.heartbeat / _LOOKS, True), []).append(item)
        return wanted

    def _tell(self, polled: int) -> None:
        late = f", {self._grid.missed} moments left out: answers take too long" if self._grid.missed else ""
        busy = f", the server is too busy: a pause of {self._backoff:g} s" if self._backoff else ""
        if polled:
            self._facts["polling"] = f"{polled} signals{late}{busy}"

    async def _round(self, items: Sequence[Item], *, beat: bool) -> None:
        """Read them; a server that is too busy is left in peace for a while."""
        items = [item for item in items if self._is_silent(item)] if beat else items
        try:
            with doing("reading the values"):
                cells = await in_batches(items, self._peer.desk.limits.read, self._read)
        except UaError as error:
            if name_of(error) not in BUSY:
                raise
            self._backoff = min(_LONGEST_PAUSE, 2 * self._backoff or 1.0)
            log.debug("%s: %s: a pause of %g s", self._peer.name, name_of(error), self._backoff)
            return
        except TimeoutError:
            self._misses += 1
            if self._misses >= _MISSES:
                raise
            return
        self._backoff, self._misses = 0.0, 0
        self._take([(item, *read) for item, read in zip(items, cells, strict=True) if read[0]], beat=beat)

    async def _read(self, batch: Sequence[Item]) -> list[tuple[bytes, int]]:
        """An encoded DataValue for each, none for a node that has just been lost; and the server's time then, in ticks."""
        await self._stream.publisher.roomy.wait()
        desk = self._peer.desk
        there = [item for item in batch if item.live and desk.node_id(item.address) is not None]
        answer = await self._peer.channel.call_raw(read_values(desk, there)) if there else b""
        cells = dict(
            zip((id(item) for item in there), cells_of(answer, len(there)) if there else [], strict=True)
        )
        said = _said_at(answer) if there else 0
        return [(cells.get(id(item), b""), said) for item in batch]

    def _take(self, found: Sequence[tuple[Item, bytes, int]], *, beat: bool) -> None:
        handles, cells = [], []
        for item, cell, said_at in found:
            _, row, _ = data_value(cell, 0)
            if row[1] & 0xFFFF0000 in GONE:
                self._lost(item, row[1])
            elif beat and self._is_new(item, row[2]):
                continue  # the subscription brings it
            elif beat:
                handles.append(item.handle)
                fresh = row[4] > 0 and abs(row[4] - said_at) <= _NEAR
                cells.append(as_of_now(cell) if fresh else timeless(cell))
            elif self._told.get(item.handle) != (said := without_server_time(cell)):
                self._told[item.handle] = said
                handles.append(item.handle)
                cells.append(cell)
        if handles:
            message = notification(handles, cells)
            self._stream.publisher.took(len(message.body))
            self._offer(Reading(message, self._clock.now(), beat))

    def _lost(self, item: Item, status: int) -> None:
        """Its node is gone: looked for again like any that failed, and told as such by whoever looks."""
        self._told.pop(item.handle, None)
        if item.signal.polled:
            item.fail(status_name(status), status)
        else:
            self._items.vanished.note(item, status, int(self._items.columns.last[item.handle]))

    def _is_silent(self, item: Item) -> bool:
        """No value has come for as many looks as a heartbeat has; a subscription that is taken up sends none to begin with."""
        newest = int(self._items.columns.last[item.handle])
        before, looks = self._seen.get(item.handle, (0, 0))
        looks = looks + 1 if newest == before else 0
        self._seen[item.handle] = (newest, looks)
        return looks > 0 and looks % _LOOKS == 0

    def _is_new(self, item: Item, ticks: int) -> bool:
        newest = int(self._items.columns.last[item.handle])
        return newest > 0 and (ticks - EPOCH_TICKS) * 100 > newest + 1000


def _said_at(answer: bytes) -> int:
    """The Timestamp of the ResponseHeader (OPC 10000-4, 7.34): the server's clock, in ticks."""
    return int64(answer, node_id(answer, 0)[1])[0]


def _tail(mask: int) -> int:
    """Bytes of the times at the end of a DataValue."""
    sizes = {_SOURCE: 8, _SERVER: 8, _SOURCE_PICO: 2, _SERVER_PICO: 2}
    return sum(size for bit, size in sizes.items() if mask & bit)


def without_server_time(cell: bytes) -> bytes:
    """What makes a reading another one: value, status and the source's time."""
    mask = cell[0]
    return (
        bytes([mask & ~(_SERVER | _SERVER_PICO)])
        + cell[1 : len(cell) - _tail(mask & (_SERVER | _SERVER_PICO))]
    )


def as_of_now(cell: bytes) -> bytes:
    """The same with the server's time in place of the source's: when it was read, and not since when it is so."""
    mask = cell[0]
    at = len(cell) - 8 - (2 if mask & _SERVER_PICO else 0)
    return bytes([mask & 0x03 | _SOURCE | _SERVER]) + _said(cell) + cell[at : at + 8] * 2


def as_of(cell: bytes, ticks: int) -> bytes:
    """The same with this time as the source's, and no other."""
    return bytes([cell[0] & 0x03 | _SOURCE]) + _said(cell) + struct.pack("<q", ticks)


def timeless(cell: bytes) -> bytes:
    """The same without any time, where the server's is not that of the reading: then ours counts."""
    return bytes([cell[0] & 0x03]) + _said(cell)


def _said(cell: bytes) -> bytes:
    """Value and status."""
    return cell[1 : len(cell) - _tail(cell[0])]
