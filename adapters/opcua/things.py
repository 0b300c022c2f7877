"""What a session hands to the assembler, in the order of the wire: what arrived, and what is known to be missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from adapters.opcua.columns import Segment, ticks_to_ns
from adapters.opcua.decode import Message, Part, Rows
from adapters.opcua.history_repair import Recalled
from adapters.opcua.items import Item, Items
from adapters.opcua.publishing import Arrival, Broken
from adapters.opcua.values import int32
from pipelines.batch import Batch, Flag, Kind, batch_of
from pipelines.stage import Gap, Refusal


class Missing(NamedTuple):
    """`lost` notifications that the server cannot send again, told by a message published at `published` (ns)."""

    lost: int
    published: int
    following: int = 0  # the number after them


class Renewed(NamedTuple):
    """The subscription is another one from here on; the server said `why` the old one ended."""

    subscription: int
    why: str
    received: int


class Silent(NamedTuple):
    """Items that cannot be read: a row without a value each, at our time."""

    items: tuple[Item, ...]
    received: int


class Reading(NamedTuple):
    """What we read ourselves in between. beat: again, to show that it is still true; its time is that of the reading."""

    message: Message
    received: int
    beat: bool = False


Thing = Arrival | Broken | Missing | Silent | Renewed | Recalled | Reading


@dataclass(slots=True)
class Assembled:
    """count, size: notifications in it, and their bytes. numbers: those of them that the subscription still waits to hear of.

    following: the number expected after all of it, 0 if that has not changed. renewed: the subscription is a new one.
    """

    batches: list[Batch] = field(default_factory=list)
    decoded: int = 0
    refused: list[Refusal] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    count: int = 0
    size: int = 0
    following: int = 0
    renewed: int = 0

    @property
    def empty(self) -> bool:
        return not (self.batches or self.refused or self.gaps)


class Since(NamedTuple):
    """A gap that has begun: with the value of time `newest` (0: there was none), at `received` of our clock, in `life`."""

    newest: int
    received: int
    life: str
    renewal: str = ""


def publish_time_ns(ticks: int) -> int:
    """A PublishTime as ns since 1970, 0 if there is none."""
    return int(ticks_to_ns(np.array([ticks], np.int64))[0])


def silent_batches(items: Items, thing: Silent) -> Iterator[Batch]:
    """A row without a value for each, with the server's status code; a nanosecond apart."""
    points = items.columns.points
    pointed = [item for item in thing.items if points[item.handle] >= 0]
    for kind in Kind:
        of_kind = [item for item in pointed if items.registry[int(points[item.handle])].kind is kind]
        if of_kind:
            yield batch_of(
                kind,
                [int(points[item.handle]) for item in of_kind],
                [thing.received + n for n in range(len(of_kind))],
                [kind.empty] * len(of_kind),
                received=thing.received,
                quality=[item.status for item in of_kind],
                flags=Flag.NO_VALUE | Flag.TIME_SUBSTITUTED,
                registry_version=items.registry.version,
            )


def refuse(made: Assembled, refusal: Refusal) -> None:
    made.refused.append(refusal)
    made.decoded += refusal.values


def plausible(body: bytes, part: Part, done: int) -> int:
    """How many values a broken notification held beyond those decoded: as declared, if its bytes could hold them."""
    if part.end - part.start < 4:
        return 1
    declared, _ = int32(body, part.start)
    return declared - done if done < declared <= (part.end - part.start) // 5 else 1


def pointed(segment: Segment, rows: Rows, made: Assembled, items: Items) -> Segment:
    """The rows that have a point; a row without a value cannot give its item one, a value can."""
    silent = (segment.flags & Flag.NO_VALUE) != 0
    items.adopt_arrivals(segment.handles[~silent], segment.kind)
    homeless = items.columns.points[segment.handles] < 0
    for handle in segment.handles[homeless]:
        item = items.all[int(handle)]
        reason = item.failure or "no value has come yet, and the type is unknown: give the signal a kind"
        made.refused.append(Refusal(item.name, reason, b"", rows.arrivals[-1][1]))
    return segment.take(np.flatnonzero(~homeless)) if homeless.any() else segment
