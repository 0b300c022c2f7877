"""Notifications that arrived in order become one delivery: batches, refusals, gaps, and the checkpoint.

Everything that came since the last hand-over is decoded together, so that many small notifications make few large batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from adapters.opcua.checkpoint import Checkpoint, Ticket
from adapters.opcua.columns import Segment, overflowed, segments, to_batch
from adapters.opcua.decode import DATA_CHANGE, STATUS_CHANGE, Part, Rows, decode_items
from adapters.opcua.events_decode import EVENTS
from adapters.opcua.history_repair import Recalled, as_history
from adapters.opcua.items import Items
from adapters.opcua.late import FUTURE, Late
from adapters.opcua.layouts import Layouts
from adapters.opcua.parts import Parts
from adapters.opcua.publishing import Arrival, Broken
from adapters.opcua.sequence import after
from adapters.opcua.things import (
    Assembled,
    Missing,
    Reading,
    Renewed,
    Silent,
    Since,
    Thing,
    plausible,
    pointed,
    refuse,
    silent_batches,
)
from adapters.opcua.values import Malformed
from pipelines.batch import Flag
from pipelines.stage import Gap, Refusal

_RAW: Final = 65536
_LATEST: Final = 2**63 - 1


class Assembler:
    """Holds what has to be remembered between deliveries: how far the values have come.

    newest: ns, the largest time of a value so far; `since` is the earlier life whose gap is still to be told.
    """

    def __init__(self, name: str, items: Items, since: Checkpoint | None, life: str) -> None:
        self._name, self._items, self._life = name, items, life
        self._since = None if since is None else Since(since.newest, since.received, since.life)
        self._told = since is None or since.told
        self._resumed_at = 0
        self._layouts = Layouts()
        self._parts = Parts(items)
        self._late = Late()
        self._reading: Reading | None = None
        self._heard = self._lately = 0
        self.newest = 0 if since is None else since.newest

    def resumed(self) -> None:
        """The earlier life goes on: nothing is missing between it and this one, but for what was missing before."""
        self._resumed_at = self.newest
        if self._told:
            self._since = None

    @property
    def _far(self) -> int:
        """How far the values have come; where that is ahead of our clock (the source's may have jumped), what came last and was not."""
        return self.newest if not self._heard or self.newest <= self._heard else self._lately or self._heard

    def assemble(self, things: Sequence[Thing]) -> Assembled:
        made, rows = Assembled(), Rows(self._layouts)
        for thing in things:
            if isinstance(thing, Arrival):
                self._decode(thing, rows, made)
                if self._since is not None and rows.count:
                    rows = self._tell_what_was_missed(self._since, rows, made)
            else:
                rows = self._flush(rows, made)
                self._note(thing, made)
        self._flush(rows, made)
        return made

    def checkpoint(self, received: int, following: int, ticket: Ticket | None, stale: bool) -> bytes:
        """Until the gap since the last life has been told, it begins where it began."""
        since, told = self._since or Since(self._far, received, self._life), self._since is None
        known = (since.newest, since.received, since.life, told, following, ticket)
        return Checkpoint(*known, self._items.history.dump(), stale).to_bytes()

    def _decode(self, arrival: Arrival, rows: Rows, made: Assembled) -> None:
        body = arrival.message.body
        number = arrival.message.sequence
        if number:  # what we read ourselves has none
            made.numbers.append(number)
            made.following = after(number)
        if arrival.counted:
            made.count += 1
            made.size += len(body)
        for part in arrival.message.parts:
            if part.type_id == DATA_CHANGE:
                self._decode_part(body, part, rows, arrival.received, made)
            elif part.type_id == EVENTS:
                self._take_events(body, part, arrival.received, made)
            elif part.type_id != STATUS_CHANGE:
                raw = body[part.start : part.end][:_RAW]
                reason = f"a notification of type {part.type_id}, which this version cannot read"
                refuse(made, Refusal(self._name, reason, raw, arrival.received))

    def _decode_part(self, body: bytes, part: Part, rows: Rows, received: int, made: Assembled) -> None:
        before = rows.count
        try:
            decode_items(body, part.start, part.end, rows, received)
        except Malformed as error:
            lost = plausible(body, part, rows.count - before)
            raw = body[part.start : part.end][:_RAW]
            refuse(
                made,
                Refusal(self._name, f"a notification that breaks the encoding: {error}", raw, received, lost),
            )

    def _take_events(self, body: bytes, part: Part, received: int, made: Assembled) -> None:
        """Where there are only events, they are what tells how far we have come."""
        taken = self._items.events.take(body, part.start, part.end, self._name, received)
        made.batches += taken.batches
        made.refused += taken.refused
        made.gaps += taken.gaps
        made.decoded += taken.decoded
        if not self._items.wanted and taken.batches:
            since, self._since = self._since, None
            if since is not None:
                ends = max(since.newest or since.received, taken.newest)
                lasted = max(0, received - since.received) / 1e9
                made.gaps.append(Gap(since.newest or since.received, ends, *self._words(since, lasted)))
            self.newest = max(self.newest, min(taken.newest, received + FUTURE))

    def _note(self, thing: Broken | Missing | Silent | Renewed | Recalled | Reading, made: Assembled) -> None:
        if isinstance(thing, Broken):
            reason = f"an answer that breaks the encoding: {thing.reason}"
            refuse(made, Refusal(self._name, reason, thing.body[:_RAW], thing.received))
        elif isinstance(thing, Missing):
            ends = max(self.newest, thing.published)
            detail = f"{thing.lost} notifications were lost between server and collector and could not be had again"
            made.gaps.append(Gap(self._far or ends, ends, "notifications_missing", detail))
            self._items.history.missing(made.gaps[-1], self._items.columns.last)
            made.following = thing.following
        elif isinstance(thing, Renewed):
            made.numbers.clear()
            made.following, made.renewed = 1, thing.subscription
            self._since = self._since or Since(self._far, thing.received, self._life, thing.why)
            self._resumed_at = self._far
            self._parts.begin()
            self._items.history.begin()
        elif isinstance(thing, Recalled):
            self._recall(thing, made)
        elif isinstance(thing, Reading):
            self._read(thing, made)
        else:
            of_parts = Silent(self._parts.of(thing.items), thing.received)
            for batch in (*silent_batches(self._items, thing), *silent_batches(self._parts.items, of_parts)):
                made.batches.append(batch)
                made.decoded += len(batch)

    def _recall(self, thing: Recalled, made: Assembled) -> None:
        """Values of the past: stored as what they are, and no measure of how far we have come."""
        history, before, rows = self._items.history, len(made.batches), Rows(self._layouts)
        if thing.message is not None:
            body = thing.message.body
            made.count, made.size = made.count + 1, made.size + len(body)
            self._decode_part(body, thing.message.parts[0], rows, thing.received, made)
        history.recalling = True
        self._flush(rows, made)
        history.recalling = False
        verdict = history.settled(thing, sum(map(len, made.batches[before:])))
        made.gaps += [verdict] if verdict else []

    def _read(self, thing: Reading, made: Assembled) -> None:
        """Polled values are no measure of how far a subscription has come, and a beat is no new value at all."""
        body, rows = thing.message.body, Rows(self._layouts)
        made.count, made.size = made.count + 1, made.size + len(body)
        self._decode_part(body, thing.message.parts[0], rows, thing.received, made)
        alone = not (thing.beat or self._items.monitors)
        if alone and self._since is not None and rows.count:
            rows = self._tell_what_was_missed(self._since, rows, made)
        self._reading = None if alone else thing
        self._flush(rows, made)
        self._reading = None

    def _tell_what_was_missed(self, since: Since, rows: Rows, made: Assembled) -> Rows:
        """The first values of this life end the gap that began with the last values of the earlier one."""
        received, self.newest = rows.arrivals[-1][1], 0
        fresh = self._flush(rows, made)
        lasted = max(0, received - since.received) / 1e9
        begins = since.newest or since.received
        ends = self.newest = max(begins, self.newest)
        gap = Gap(begins, ends, *self._words(since, lasted))
        made.gaps.append(gap)
        self._late.told(gap, received)
        self._items.history.missing(gap)
        self._since = None
        return fresh

    def _words(self, since: Since, lasted: float) -> tuple[str, str]:
        if since.renewal:
            said = f"the server ended the subscription ({since.renewal})"
            return "subscription_lost", f"{said}; present values after {lasted:.1f} s"
        reason = "connection_lost" if since.life == self._life else "collector_down"
        return reason, f"not connected for {lasted:.1f} s; the server sent present values only"

    def _flush(self, rows: Rows, made: Assembled) -> Rows:
        """Turn the rows into batches; new rows to go on with."""
        if rows.count:
            mine = self._parts.special(rows)
            made.decoded += rows.count
            for segment in segments(rows, self._items.columns):
                self._finish(self._parts.silent(segment, mine), rows, made)
                texts = self._parts.texts(segment)
                if texts is not None:
                    made.decoded += len(texts.handles)
                    self._finish(texts, rows, made, self._parts.items)
            self._finish_parts(mine, made)
            self._judge_wholes(rows.arrivals[-1][1], made)
            for handle, reason, raw in rows.strange:
                where = self._items.all[handle].name if handle < len(self._items.all) else self._name
                made.refused.append(Refusal(where, reason, raw, rows.arrivals[-1][1]))
        return Rows(self._layouts)

    def _finish_parts(self, mine: Rows, made: Assembled) -> None:
        """Elements: many values where the wire has one item, which was counted as one already."""
        made.decoded += mine.count - mine.owners
        if mine.count:
            for segment in segments(mine, self._parts.items.columns):
                self._finish(segment, mine, made, self._parts.items)

    def _judge_wholes(self, received: int, made: Assembled) -> None:
        """Items whose rows went to their parts: what the server says of their queues and nodes counts all the same."""
        whole, past = self._parts.wholes(received), self._items.history.recalling
        beat = self._reading is not None and self._reading.beat
        if whole is None or past or beat:
            return
        self._judge(whole, whole.at, made)
        self._items.columns.last[whole.handles] = whole.at

    def _judge(self, segment: Segment, at: np.ndarray, made: Assembled) -> None:
        """Of items, by what the server says of them: before these rows count as seen."""
        items, last = self._items, self._items.columns.last
        full = overflowed(segment.quality)
        if full.any():
            made.gaps += self._overflow(segment.handles[full], at[full])
        for gap in items.vanished.look(segment, at, items.all, last):
            made.gaps.append(gap)
            items.history.missing(gap, last)
        items.history.note(segment.handles, at, last)

    def _finish(self, segment: Segment, rows: Rows, made: Assembled, items: Items | None = None) -> None:
        items = items or self._items
        segment = pointed(segment, rows, made, items)
        if not len(segment.handles):
            return
        batch = to_batch(segment, items.columns, rows, items.registry.version)
        if self._items.history.recalling:
            made.batches.append(as_history(batch))
            return
        if self._reading is not None and self._reading.beat:
            made.batches.append(replace(batch, flags=batch.flags | np.uint8(Flag.HEARTBEAT)))
            return
        for gap in self._late.longer(segment.handles, batch, items):
            made.gaps.append(gap)
            self._items.history.missing(gap)
        if items is self._items:
            self._judge(segment, batch.at, made)
        items.columns.last[segment.handles] = batch.at
        made.batches.append(batch)
        before = self._lately if batch.received == self._heard else 0
        past = batch.at[batch.at <= batch.received].max(initial=before)
        self._lately, self._heard = int(past), batch.received
        credible = batch.at[batch.at <= batch.received + FUTURE]
        if len(credible) and self._reading is None:
            self.newest = max(self.newest, int(credible.max()))

    def _overflow(self, handles: np.ndarray, at: np.ndarray) -> Iterator[Gap]:
        """One gap per machine: from the last value before the hole to the first one after it."""
        before = self._items.columns.last[handles]
        before = np.where(before > (self._heard or _LATEST), self._lately or self._heard, before)
        before = np.where(before > 0, before, self._resumed_at)
        begins = np.where((before > 0) & (before <= at), before, at)
        machines = np.array([self._items.all[int(handle)].machine for handle in handles])
        for machine in np.unique(machines):
            mine = machines == machine
            names = sorted({self._items.all[int(handle)].signal.name for handle in handles[mine]})
            shown = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
            detail = f"the server's queue was too small for {shown}"
            gap = Gap(
                int(begins[mine].min()), int(at[mine].max()), "server_queue_overflow", detail, (str(machine),)
            )
            self._items.history.dropped(gap, handles[mine], begins[mine], at[mine])
            yield gap
