"""What `collector quarantine` does, in the running collector and on the buffer of a stopped one alike.

A refusal of a sink goes back to that sink; a refusal of a source is read again by that source as it is configured now; a
piece of the buffer itself that did not read back can only be looked at. Whatever comes back, comes back once: it is a new
refusal with the reason of today, and nobody tries it again by himself.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapters.base import Delivery, Rereads, Source
from collector.journal.base import Journal, Quarantined
from collector.journal.books import RAW
from collector.journal.setaside import Wanted
from collector.live import rows_of
from pipelines import codec
from pipelines.batch import Batch
from pipelines.registry import Registry
from pipelines.stage import Refine

AT_ONCE: Final = 100
"""Refusals that are read again in one append, and queued or purged in one transaction."""

SHOWN_VALUES: Final = 100

TURN: Final = "quarantine replay"
"""Whose turn it is: no source has such a name."""

_NOT_KEPT: Final = "its values were not kept with it; the raw text shows what was refused"
_CUT: Final = "only its first 64 KiB were kept"
_NO_SOURCE: Final = "a source can read again only what is in messages (MQTT); what is missing here is a gap"
_UNKNOWN: Final = "it comes from {0}, which is not configured (or give the configuration instead of --state)"


def wanted_of(request: Mapping[str, Any]) -> Wanted:
    """From the JSON of a request; what is not there asks for everything."""
    return Wanted(
        numbers=tuple(int(number) for number in request.get("numbers") or ()),
        origin=str(request.get("origin") or ""),
        reason=str(request.get("reason") or "*"),
        since=request.get("since"),
        before=request.get("before"),
        limit=request.get("limit"),
    )


def row_of(one: Quarantined) -> dict[str, Any]:
    """One line of `list`. time: ns, when it was refused. bytes: kept of what came. replayable: values were kept with it."""
    return {
        "number": one.number,
        "origin": one.origin,
        "time": one.refusal.at,
        "where": one.refusal.where,
        "reason": one.refusal.reason,
        "values": one.refusal.values,
        "bytes": len(one.refusal.raw),
        "values_kept": one.refusal.batch is not None,
    }


def kept_of(one: Quarantined) -> list[Batch]:
    """The values that were kept of it, decoded."""
    return list(codec.decode(one.refusal.batch)) if one.refusal.batch else []


def details_of(one: Quarantined, registry: Registry) -> dict[str, Any]:
    """All that is known of one: `raw` as base64, and the values that were kept, at most 100 rows."""
    rows: list[dict[str, Any]] = []
    for batch in kept_of(one):
        rows += rows_of(registry, batch)
    return {
        **row_of(one),
        "raw": base64.b64encode(one.refusal.raw).decode(),
        "cut": len(one.refusal.raw) >= RAW,
        "kept": rows[:SHOWN_VALUES],
    }


@dataclass(frozen=True, slots=True)
class Keeper:
    """sources: as configured now, by name; empty when only the buffer is known."""

    journal: Journal
    sources: Mapping[str, Source]
    refine: Refine

    async def purge(self, wanted: Wanted) -> dict[str, Any]:
        rows = values = 0
        for chunk in _chunks(await self.journal.quarantine.select(wanted)):
            gone = await self.journal.quarantine.purge([one.number for one in chunk])
            rows, values = rows + gone.rows, values + gone.values
        return {"purged": rows, "values": values}

    async def replay(self, wanted: Wanted) -> dict[str, Any]:
        """to_sinks: values that their sinks are given once more. read_again: refusals that their sources read again, of
        which `stored` values came and `refused` values are in quarantine again. not_possible: number and why, of the rest.
        Two at once are one after the other: what both have chosen would be read twice.
        """
        async with self.journal.turn(TURN):
            return await self._replay(wanted)

    async def _replay(self, wanted: Wanted) -> dict[str, Any]:
        sinks = (await self.journal.ledger()).sinks
        answer: dict[str, Any] = {
            "to_sinks": 0,
            "read_again": 0,
            "stored": 0,
            "refused": 0,
            "not_possible": [],
        }
        groups: dict[str, list[Quarantined]] = defaultdict(list)
        for one in await self.journal.quarantine.select(wanted):
            why = self._why_not(one, one.origin in sinks)
            if why:
                answer["not_possible"].append({"number": one.number, "why": why})
            else:
                groups[one.origin].append(one)
        for origin, found in groups.items():
            for chunk in _chunks(found):
                await (self._to_sink if origin in sinks else self._read_again)(origin, chunk, answer)
        return answer

    def _why_not(self, one: Quarantined, at_sink: bool) -> str:
        if at_sink:
            return "" if one.refusal.batch is not None else _NOT_KEPT
        if one.origin not in self.sources:
            return _UNKNOWN.format(one.origin)
        if not isinstance(self.sources[one.origin], Rereads):
            return _NO_SOURCE
        return _CUT if len(one.refusal.raw) >= RAW else ""

    async def _to_sink(self, sink: str, chunk: Sequence[Quarantined], answer: dict[str, Any]) -> None:
        answer["to_sinks"] += await self.journal.quarantine.write_again(sink, [one.number for one in chunk])

    async def _read_again(self, name: str, chunk: Sequence[Quarantined], answer: dict[str, Any]) -> None:
        source = self.sources[name]
        if not isinstance(source, Rereads):
            return
        read = [source.reread(one.refusal.where, one.refusal.raw, one.refusal.at) for one in chunk]
        delivery = _joined(read)
        async with self.journal.turn(name):
            refined = self.refine(delivery.batches, self.journal.identity(name))
            await self.journal.quarantine.read_again(name, delivery, refined, [one.number for one in chunk])
        answer["read_again"] += len(chunk)
        answer["stored"] += sum(map(len, refined.batches))
        answer["refused"] += sum(r.values for r in (*delivery.refused, *refined.refused))


def _joined(deliveries: Iterable[Delivery]) -> Delivery:
    """One of all, in their order."""
    every = list(deliveries)
    return Delivery(
        [batch for one in every for batch in one.batches],
        sum(one.decoded for one in every),
        [refusal for one in every for refusal in one.refused],
    )


def _chunks(found: Sequence[Quarantined]) -> Iterable[Sequence[Quarantined]]:
    return (found[begin : begin + AT_ONCE] for begin in range(0, len(found), AT_ONCE))
