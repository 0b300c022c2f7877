"""The history under the law of an archive; retention by an injected clock; killed at every step."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from adapters.base import Entry
from adapters.errors import NotConnected
from adapters.history.files import all_files, current
from adapters.history.table import SCHEMA
from pipelines.batch import Kind, Point, batch_of
from pipelines.registry import Registry
from tests.contracts.archive import START, ArchiveContract, ArchiveRig, bag, entries_of, expected
from tests.history.rigs import DAY, HistoryRig, rows_of


class TestHistory(ArchiveContract):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> ArchiveRig:
        return HistoryRig(tmp_path / "history")


def numbers(registry: Registry, position: int, at: int, n: int = 10) -> list[Entry]:
    point = registry.intern(Point("mill", "load", Kind.NUMBER, "%"))
    times = [at + i for i in range(n)]
    return [
        Entry(
            position,
            batch_of(Kind.NUMBER, [point] * n, times, [float(t % 997) for t in times], received=at + n),
        )
    ]


async def seal_days(rig: HistoryRig, days: int, per_day: int = 3) -> list[Entry]:
    """Files over several days, the first at START; the clock follows."""
    archive, everything, position = rig.archive(), list[Entry](), 0
    for day in range(days):
        for part in range(per_day):
            position += 1
            entries = numbers(rig.registry, position, START + day * DAY + part * 1000)
            await archive.seal(position, position, entries)
            everything += entries
    rig.clock.wall = START + (days - 1) * DAY + 10**9
    return everything


async def test_a_file_is_sorted_and_says_what_it_holds(tmp_path: Path) -> None:
    rig = HistoryRig(tmp_path)
    await rig.archive().seal(7, 9, entries_of(rig.registry, [7, 8, 9]))
    (file,) = all_files(tmp_path)
    assert (
        file.path.relative_to(tmp_path).as_posix() == "2023-11-14/0000000000000007-0000000000000009.parquet"
    )
    table = pq.read_table(file.path)
    assert table.schema.equals(SCHEMA)
    keys = [(row.machine, row.signal, row.at, row.position) for row in rows_of(table)]
    assert keys == sorted(keys)
    assert set(table.column("unit").to_pylist()) == {"kW"}
    assert set(table.column("tags").to_pylist()) == {'{"area": "lab"}'}
    assert pq.read_metadata(file.path).row_group(0).column(0).compression == "ZSTD"


async def test_a_finished_day_becomes_one_file_and_today_stays(tmp_path: Path) -> None:
    rig = HistoryRig(tmp_path)
    everything = await seal_days(rig, 3)
    await rig.archive().tidy()
    assert [(file.first, file.last) for file in all_files(tmp_path)] == [
        (1, 3),
        (4, 6),
        (7, 7),
        (8, 8),
        (9, 9),
    ]
    assert bag(await rig.kept()) == bag(expected(rig.registry, everything))
    assert pq.read_table(all_files(tmp_path)[0].path).schema.field("at").type == SCHEMA.field("at").type


async def test_a_late_range_joins_its_day(tmp_path: Path) -> None:
    rig = HistoryRig(tmp_path)
    everything = await seal_days(rig, 1)
    rig.clock.wall += DAY
    await rig.archive().tidy()
    late = numbers(rig.registry, 4, START + 5000)
    await rig.archive().seal(4, 4, late)
    await rig.archive().tidy()
    assert [(file.first, file.last) for file in all_files(tmp_path)] == [(1, 4)]
    assert bag(await rig.kept()) == bag(expected(rig.registry, [*everything, *late]))


async def test_a_clock_that_went_back_never_makes_a_file_cover_another_day(tmp_path: Path) -> None:
    rig = HistoryRig(tmp_path)
    everything = []
    for position, day in enumerate([0, 1, 0, 0, 1], 1):
        entries = numbers(rig.registry, position, START + day * DAY + position * 1000)
        await rig.archive().seal(position, position, entries)
        everything += entries
    await rig.archive().tidy()
    assert [(file.first, file.last) for file in all_files(tmp_path)] == [(1, 1), (2, 2), (3, 4), (5, 5)]
    assert bag(await rig.kept()) == bag(expected(rig.registry, everything))


async def test_retention_by_age_deletes_whole_days(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rig = HistoryRig(tmp_path, keep="5d")
    everything = await seal_days(rig, 10)
    with caplog.at_level(logging.WARNING, "collector.history"):
        await rig.archive().tidy()
    kept = await rig.kept()
    assert min(row.received for row in kept) // DAY == (rig.clock.wall - 5 * DAY) // DAY
    assert bag(kept) == bag(
        row for row in expected(rig.registry, everything) if row.received // DAY >= rig.clock.wall // DAY - 5
    )
    assert "2023-11-14 to 2023-11-17" in caplog.text
    assert not (tmp_path / "2023-11-14").exists()


async def test_a_clock_far_ahead_deletes_nothing(tmp_path: Path) -> None:
    rig = HistoryRig(tmp_path, keep="5d")
    everything = await seal_days(rig, 3)
    rig.clock.wall += 5000 * DAY
    await rig.archive().tidy()
    assert bag(await rig.kept()) == bag(expected(rig.registry, everything))


async def test_retention_by_size_deletes_the_oldest(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rig = HistoryRig(tmp_path)
    await seal_days(rig, 6)
    await rig.archive().tidy()
    files = all_files(tmp_path)
    bound = sum(file.size() for file in files[-4:])
    small = HistoryRig(tmp_path, max=f"{bound}B")
    small.clock = rig.clock
    with caplog.at_level(logging.WARNING, "collector.history"):
        await small.archive().tidy()
    assert all_files(tmp_path) == files[-4:]
    assert "more than is kept" in caplog.text


async def test_the_newest_file_stays_whatever_the_bound(tmp_path: Path) -> None:
    rig = HistoryRig(tmp_path, max="1B")
    await seal_days(rig, 2)
    await rig.archive().tidy()
    assert [file.last for file in all_files(tmp_path)] == [6]


async def test_a_disk_that_refuses_is_said_in_our_words(tmp_path: Path) -> None:
    (tmp_path / "history").write_text("a file where the folder should be")
    rig = HistoryRig(tmp_path / "history")
    with pytest.raises(NotConnected, match="cannot be written"):
        await rig.archive().seal(1, 1, numbers(rig.registry, 1, START))


async def test_a_damaged_file_stops_neither_tidying_nor_the_rest(tmp_path: Path) -> None:
    rig = HistoryRig(tmp_path)
    await seal_days(rig, 2)
    all_files(tmp_path)[0].path.write_bytes(b"PAR1 damaged PAR1")
    await rig.archive().tidy()
    assert [(file.first, file.last) for file in all_files(tmp_path)] == [
        (1, 1),
        (2, 2),
        (3, 3),
        (4, 4),
        (5, 5),
        (6, 6),
    ]


async def test_files_that_cannot_be_made_one_are_tried_once_a_day(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And not with every seal, which would read all of that day every few minutes for as long as it is kept."""
    rig = HistoryRig(tmp_path)
    await seal_days(rig, 2)
    damaged = all_files(tmp_path)[0]
    whole = damaged.path.read_bytes()
    damaged.path.write_bytes(b"PAR1 damaged PAR1")
    archive = rig.archive()

    def told() -> int:
        return sum("stay apart" in one.message for one in caplog.records)

    await archive.tidy()
    before = told()
    await archive.tidy()
    assert told() == before > 0
    rig.clock.wall += DAY
    damaged.path.write_bytes(whole)
    await archive.tidy()
    assert len(all_files(tmp_path)) == 2


