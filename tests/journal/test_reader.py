"""The journal seen from another process, and what a value costs on the disk."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from adapters.clock import SystemClock
from collector.journal.base import JournalFailed
from collector.journal.reader import JournalReader, NoJournal
from collector.journal.schema import NotAJournal
from collector.journal.sqlite import open_journal
from pipelines.stage import Gap
from tests.contracts.journal import START, append, refusal, values_of


async def test_reads_while_the_collector_runs_and_after(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    gap = Gap(START, START, "connection_lost")
    async with open_journal(path, followers=["sink"], clock=SystemClock(), window=0.0) as journal:
        with JournalReader(path) as reader:
            assert (reader.ledger().tail, list(reader.entries())) == (0, [])
            for n in range(5):
                await append(journal, [n, n + 0.5], gaps=[gap], refused=[refusal()])
            await journal.commit("sink", 2)
            assert reader.ledger() == await journal.ledger()
            assert reader.gaps() == await journal.gaps()
            assert reader.quarantined(2) == await journal.quarantined(2)
    with JournalReader(path) as reader:
        assert (reader.cursor("sink"), reader.cursor("nobody")) == (2, None)
        entries = list(reader.entries(3))
        assert [entry.position for entry in entries] == [4, 5]
        assert values_of(entry.batch for entry in entries) == [3.0, 3.5, 4.0, 4.5]
        assert [entry.position for entry in reader.entries(0, last=2)] == [1, 2]
        assert reader.registry[int(entries[0].batch.points[0])].machine == "s1"


def test_says_that_there_is_no_journal(tmp_path: Path) -> None:
    with pytest.raises(NoJournal, match="there is no buffer here"), JournalReader(tmp_path / "journal.db"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_says_that_it_is_something_else_or_broken(tmp_path: Path) -> None:
    (tmp_path / "broken").write_bytes(b"x" * 5000)
    with pytest.raises((JournalFailed, NotAJournal)), JournalReader(tmp_path / "broken"):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="counts the bytes written by /proc")
async def test_what_a_value_costs_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """1,000 values/s in commits of 200: bytes written per value (whole process), and bytes on the disk."""
    import numpy as np

    dice = np.random.default_rng(3)
    count, at, level = 300, START, 50.0
    async with open_journal(
        tmp_path / "j.db", followers=["sink"], clock=SystemClock(), window=0.0
    ) as journal:
        before = _written()
        for _ in range(count):
            walk = np.round(level + np.cumsum(dice.normal(0, 0.3, 200)), 2)
            level, at = float(walk[-1]), at + 200_000_000
            await _append_at(journal, walk.tolist(), at)
        written = _written() - before
        size = journal._store.size()
        with capsys.disabled():
            print(  # noqa: T201  # the figure is the point
                f"\n{written / count / 200:.1f} bytes written, {size / count / 200:.1f} bytes kept per value"
            )
    assert written > 0


async def _append_at(journal, values, at) -> None:  # type: ignore[no-untyped-def]
    from adapters.base import Delivery
    from pipelines.batch import Kind, Point, batch_of
    from tests.contracts.journal import refine

    ids = [journal.registry.intern(Point("m1", f"p{n}", Kind.NUMBER)) for n in range(200)]
    times = [at + n * 1_000_000 for n in range(200)]
    batch = [batch_of(Kind.NUMBER, ids, times, values, received=at + 3_000_000)]
    await journal.append("s1", Delivery(batch, 200), refine(batch, journal.identity("s1")))


def _written() -> int:
    """Bytes that this process has given to the file system."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["wchar"])
