"""What every signal said last before the collector started, so that the page does not begin empty.

From the end of the buffer and the newest files of the history, until every signal has been found or the patience is over; a
signal that has not changed for longer than these reach has no row until it speaks. Every row keeps its own time: the page shows
how old it is. Newer rows that arrive meanwhile stay, because older ones never replace them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from collector.journal.base import JournalFailed, Slice
from collector.journal.reader import JournalReader, NoJournal
from collector.page.live import LiveView
from collector.supervisor import attempted
from pipelines.batch import Batch
from pipelines.registry import Registry

log = logging.getLogger("collector.page")

PATIENCE: Final = 2.0
"""Seconds of reading, in a thread."""
APPENDS: Final = 2_000
"""Positions at the end of the buffer, read backwards so many at a time: what is newest comes first."""
STEP: Final = 100


async def seed(view: LiveView, buffer: Path, history: Path | None) -> None:
    """Read in a thread, folded here: a picture is no thread's but the event loop's. Whatever goes wrong, the line goes on."""
    found = await attempted(asyncio.to_thread(_read, buffer, history))
    if isinstance(found, Exception):
        log.warning("what was said last could not be read, so the page begins empty: %s", found)
    for batch in [] if isinstance(found, Exception) else found:
        if view.has_tile(int(batch.points[0])):
            view.fold(Slice(0, [batch]))
        await asyncio.sleep(0)


def _read(buffer: Path, history: Path | None) -> list[Batch]:
    """The newest rows of the signals that were found, the oldest first."""
    newest = _Last()
    until = time.monotonic() + PATIENCE
    try:
        with JournalReader(buffer) as reader:
            tail = reader.ledger().tail
            registry = reader.registry
            for last in range(tail, max(0, tail - APPENDS), -STEP):
                for entry in reader.entries(max(0, last - STEP), last):
                    newest.add(entry.batch)
                if newest.complete(registry) or time.monotonic() > until:
                    return newest.batches()
    except (NoJournal, JournalFailed) as error:  # the journal itself tells what is wrong with it
        log.debug("the page begins empty: %s", error)
        return []
    for batch in _sealed(history, registry, until):
        newest.add(batch)
        if newest.complete(registry):
            break
    return newest.batches()


def _sealed(history: Path | None, registry: Registry, until: float) -> Iterator[Batch]:
    """Of the files, the newest first. Points that the buffer does not know (of a buffer that was lost) are left out."""
    import pyarrow as pa

    from adapters.history.replay import Gone, Replay, Span

    replay, known = Replay(history, registry), registry.version
    span = Span(0, 1 << 62)
    for file in reversed(replay.files(0)):
        try:
            for batches in replay.batches(file, span):
                for batch in batches:
                    rows = batch.points < known
                    if rows.any():
                        yield batch.take(rows)
                if time.monotonic() > until:
                    return
        except (Gone, OSError, pa.ArrowException) as error:
            log.debug("%s is left out of the page's beginning: %s", file.path, error)


class _Last:
    """The newest row and the newest good row of every point: what a page can show of it."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, bool], tuple[int, Batch]] = {}

    def add(self, batch: Batch) -> None:
        import numpy as np

        for good in (False, True):
            rows = (
                np.flatnonzero(batch.has_value & (batch.quality < 1 << 30)) if good else np.arange(len(batch))
            )
            order = rows[np.lexsort((batch.at[rows], batch.points[rows]))]
            points = batch.points[order]
            for row in order[np.flatnonzero(np.append(points[1:] != points[:-1], len(points) > 0))].tolist():
                self._offer((int(batch.points[row]), good), int(batch.at[row]), batch, row)

    def _offer(self, key: tuple[int, bool], at: int, batch: Batch, row: int) -> None:
        import numpy as np

        known = self._rows.get(key)
        if known is None or at > known[0]:
            self._rows[key] = (at, batch.take(np.array([row])))

    def complete(self, registry: Registry) -> bool:
        return len(self._rows) >= 2 * registry.version

    def batches(self) -> list[Batch]:
        return [batch for _, batch in sorted(self._rows.values(), key=lambda one: one[0])]