class Killed(BaseException):
    """The process ends here."""


class Killer:
    """Ends the "process" before the n-th change of the disk; every later change fails too, as after a real kill."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps = 0
        self.limit = 10**9
        for owner, name in (
            (os, "fsync"),
            (os, "replace"),
            (Path, "unlink"),
            (Path, "rmdir"),
            (Path, "mkdir"),
        ):
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))
        monkeypatch.setattr(pq, "write_table", self._counted(pq.write_table))

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.steps += 1
            if self.steps > self.limit:
                raise Killed
            return call(*args, **kwargs)

        return counted


@pytest.fixture
def killer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Killer]:
    yield Killer(monkeypatch)
    monkeypatch.undo()


async def test_killed_at_every_step_of_tidying(tmp_path: Path, killer: Killer) -> None:
    """No row lost and none doubled, at any moment and for any reader, and the next start finishes the work."""
    limit = 0
    while True:
        rig = HistoryRig(tmp_path / str(limit))
        killer.limit = 10**9
        everything = bag(expected(rig.registry, await seal_days(rig, 3)))
        killer.steps, killer.limit = 0, limit
        finished = await _survives(rig.archive().tidy)
        killer.limit = 10**9
        assert bag(await rig.kept()) == everything, f"killed before step {limit}"
        await rig.archive().tidy()
        assert bag(await rig.kept()) == everything
        assert len(all_files(rig.folder)) == await rig.files() == 5
        if finished:
            break
        limit += 1
    assert limit > 10, "the kill points were met"


async def test_killed_at_every_step_of_sealing(tmp_path: Path, killer: Killer) -> None:
    limit = 0
    while not await _sealing_survives(HistoryRig(tmp_path / str(limit)), killer, limit):
        limit += 1
    assert limit > 4, "the kill points were met"


async def _sealing_survives(rig: HistoryRig, killer: Killer, limit: int) -> bool:
    entries = entries_of(rig.registry, [1])
    killer.steps, killer.limit = 0, limit
    finished = await _survives(lambda: rig.archive().seal(1, 1, entries))
    killer.limit = 10**9
    assert bag(await rig.kept()) in (bag([]), bag(expected(rig.registry, entries)))
    await rig.archive().tidy()
    await rig.archive().seal(1, 1, entries)
    assert bag(await rig.kept()) == bag(expected(rig.registry, entries))
    assert len(current(all_files(rig.folder))) == await rig.files() == 1
    return finished


async def _survives(work: Callable[[], Any]) -> bool:
    try:
        await work()
    except Killed:
        return False
    return True
