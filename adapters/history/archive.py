"""The embedded history: one Parquet file per sealed range of the journal, one per day when the day is over.

Parquet and not a database of our own or DuckDB's file: sorted by signal it needs 1.5 bytes per value, any tool reads it,
and a reader never waits for the writer (DuckDB's own file shuts all others out). Measured in the performance notes, 6.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import pyarrow.parquet as pq

from adapters.base import Bench, Entry, Position
from adapters.errors import NotConnected
from adapters.history.files import (
    UNFINISHED,
    File,
    all_files,
    clear_unfinished,
    current,
    day_of,
    file_at,
    publish,
    remove,
)
from adapters.history.settings import HistorySettings
from adapters.history.table import ROW_GROUP, Names, to_table

LOG = logging.getLogger("collector.history")


class HistoryArchive:
    """See HistorySettings. All work happens in a thread; a lock keeps a cancelled call and its successor apart."""

    def __init__(self, name: str, settings: HistorySettings, bench: Bench) -> None:
        self.name = name
        self.seal_values = settings.seal_values
        self.seal_seconds = settings.seal_every
        self._settings = settings
        self._folder = settings.folder(bench)
        self._names = Names(bench.registry)
        self._clock = bench.clock
        self._lock = threading.Lock()
        self._apart: set[tuple[object, ...]] = (
            set()
        )  # files that could not be made one, and when that was tried

    async def seal(self, first: Position, last: Position, entries: Sequence[Entry]) -> None:
        """Done when the file is on the disk for good. Raises NotConnected when the disk does not take it."""
        await self._off_loop(lambda: self._seal(first, last, entries))

    async def tidy(self) -> None:
        """Remove leftovers, what is too old, and the oldest of what is too much; make one file of a finished day."""
        await self._off_loop(self._tidy)

    async def _off_loop(self, work: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(self._alone, work)
        except OSError as error:
            raise NotConnected(
                f"The history in {self._folder} cannot be written: {error.strerror or error}",
                "Free space on its disk, or see whether it is mounted and writable.",
            ) from error

    def _alone(self, work: Callable[[], None]) -> None:
        with self._lock:
            work()

    def _seal(self, first: Position, last: Position, entries: Sequence[Entry]) -> None:
        table = to_table(self._names.registry, entries, self._names)
        if not table.num_rows:
            return
        day = day_of(max(entry.batch.received for entry in entries))
        target = file_at(self._folder, day, first, last)
        if any(file.covers(target) for file in all_files(self._folder)):
            return
        target.path.parent.mkdir(parents=True, exist_ok=True)
        draft = target.path.with_suffix(UNFINISHED)
        pq.write_table(table, draft, compression="zstd", row_group_size=ROW_GROUP)
        publish(draft, target.path)

    def _tidy(self) -> None:
        self._clear_leftovers()
        self._expire_by_age()
        self._merge_days()
        self._expire_by_size()

    def _merge_days(self) -> None:
        """What cannot be made one is tried once a day, and not with every seal: it takes reading all of a day."""
        today = day_of(self._clock.now())
        self._apart = {tried for tried in self._apart if tried[0] == today}
        for run in self._mergeable():
            tried = (today, *(file.path for file in run))
            if tried not in self._apart and not self._merge(run):
                self._apart.add(tried)

    def _clear_leftovers(self) -> None:
        clear_unfinished(self._folder)
        everything = all_files(self._folder)
        kept = set(current(everything))
        for file in everything:
            if file not in kept:
                remove(file)

    def _expire_by_age(self) -> None:
        """Age against the newest file if the clock is ahead of it: a clock that starts in 2040 must not delete it all."""
        files = all_files(self._folder)
        if not files:
            return
        present = min(day_of(self._clock.now()), max(file.day for file in files) + timedelta(days=1))
        oldest = present - timedelta(days=math.ceil(self._settings.keep / 86_400))
        self._expire([file for file in files if file.day < oldest], "older than is kept")

    def _expire_by_size(self) -> None:
        """The newest file always stays: a bound that is too small must not make a history of nothing."""
        files = all_files(self._folder)
        excess = sum(file.size() for file in files) - self._settings.max
        doomed = []
        for file in files[:-1]:
            if excess <= 0:
                break
            excess -= file.size()
            doomed.append(file)
        self._expire(doomed, "more than is kept")

    def _expire(self, files: Sequence[File], why: str) -> None:
        if not files:
            return
        days = f"{min(file.day for file in files)} to {max(file.day for file in files)}"
        LOG.warning("%s: %d files of %s deleted: %s", self.name, len(files), days, why)
        for file in files:
            remove(file)

    def _mergeable(self) -> Iterator[list[File]]:
        """Runs of neighbouring files of one finished day. Neighbouring by position over all days, so that the range of
        the new file never covers one of another day (a wall clock may have gone back).
        """
        today = day_of(self._clock.now())
        run: list[File] = []
        for file in [*all_files(self._folder), None]:
            if file is not None and file.day < today and (not run or run[-1].day == file.day):
                run.append(file)
                continue
            if len(run) > 1:
                yield run
            run = [file] if file is not None and file.day < today else []

    def _merge(self, run: Sequence[File]) -> bool:
        """Whether these are one file now."""
        target = file_at(self._folder, run[0].day, run[0].first, max(file.last for file in run))
        draft = target.path.with_suffix(UNFINISHED)
        from adapters.history.merging import CannotMerge, merge

        try:
            merge(run, draft)
        except CannotMerge as error:
            LOG.warning("%s: the files of %s stay apart: %s", self.name, target.day, error)
            draft.unlink(missing_ok=True)
            return False
        publish(draft, target.path)
        for file in run:
            remove(file)
        return True
