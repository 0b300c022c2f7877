"""The law of an archive (adapters/base.py): sealing the same range twice leaves one file, and tidying loses nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from adapters.base import Archive, Entry
from pipelines.batch import Batch, Flag, Kind, Point, batch_of
from pipelines.quality import BAD_NO_DATA
from pipelines.registry import Registry
from tests.contracts.sink import SAMPLES

START = 1_700_000_000_000_000_000


class Kept(NamedTuple):
    """One row of an archive, as plain Python. A row without a value has None."""

    position: int
    machine: str
    signal: str
    at: int
    value: Any
    quality: int
    flags: int
    server_at: int | None
    received: int


class ArchiveRig(ABC):
    registry: Registry

    @abstractmethod
    def archive(self) -> Archive:
        """A fresh object on the same place: what a restart makes."""

    @abstractmethod
    async def kept(self) -> Sequence[Kept]:
        """Every row that is in the archive, however often it is there."""

    @abstractmethod
    async def files(self) -> int:
        """How many files (or what stands for them) there are."""


def entries_of(registry: Registry, positions: Iterable[int], at: int = START) -> list[Entry]:
    """For every position one batch of every kind, with two machines, a server time in some and a missing value in each."""
    entries = []
    for position in positions:
        for kind in Kind:
            entries.append(Entry(position, _batch(registry, kind, at + position * 1_000_000)))
    return entries


def _batch(registry: Registry, kind: Kind, at: int) -> Batch:
    ids = [
        registry.intern(Point(f"mill-{m}", kind.name.lower(), kind, "kW", {"area": "lab"})) for m in range(2)
    ]
    values = [*SAMPLES[kind], kind.empty, kind.empty]
    n = len(values)
    return batch_of(
        kind,
        [ids[row % 2] for row in range(n)],
        [at + row // 2 for row in range(n)],
        values,
        received=at + 5000,
        quality=[0] * (n - 2) + [BAD_NO_DATA] * 2,
        flags=[0] * (n - 2) + [Flag.NO_VALUE] * 2,
        server_at=[at + 7 if row % 3 else 0 for row in range(n)] if kind is Kind.NUMBER else None,
    )


def expected(registry: Registry, entries: Iterable[Entry]) -> list[Kept]:
    """The rows of the entries, read from the columns one by one: the model of every test here."""
    rows = []
    for position, batch, _ in entries:
        for row in range(len(batch)):
            point = registry[int(batch.points[row])]
            server = (
                None if batch.server_at is None or not batch.server_at[row] else int(batch.server_at[row])
            )
            plain = _plain(batch.values[row]) if batch.has_value[row] else None
            quality, flags = int(batch.quality[row]), int(batch.flags[row])
            at = int(batch.at[row])
            rows.append(
                Kept(position, point.machine, point.name, at, plain, quality, flags, server, batch.received)
            )
    return rows


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def bag(rows: Iterable[Kept]) -> Counter[str]:
    """Rows as a multiset: a doubled row is as wrong as a missing one."""
    return Counter(repr(row) for row in rows)


class ArchiveContract:
    """Subclass it and give it a fixture `rig`."""

    async def test_sealed_is_stored_exactly(self, rig: ArchiveRig) -> None:
        entries = entries_of(rig.registry, range(1, 6))
        await rig.archive().seal(1, 5, entries)
        assert bag(await rig.kept()) == bag(expected(rig.registry, entries))

    async def test_the_same_range_twice_is_one_file(self, rig: ArchiveRig) -> None:
        entries = entries_of(rig.registry, range(1, 6))
        await rig.archive().seal(1, 5, entries)
        files = await rig.files()
        archive = rig.archive()
        await archive.seal(1, 5, entries)
        await archive.seal(1, 5, entries)
        assert await rig.files() == files
        assert bag(await rig.kept()) == bag(expected(rig.registry, entries))

    async def test_ranges_follow_each_other_through_restarts(self, rig: ArchiveRig) -> None:
        everything = []
        for first in range(1, 21, 4):
            entries = entries_of(rig.registry, range(first, first + 4))
            archive = rig.archive()
            await archive.tidy()
            await archive.seal(first, first + 3, entries)
            await archive.tidy()
            everything += entries
        assert bag(await rig.kept()) == bag(expected(rig.registry, everything))

    async def test_tidying_again_changes_nothing(self, rig: ArchiveRig) -> None:
        day = 86_400 * 10**9
        everything = []
        for n in range(6):
            entries = entries_of(rig.registry, [n + 1], START + n * day // 3)
            await rig.archive().seal(n + 1, n + 1, entries)
            everything += entries
        for _ in range(3):
            await rig.archive().tidy()
            assert bag(await rig.kept()) == bag(expected(rig.registry, everything))

    async def test_a_range_sealed_again_after_tidying_is_not_doubled(self, rig: ArchiveRig) -> None:
        entries = entries_of(rig.registry, range(1, 4))
        for position in range(1, 4):
            await rig.archive().seal(position, position, [e for e in entries if e.position == position])
        await rig.archive().tidy()
        await rig.archive().seal(3, 3, [entry for entry in entries if entry.position == 3])
        assert bag(await rig.kept()) == bag(expected(rig.registry, entries))

    async def test_a_range_of_nothing_is_no_error(self, rig: ArchiveRig) -> None:
        await rig.archive().seal(1, 1, [])
        assert await rig.kept() == []

    async def test_it_says_when_a_range_is_closed(self, rig: ArchiveRig) -> None:
        archive = rig.archive()
        assert archive.seal_values > 0
        assert archive.seal_seconds > 0
