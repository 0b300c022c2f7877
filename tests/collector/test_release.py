"""`collector release`: asked, refused, done on a stopped buffer and in a running collector."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from adapters.clock import SystemClock
from collector.__main__ import main
from collector.cli.release import _told
from collector.control import serve_control
from collector.journal.reader import JournalReader
from collector.journal.sqlite import open_journal
from collector.service import _release
from tests.contracts.journal import append


@pytest.fixture
def buffer(tmp_path: Path) -> Path:
    """A stopped collector's buffer: `dead` has stored nothing, `live` everything."""

    async def fill() -> None:
        path = tmp_path / "buffer.sqlite"
        async with open_journal(path, followers=["dead", "live"], clock=SystemClock(), window=0.0) as journal:
            for n in range(5):
                await append(journal, [n, n + 0.5])
            await journal.commit("live", 5)

    asyncio.run(fill())
    return tmp_path / "buffer.sqlite"


def test_a_sink_of_a_stopped_collector(buffer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """D9: let go, with books that balance; the other sink is not touched."""
    assert main(["release", "dead", "--yes", "--json", "--state", str(buffer.parent)]) == 0
    assert json.loads(capsys.readouterr().out) == {"sink": "dead", "released": 10}
    with JournalReader(buffer) as reader:
        ledger, gaps = reader.ledger(), reader.gaps()
    assert ledger.unaccounted == 0
    assert (ledger.sinks["dead"].dropped, ledger.sinks["dead"].pending) == (10, 0)
    assert (ledger.sinks["live"].dropped, ledger.sinks["live"].stored) == (0, 10)
    assert [(told.gap.reason, told.gap.count) for told in gaps] == [("sink_released", 10)]


def test_without_a_terminal_it_wants_a_yes(buffer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["release", "dead", "--state", str(buffer.parent)]) == 1
    assert "--yes" in capsys.readouterr().err
    with JournalReader(buffer) as reader:
        assert reader.ledger().sinks["dead"].dropped == 0


def test_an_unknown_sink_is_told_who_is_known(buffer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["release", "nobody", "--yes", "--state", str(buffer.parent)]) == 2
    assert "dead, live" in capsys.readouterr().err


async def test_in_a_running_collector(tmp_path: Path) -> None:
    """Over the control channel, because the running collector holds the buffer."""
    path = tmp_path / "buffer.sqlite"
    async with open_journal(path, followers=["dead"], clock=SystemClock(), window=0.0) as journal:
        await append(journal, [1.0, 2.0])
        running: Any = argparse.Namespace(journal=journal)

        async def release(request: Any) -> Any:
            async for row in _release(running, request):
                yield row

        async with serve_control(tmp_path, {"release": release}):
            assert await _told(path, "dead", {}) == {"sink": "dead", "released": 2}
            assert "not a follower" in (await _told(path, "other", {}))["error"]
        assert (await journal.ledger()).sinks["dead"].pending == 0
