"""History and tail as one answer, while the collector goes on writing and when a name does not read back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.base import Entry
from adapters.clock import SystemClock
from adapters.memory import MemorySink
from collector.__main__ import main
from collector.journal.reader import JournalReader
from collector.journal.sqlite import open_journal
from collector.query import stored_values
from tests.collector.test_quarantine import refuse_some
from tests.contracts.journal import append
from tests.fakes import FakeClock
from tests.journal.test_damage import edit


def rows_of(journal: Path) -> list[tuple[str, str, float]]:
    found = stored_values(journal, None).select(["machine", "signal", "number"]).to_pylist()
    return [(row["machine"], row["signal"], row["number"]) for row in found]


async def test_a_signal_that_comes_for_the_first_time_while_it_is_read_is_there_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector stores the first value of a second machine in the moment before the reader looks at the entries."""
    path, entries = tmp_path / "j.db", JournalReader.entries
    async with open_journal(path, followers=["sink"], clock=SystemClock(), window=0.0) as journal:
        await append(journal, [1.0], source="s1")
        loop = asyncio.get_running_loop()

        def late(reader: JournalReader, *arguments: Any) -> Iterator[Entry]:
            asyncio.run_coroutine_threadsafe(append(journal, [2.0], source="s2"), loop).result(60)
            return entries(reader, *arguments)

        monkeypatch.setattr(JournalReader, "entries", late)
        assert [row[::2] for row in await asyncio.to_thread(rows_of, path)] == [("s1", 1.0), ("s2", 2.0)]


@pytest.mark.parametrize("statement", ["UPDATE points SET name = 'loaf'", "DELETE FROM points"])
async def test_values_whose_name_does_not_read_back_are_exported_under_one_that_says_so(
    tmp_path: Path, statement: str
) -> None:
    """D7, of the newest point and before the next start puts it right: no wrong name, no lost value."""
    path = tmp_path / "j.db"
    async with open_journal(path, followers=["sink"], clock=SystemClock(), window=0.0) as journal:
        for n in (1, 2):
            await append(journal, [float(n)], source=f"s{n}")
    edit(path, f"{statement} WHERE id = 1")
    assert [row[::2] for row in rows_of(path)] == [("s1", 1.0), ("unknown", 2.0)]
    assert rows_of(path)[1][1] == "lost-1"


async def test_what_was_refused_is_shown_also_under_a_name_that_does_not_read_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """D7: `quarantine show` on the buffer of a stopped collector."""
    path, sink = tmp_path / "buffer.sqlite", MemorySink("sink", refuses=lambda _key, _row: True)
    async with open_journal(path, followers=["sink"], clock=FakeClock(), window=0.0) as journal:
        await refuse_some(journal, sink, 1)
    edit(path, "UPDATE points SET name = 'loaf'")
    code = await asyncio.to_thread(main, ["quarantine", "show", "1", "--json", "--state", str(tmp_path)])
    shown = json.loads(capsys.readouterr().out)
    assert (code, [(row["machine"], row["signal"]) for row in shown["kept"]]) == (0, [("unknown", "lost-0")])
