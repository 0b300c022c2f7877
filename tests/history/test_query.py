"""Queries against a plain filter over the entries, while files come and go."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.base import Entry
from adapters.history import query
from adapters.history.files import File, all_files
from adapters.history.query import SCHEMA, HistoryFiles, to_table
from tests.contracts.archive import START, Kept, bag, entries_of, expected
from tests.history.rigs import DAY, HistoryRig, rows_of


async def sealed(rig: HistoryRig, count: int = 4) -> list[Entry]:
    everything = []
    for position in range(1, count + 1):
        entries = entries_of(rig.registry, [position], START + position * DAY // 2)
        await rig.archive().seal(position, position, entries)
        everything += entries
    return everything


def key(row: Kept) -> tuple[str, str, int]:
    return row.machine, row.signal, row.at


@pytest.mark.parametrize("machine", ["*", "mill-1", "mill-?", "MILL-1", "none"])
@pytest.mark.parametrize("signal", ["*", "number", "*e*", "[nt]*"])
async def test_globs(tmp_path: Path, machine: str, signal: str) -> None:
    rig = HistoryRig(tmp_path)
    rows = expected(rig.registry, await sealed(rig))
    wanted = [
        r for r in rows if fnmatch.fnmatchcase(r.machine, machine) and fnmatch.fnmatchcase(r.signal, signal)
    ]
    found = rows_of(HistoryFiles(tmp_path).select(machine, signal))
    assert [repr(row) for row in found] == [repr(row) for row in sorted(wanted, key=key)]


async def test_times_are_exact_to_the_nanosecond(tmp_path: Path) -> None:
    rig = HistoryRig(tmp_path)
    rows = expected(rig.registry, await sealed(rig))
    times = sorted({row.at for row in rows})
    for begins, ends in [
        (times[3], None),
        (None, times[3]),
        (times[2], times[9]),
        (times[2], times[2] + 1),
        (None, None),
    ]:
        found = rows_of(HistoryFiles(tmp_path).select("*", "*", begins, ends))
        wanted = [r for r in rows if (begins is None or r.at >= begins) and (ends is None or r.at < ends)]
        assert bag(found) == bag(wanted)


async def test_a_glob_is_never_sql(tmp_path: Path) -> None:
    rig = HistoryRig(tmp_path)
    await sealed(rig, 1)
    assert HistoryFiles(tmp_path).select("' OR true --").num_rows == 0


async def test_what_is_seen_twice_counts_once(tmp_path: Path) -> None:
    rig = HistoryRig(tmp_path)
    entries = await sealed(rig)
    again = [Entry(entry.position + 100, entry.batch) for entry in entries]
    table = HistoryFiles(tmp_path).select(extra=to_table(rig.registry, [*entries[-3:], *again]))
    assert bag(rows_of(table)) == bag(expected(rig.registry, entries))


async def test_the_tail_joins_and_has_the_same_schema(tmp_path: Path) -> None:
    rig = HistoryRig(tmp_path)
    entries = await sealed(rig)
    tail = entries_of(rig.registry, [50, 51])
    extra = to_table(rig.registry, tail)
    assert extra.schema.equals(SCHEMA)
    files = HistoryFiles(tmp_path).select()
    assert files.schema.equals(SCHEMA)
    assert pa.concat_tables([files, extra]).num_rows == files.num_rows + extra.num_rows
    table = HistoryFiles(tmp_path).select(extra=extra)
    assert bag(rows_of(table)) == bag(expected(rig.registry, [*entries, *tail]))


@pytest.mark.parametrize("path", [None, Path("nowhere")])
def test_no_history_is_an_empty_one(path: Path | None) -> None:
    table = HistoryFiles(path).select()
    assert table.schema.equals(SCHEMA)
    assert table.num_rows == 0


async def test_a_file_that_is_replaced_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = HistoryRig(tmp_path)
    entries = await sealed(rig)
    before = all_files(tmp_path)
    await rig.archive().tidy()
    assert len(all_files(tmp_path)) < len(before)
    listings = [before]

    def stale(folder: Path) -> list[File]:
        return listings.pop() if listings else all_files(folder)

    monkeypatch.setattr(query, "all_files", stale)
    assert bag(rows_of(HistoryFiles(tmp_path).select())) == bag(expected(rig.registry, entries))
    assert listings == []


async def test_files_that_are_replaced_beside_a_damaged_one_are_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day becomes one file between the listing and the look at its files, which are gone by then."""
    rig = HistoryRig(tmp_path)
    rows = expected(rig.registry, await sealed(rig))
    (damaged := tmp_path / "2030-01-01").mkdir()
    (damaged / f"{90:016d}-{91:016d}.parquet").write_bytes(b"no Parquet")
    archive = rig.archive()
    looks: list[int] = []

    def looked(folder: Path) -> list[File]:
        found = all_files(folder)
        looks.append(len(found))
        if len(looks) == 2:
            archive._tidy()
        return found

    monkeypatch.setattr(query, "all_files", looked)
    assert bag(rows_of(HistoryFiles(tmp_path).select())) == bag(rows)
    assert min(looks) < looks[1], "nothing was replaced"


async def test_a_file_that_is_damaged_in_its_middle_is_left_out_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its foot reads back, and its values do not."""
    rig = HistoryRig(tmp_path)
    rest = [entry for entry in await sealed(rig) if entry.position > 1]
    first = all_files(tmp_path)[0]
    content = first.path.read_bytes()
    ends = len(content) - 8 - pq.read_metadata(first.path).serialized_size
    first.path.write_bytes(content[:4] + b"\xff" * (ends - 4) + content[ends:])
    assert bag(rows_of(HistoryFiles(tmp_path).select())) == bag(expected(rig.registry, rest))
    assert sum("is damaged and left out" in one.message for one in caplog.records) == 1


async def test_a_damaged_file_is_left_out_aloud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rig = HistoryRig(tmp_path)
    entries = await sealed(rig)
    all_files(tmp_path)[0].path.write_bytes(b"no parquet")
    rows = rows_of(HistoryFiles(tmp_path).select())
    assert bag(rows) == bag(expected(rig.registry, [entry for entry in entries if entry.position > 1]))
    assert "is damaged and left out" in caplog.text


@given(st.data())
@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
def test_to_table_holds_every_row(tmp_path: Path, data: st.DataObject) -> None:
    rig = HistoryRig(tmp_path)
    positions = data.draw(st.lists(st.integers(1, 50), unique=True, max_size=4))
    entries: list[Any] = entries_of(rig.registry, positions, data.draw(st.integers(-(2**60), 2**61)))
    chosen = [entry for entry in entries if data.draw(st.booleans())]
    assert bag(rows_of(to_table(rig.registry, chosen))) == bag(expected(rig.registry, chosen))


def test_a_lone_surrogate_becomes_its_escape() -> None:
    from pipelines.batch import Kind, Point, batch_of
    from pipelines.registry import Registry

    registry = Registry([Point("m", "text", Kind.TEXT)])
    batch = batch_of(Kind.TEXT, [0, 0], [1, 2], ["ok", "a\ud800"], received=1)
    assert to_table(registry, [Entry(1, batch)]).column("text").to_pylist() == ["ok", "a\\ud800"]
