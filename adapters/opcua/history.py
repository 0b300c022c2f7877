"""Gaps are repaired from the server's history, where it keeps one: in the background, while present values go on.

Each gap that can be told in times becomes a repair: per signal from the last value before the hole to the first one behind it, so that
what is stored already is not asked for. What comes back has Flag.HISTORICAL, its own time and so the same key as if it had come in
time. A second gap record (`repaired`, or `repaired_in_part` with the reason) says what became of the first.

Open repairs are part of the checkpoint with how far they are: a crash costs at most the nodes of one call, read again and stored under
the same keys.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from asyncua.ua.uaerrors import UaStatusCodeError

from adapters.clock import Clock
from adapters.opcua.channel import Channel
from adapters.opcua.errors import name_of
from adapters.opcua.history_decode import as_notification
from adapters.opcua.history_read import Piece, Reader, limit, remembered
from adapters.opcua.history_repair import Recalled, Repair, Span, Times
from adapters.opcua.values import Malformed
from pipelines.stage import Gap

if TYPE_CHECKING:
    from adapters.opcua.items import Item, Items

log = logging.getLogger("adapters.opcua")
SETTLED: Final = 1.0  # s after a gap was told, in which first values behind it may come
_MOST: Final = 50  # open repairs
_TRIES: Final = 3  # repairs in a row that ended with the connection
_REFUSED: Final = (UaStatusCodeError, TimeoutError)


class History:
    """The repairs of a source's session. active: `history: auto`, and not somebody who only looks."""

    def __init__(
        self,
        active: bool = False,
        stored: Sequence[Sequence[Any]] = (),
        begun: list[int] | None = None,
    ) -> None:
        """begun: one number, of repairs begun since one came to its end, which a source remembers between its sessions."""
        self._active = active
        self._begun = [0] if begun is None else begun
        self.open = [Repair.load(one) for one in stored] if active else []
        self.recalling = False
        self._first = np.zeros(0, np.int64)
        self._wake = asyncio.Event()

    def dump(self) -> list[list[Any]]:
        return [repair.dump() for repair in self.open]

    # What the assembler tells

    def missing(self, gap: Gap, low: Times | None = None) -> None:
        """A gap that was told just now. low: per client handle the time of the last value before it."""
        if not self._active or gap.ends <= gap.begins:
            return
        if len(self.open) >= _MOST:
            log.warning("more than %d gaps wait to be repaired from the history: one is given up", _MOST)
            return
        high = None if low is None else np.zeros(len(low), np.int64)
        self.open.append(Repair(gap, low=None if low is None else low.copy(), high=high))
        self._wake.set()

    def dropped(self, gap: Gap, handles: Times, low: Times, high: Times) -> None:
        """As `missing`, for values that the server dropped from its queues: the hole of each of these handles is known."""
        if not self._active or gap.ends <= gap.begins or len(self.open) >= _MOST:
            return
        size = int(handles.max()) + 1
        below, above = np.full(size, -1, np.int64), np.full(size, -1, np.int64)
        below[handles], above[handles] = low, high
        self.open.append(Repair(gap, low=below, high=above))
        self._wake.set()

    def begin(self) -> None:
        """First values come again."""
        self._first[:] = 0

    def note(self, handles: Times, at: Times, last: Times) -> None:
        """Rows in the order of the wire, before they count as seen: `last` is still what was known before."""
        if not self._active:
            return
        if len(self._first) < len(last):
            self._first = np.concatenate([self._first, np.zeros(len(last) - len(self._first), np.int64)])
        fresh = last[handles] == 0
        if fresh.any():
            _earliest(self._first, handles[fresh], at[fresh])
        for repair in self.open:
            if repair.high is not None and (repair.high == 0).any():
                known = handles < len(repair.high)
                waiting = known & (repair.high[np.where(known, handles, 0)] == 0)
                _earliest(repair.high, handles[waiting], at[waiting])

    def settled(self, thing: Recalled, rows: int) -> Gap | None:
        """How far a repair is, now that this is in a delivery; the verdict at its end."""
        repair = thing.repair
        repair.count += rows
        repair.after = thing.after or repair.after
        if not thing.over:
            return None
        self.open = [one for one in self.open if one is not repair]
        return repair.verdict() if repair.kept else None

    # Reading

    async def mend(
        self, channel: Channel, desk: Any, items: Items, clock: Clock, offer: Callable[[Recalled], Any]
    ) -> None:
        """Repairs for ever, one at a time. offer: awaited, so that what is not yet durable stays bounded."""
        if self.open:
            self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            await clock.sleep(SETTLED)
            for repair in list(self.open):
                await self.read(repair, channel, desk, items, clock, offer)

    async def read(self, repair: Repair, *on: Any) -> None:
        """All that is missing, offered piece by piece. on: the fields of `_Round`."""
        await self._mend(repair, _Round(*on))

    async def _mend(self, repair: Repair, on: _Round) -> None:
        if self._given_up(repair):
            await on.offer(Recalled(repair, None, on.clock.now(), over=True))
            return
        try:
            await self._read_all(repair, on)
        except _REFUSED as error:
            log.info("the history cannot be asked for: %s", name_of(error))
        self._begun[0] = 0
        await on.offer(Recalled(repair, None, on.clock.now(), over=True))

    def _given_up(self, repair: Repair) -> bool:
        """A server that ends the connection whenever its history is read must not be asked for ever: each end is a new gap."""
        self._begun[0] += 1
        if self._begun[0] <= _TRIES:
            return False
        log.warning("the connection was lost %d times while its history was read: no more of that", _TRIES)
        repair.kept = max(1, repair.kept)
        repair.troubles["the rest"] = "the connection was lost again and again while it was read"
        return True

    async def _read_all(self, repair: Repair, on: _Round) -> None:
        spans = list(self._spans(repair, on.items))
        reader = Reader(on.channel, on.clock, await limit(on.channel))
        nodes = [on.desk.node_id(span.item.address) for span in spans]
        keeps = await remembered(
            on.channel, [node for node in nodes if node is not None], on.desk.limits.read
        )
        answers = iter(keeps)
        fit = [
            (span, node)
            for span, node in zip(spans, nodes, strict=True)
            if node is not None and next(answers)
        ]
        if not repair.after:
            repair.kept = len(fit)
            without = {id(span) for span, _ in fit}
            repair.troubles |= {s.item.name: "no history" for s in spans if id(s) not in without}
        while fit:
            batch = fit[: reader.size]
            if await self._recall(repair, batch, reader, on):
                repair.finished += len(batch)
                fit = fit[len(batch) :]

    def _spans(self, repair: Repair, items: Items) -> Iterator[Span]:
        """What is missing of each signal, in the order of their keys."""
        gap = repair.gap
        for item in sorted(items.wanted, key=_key):
            if (
                item.homeless
                or (gap.machines and item.machine not in gap.machines)
                or _key(item) <= repair.after
            ):
                continue
            low, high = _at(repair.low, item.handle), _at(repair.high, item.handle)
            if repair.high is None:
                high = _at(self._first, item.handle)
            if -1 in (low, high):
                continue
            ends = high if 0 < high <= gap.ends else gap.ends
            span = Span(item, low or gap.begins, ends, bool(low), ends == high)
            if span.low < span.high:
                yield span

    async def _recall(
        self, repair: Repair, batch: Sequence[tuple[Span, Any]], reader: Reader, on: _Round
    ) -> bool:
        """Some nodes from their beginning to their end. False: fewer of them may work."""
        spans = [span for span, _ in batch]
        begins, ends = min(span.low for span in spans), max(span.high for span in spans)
        try:
            async for piece in reader.read([node for _, node in batch], begins, ends):
                await self._offer(repair, spans[piece.place], piece, on)
        except TimeoutError:
            if len(batch) > 1:
                reader.size = max(1, len(batch) // 4)
                return False
            repair.troubles[spans[0].item.name] = "no answer in time"
        except Malformed as error:
            words = f"an answer that breaks the encoding: {error}"
            repair.troubles |= {span.item.name: words for span in spans}
        await on.offer(Recalled(repair, None, on.clock.now(), after=_key(spans[-1].item)))
        return True

    async def _offer(self, repair: Repair, span: Span, piece: Piece, on: _Round) -> None:
        if piece.failure:
            repair.troubles[span.item.name] = piece.failure
        fit = [past for past in piece.values if span.holds(past.at)]
        if any(not past.at for past in piece.values):
            repair.troubles[span.item.name] = "values without a time"
        if fit:
            message = as_notification([(span.item.handle, past.cell) for past in fit])
            await on.offer(Recalled(repair, message, on.clock.now()))


class _Round(NamedTuple):
    channel: Channel
    desk: Any
    items: Items
    clock: Clock
    offer: Callable[[Recalled], Any]


def _key(item: Item) -> str:
    return f"{item.machine}/{item.signal.name}"


def _at(times: Times | None, handle: int) -> int:
    return int(times[handle]) if times is not None and handle < len(times) else 0


def _earliest(into: Times, handles: Times, at: Times) -> None:
    """The first of several in the order of the wire is what stays."""
    into[handles[::-1]] = at[::-1]
