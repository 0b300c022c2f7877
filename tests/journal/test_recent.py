"""What a live follower is given without reading the file is what the file would have given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from adapters.base import Entry
from adapters.clock import SystemClock
from collector.journal import recent
from collector.journal.reading import decoded
from collector.journal.recent import Recent
from collector.journal.sqlite import SqliteJournal, open_journal
from pipelines import codec
from pipelines.batch import Batch, Kind, batch_of
from tests.contracts.journal import append

ROWS = 12


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    async with open_journal(
        tmp_path / "j.db", followers=["sink"], clock=SystemClock(), window=0.0
    ) as journal:
        for n in range(ROWS):
            await append(journal, [10.0 * n + i for i in range(n % 4 + 1)], source=f"s{n % 3}")
        yield journal


def _bytes(entries: list[Entry]) -> list[tuple[int, str, bytes]]:
    return [(entry.position, entry.source, codec.encode([entry.batch])) for entry in entries]


async def test_every_question_has_the_same_answer_from_memory_and_from_the_file(
    journal: SqliteJournal,
) -> None:
    asked = 0
    for after in range(ROWS):
        for last in range(after + 1, ROWS + 1):
            for values in (1, 3, 5, 1 << 62):
                told = journal._recent.chunk(after, values, last)
                read, harm = await journal._ask(decoded, after, values, last)
                assert told is not None
                assert harm is None
                assert told.position == read.position
                assert _bytes(list(told.entries)) == _bytes(list(read.entries))
                asked += 1
    assert asked == 4 * ROWS * (ROWS + 1) // 2


async def test_what_is_no_longer_in_the_file_is_not_handed_out(journal: SqliteJournal) -> None:
    assert journal._remembered(2, 1, ROWS) is not None
    journal._store.standing.oldest = 4
    assert journal._remembered(2, 1, ROWS) is None
    assert journal._remembered(3, 1, ROWS) is not None


def _row(position: int, values: int = 1) -> tuple[int, str, list[Batch], int]:
    return position, "s", [batch_of(Kind.NUMBER, [0] * values, 0, range(values), received=0)], 100


def test_it_is_bounded_by_values_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "VALUES", 10)
    kept = Recent()
    for position in range(1, 8):
        kept.add(*_row(position, 3))
    assert kept.chunk(3, 1, 7) is None
    assert kept.chunk(4, 1 << 62, 7) is not None
    monkeypatch.setattr(recent, "BYTES", 2 * (recent.OVERHEAD + 100) + 50)
    kept.add(*_row(8, 1))
    assert kept.chunk(5, 1, 8) is None
    assert kept.chunk(6, 1, 8) is not None


def test_a_source_that_says_one_value_at_a_time_does_not_fill_the_memory() -> None:
    """L3: the values of such rows are few and their bytes are little; what counts is the rows."""
    kept = Recent()
    for position in range(1, 5_001):
        kept.add(*_row(position))
    assert len(kept._rows) * recent.OVERHEAD <= recent.BYTES
    assert kept.chunk(4_990, 1 << 62, 5_000) is not None


def test_a_hole_between_rows_is_never_closed_up() -> None:
    kept = Recent()
    kept.add(*_row(1))
    kept.add(*_row(3))
    assert kept.chunk(0, 1, 3) is None
    assert kept.chunk(1, 1, 3) is None
    found = kept.chunk(2, 1, 3)
    assert found is not None
    assert [entry.position for entry in found.entries] == [3]
    assert np.array_equal(found.entries[0].batch.values, [0.0])
