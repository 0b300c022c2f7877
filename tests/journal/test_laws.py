"""Both implementations against the laws."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest

from adapters.clock import SystemClock
from collector.journal.base import Journal
from collector.journal.memory import MemoryJournal
from collector.journal.sqlite import open_journal
from tests.contracts.journal import JournalLaws, JournalRig
from tests.fakes import FakeClock


class MemoryRig(JournalRig):
    survives = False

    def __init__(self) -> None:
        self.clock = FakeClock()

    def open(self, *followers: str) -> AbstractAsyncContextManager[Journal]:
        return self._open(1_000_000, followers)

    def open_small(self, *followers: str) -> AbstractAsyncContextManager[Journal]:
        return self._open(20_000, followers)

    def open_dropping(self, *followers: str) -> AbstractAsyncContextManager[Journal]:
        return self._open(20_000, followers, "drop_oldest")

    @asynccontextmanager
    async def _open(
        self, most: int, followers: tuple[str, ...], on_full: Literal["wait", "drop_oldest"] = "wait"
    ) -> AsyncIterator[Journal]:
        yield MemoryJournal(followers=followers, clock=self.clock, max_values=most, on_full=on_full)


class SqliteRig(JournalRig):
    survives = True

    def __init__(self, folder: Path) -> None:
        self.clock, self._path = FakeClock(), folder / "journal.db"

    def open(self, *followers: str) -> AbstractAsyncContextManager[Journal]:
        return open_journal(self._path, followers=followers, clock=self.clock, window=0.0)

    def open_small(self, *followers: str) -> AbstractAsyncContextManager[Journal]:
        return self._small(followers, "wait")

    def open_dropping(self, *followers: str) -> AbstractAsyncContextManager[Journal]:
        return self._small(followers, "drop_oldest")

    def _small(
        self, followers: tuple[str, ...], on_full: Literal["wait", "drop_oldest"]
    ) -> AbstractAsyncContextManager[Journal]:
        # A reader may hold up the checkpoint that frees space; then the writer looks again in a second of a clock that runs.
        clock = SystemClock()
        return open_journal(
            self._path, followers=followers, clock=clock, window=0.0, max_bytes=400_000, on_full=on_full
        )


class TestMemoryJournal(JournalLaws):
    @pytest.fixture
    def rig(self) -> MemoryRig:
        return MemoryRig()


class TestSqliteJournal(JournalLaws):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> SqliteRig:
        return SqliteRig(tmp_path)
