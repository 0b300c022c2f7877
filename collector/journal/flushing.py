"""On the writer's thread: which of the waiting changes fit, and one transaction for those, also on a disk that is full."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.base import Delivery
from adapters.pressing import Pressing
from collector.journal import deriving, housekeeping
from collector.journal.room import is_full
from collector.journal.store import OVERHEAD, Appending, Store, Work
from pipelines.stage import Refined


@dataclass(slots=True, eq=False)
class Job:
    """One change and who waits for it. append: set for the changes that need space. then: on the loop, once durable.

    held: found no space when it was last looked at.
    """

    work: Work
    done: asyncio.Future[Any]
    append: Appending | None = None
    then: Callable[[Any], None] | None = None
    urgent: bool = False
    taken: bool = False
    held: bool = False
    withdrawn: bool = False

    @property
    def values(self) -> int:
        return 0 if self.append is None else sum(len(batch) for batch in self.append.refined.batches)

    @property
    def pressing(self) -> Pressing | None:
        return None if self.append is None else self.append.delivery.pressing


def is_nothing(delivery: Delivery, refined: Refined) -> bool:
    """Whether there is nothing to store."""
    told = (
        delivery.decoded,
        refined.batches,
        delivery.refused,
        refined.refused,
        delivery.gaps,
        refined.counts,
    )
    return not any(told) and not refined.remarks and delivery.checkpoint is None


def flush(store: Store, jobs: Sequence[Job]) -> list[tuple[Job, Any]]:
    """On the thread: the jobs that became durable, with their results. On a full disk the followers still go on."""
    for attempt in _attempts(store, jobs):
        try:
            done = store.group([job.work for job in attempt]) if attempt else []
            return list(zip(attempt, done, strict=True))
        except sqlite3.Error as error:
            if not is_full(error):
                raise
            store.make_room(error)
            _catch_up(store)
    return []


def _attempts(store: Store, jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """All that fits; where the disk says no, those without whom nothing can be deleted; then those that take no space."""
    admitted = _admitted(store, jobs)
    yield admitted
    yield [job for job in admitted if job.append is None or _holds(store, job.append)]
    yield [job for job in admitted if job.append is None]


def _holds(store: Store, append: Appending) -> bool:
    return append.derived and deriving.holds(store.connection, append.source)


def _catch_up(store: Store) -> None:
    """Make the log's room free again, if its pages find theirs in the file."""
    try:
        store.checkpoint()
    except sqlite3.Error as error:
        if not is_full(error):
            raise


def _admitted(store: Store, jobs: Sequence[Job]) -> list[Job]:
    """All that frees space, and of those that take it the first ones that fit: no source overtakes an older append.

    A derivation has the reserve, and waits at its end, because what it makes can be made again; unless it is itself what
    holds the buffer, because then nobody else could ever make room for it.
    """
    admitted: list[Job] = []
    more, open_to_sources = 0, True
    for job in jobs:
        if job.append is None:
            admitted.append(job)
            continue
        job.append.encode()
        size = len(job.append.blob) + job.append.beside + OVERHEAD
        if job.append.derived:
            fits = store.fits(more + size, derived=True) or _holds(store, job.append)
        else:
            fits = open_to_sources = open_to_sources and store.fits(more + size)
        if fits:
            more += size
            admitted.append(job)
    return admitted


def tidy(store: Store, kept: dict[str, bytes], pressed: bool) -> int:
    """One step of housekeeping; returns what it freed."""
    for _ in range(2):
        try:
            return housekeeping.step(store, kept, pressed=pressed)
        except sqlite3.Error as error:
            if not is_full(error):
                raise
            if not store.make_room(error):
                break
    return 0
