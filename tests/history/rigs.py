"""A history in a folder, on a clock that the test turns; read back with pyarrow alone, not with our queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from adapters.base import Bench
from adapters.history.archive import HistoryArchive
from adapters.history.files import all_files, current
from adapters.history.settings import HistorySettings
from pipelines.batch import Kind
from pipelines.registry import Registry
from tests.contracts.archive import START, ArchiveRig, Kept

DAY = 86_400 * 10**9


@dataclass(slots=True)
class TurnedClock:
    """A wall clock that stands where it is put; ns."""

    wall: int = START + 30 * DAY

    def now(self) -> int:
        self.wall += 1
        return self.wall

    def wall_now(self) -> int:
        return self.wall

    def monotonic(self) -> float:
        return self.wall / 1e9

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("the history never waits")

    def later(self, seconds: float, call: Callable[[], object]) -> Callable[[], object]:
        raise AssertionError("the history never waits")


class HistoryRig(ArchiveRig):
    def __init__(self, folder: Path, **settings: Any) -> None:
        self.registry = Registry()
        self.clock = TurnedClock()
        self.folder = folder
        self._settings = HistorySettings(path=str(folder), **settings)

    def archive(self) -> HistoryArchive:
        return self._settings.build(Bench(self.registry, self.clock))

    async def kept(self) -> Sequence[Kept]:
        return [row for file in current(all_files(self.folder)) for row in rows_of(pq.read_table(file.path))]

    async def files(self) -> int:
        return sum(1 for path in self.folder.rglob("*") if path.is_file())


def rows_of(table: pa.Table) -> list[Kept]:
    """Rows as plain Python; times in ns."""
    times = {
        name: table.column(name).cast(pa.int64()).to_pylist() for name in ("at", "server_at", "received")
    }
    kinds = [table.column(kind.name.lower()).to_pylist() for kind in Kind]
    plain = [table.column(name).to_pylist() for name in ("seq", "machine", "signal", "quality", "flags")]
    return [
        Kept(seq, machine, signal, at, _only(values), quality, flags, server_at, received)
        for seq, machine, signal, quality, flags, at, server_at, received, *values in zip(
            *plain, times["at"], times["server_at"], times["received"], *kinds, strict=True
        )
    ]


def _only(values: Sequence[Any]) -> Any:
    present = [value for value in values if value is not None]
    assert len(present) <= 1, "a row has a value of one kind"
    return present[0] if present else None
