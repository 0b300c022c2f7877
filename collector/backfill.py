"""What a machine itself remembers, stored afterwards: `collector backfill SOURCE`, beside the line or without one.

The values are appended under the source's name, through the same refinement and identity rule as everything that it ever said. They come late
and are flagged so; what is known still, by time and value, is dropped as a duplicate, and what is not is written under the same key.
The source's checkpoint is not touched. Gap records that lie in the range are told as repaired, with how many values fell into each.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, TypeVar

import numpy as np

from adapters.base import Delivery, Remembers
from adapters.errors import AdapterError
from collector.gaps import is_repair
from collector.journal.base import Journal
from collector.journal.waiting import first_of
from pipelines.batch import Batch
from pipelines.registry import Registry
from pipelines.stage import Gap, Refine

T = TypeVar("T")

_SHOWN = 5

FULL: Final = "the buffer is full, and no collector is running that would hand it on to the databases"
ROOM: Final = "start the collector (`collector run`) and say it again beside it; what was stored so far stays"


@dataclass(slots=True)
class Filled:
    """signals: with a history. done: of these. values: as they came. stored: new ones. refused: not to be read. troubles: by signal."""

    source: str
    signals: int = 0
    done: int = 0
    values: int = 0
    stored: int = 0
    refused: int = 0
    repaired: int = 0
    finished: bool = False
    troubles: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


async def backfill(
    source: Remembers, refine: Refine, journal: Journal, begins: int, ends: int
) -> AsyncGenerator[Filled, None]:
    """How far it is, after every append; the last one says `finished`. Raises what the source raises, and JournalFailed."""
    done = Filled(source.name)
    hit = [_Hit(gap) for gap in await _open_gaps(journal, source.name, begins, ends)]
    async with source.recall(begins, ends) as recall:
        async for delivery in recall:
            async with journal.turn(source.name):
                refined = refine(delivery.batches, journal.identity(source.name))
                await journal.append(source.name, delivery, refined)
            await delivery.ack()
            for one in hit:
                one.count += _within(refined.batches, one.gap, journal.registry)
            done.values += delivery.decoded
            done.stored += sum(map(len, refined.batches))
            done.refused += sum(refusal.values for refusal in delivery.refused)
            done.signals, done.done, done.troubles = recall.signals, recall.done, dict(recall.troubles)
            yield done
    if done.signals and hit:
        done.repaired = len(hit)
        told = tuple(_verdict(one, done) for one in hit)
        await journal.append(
            source.name, Delivery((), 0, gaps=told), refine((), journal.identity(source.name))
        )
    done.finished = True
    yield done


async def counted(source: Remembers, begins: int, ends: int) -> AsyncGenerator[Filled, None]:
    """The same without storing anything: `values` is what there is."""
    done = Filled(source.name)
    async with source.recall(begins, ends) as recall:
        async for delivery in recall:
            await delivery.ack()
            done.values += delivery.decoded
            done.signals, done.done, done.troubles = recall.signals, recall.done, dict(recall.troubles)
            yield done
    done.finished = True
    yield done


async def unless_full(journal: Journal, rows: AsyncIterator[T]) -> AsyncGenerator[T]:
    """These rows, for a command that has the buffer to itself. Raises AdapterError when it is full: no sink is there to empty it."""
    going = True
    while going:
        come: list[T] = []

        async def step(come: list[T] = come) -> None:
            async for row in rows:
                come.append(row)
                return

        await first_of(step(), journal.pressed.wait())
        if not come and journal.pressed.is_set():
            raise AdapterError(FULL, remedy=ROOM)
        for row in come:
            yield row
        going = bool(come)


@dataclass(slots=True)
class _Hit:
    gap: Gap
    count: int = 0


async def _open_gaps(journal: Journal, source: str, begins: int, ends: int) -> list[Gap]:
    """Those of this source that lie in the range and have not been repaired as a whole."""
    told = [one.gap for one in await journal.gaps(None) if one.source == source]
    whole = {(gap.begins, gap.ends, gap.machines) for gap in told if gap.reason == "repaired"}
    fit = [gap for gap in told if begins <= gap.begins < gap.ends < ends and not is_repair(gap)]
    return [gap for gap in fit if (gap.begins, gap.ends, gap.machines) not in whole]


def _within(batches: Sequence[Batch], gap: Gap, registry: Registry) -> int:
    count = 0
    for batch in batches:
        inside = (batch.at >= gap.begins) & (batch.at <= gap.ends)
        if gap.machines and inside.any():
            ours = [registry[int(point)].machine in gap.machines for point in batch.points[inside]]
            count += sum(ours)
        else:
            count += int(np.count_nonzero(inside))
    return count


def _verdict(one: _Hit, done: Filled) -> Gap:
    gap = one.gap
    words = f"{one.count} values by `collector backfill`"
    if done.troubles:
        shown = "; ".join(f"{name}: {why}" for name, why in list(done.troubles.items())[:_SHOWN])
        return Gap(gap.begins, gap.ends, "repaired_in_part", f"{words}; not {shown}", gap.machines, one.count)
    return Gap(gap.begins, gap.ends, "repaired", words, gap.machines, one.count)
