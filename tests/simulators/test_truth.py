"""The truth on a disk that does not take it: said in words, and never a row behind one that is missing."""

from __future__ import annotations

import asyncio
import json
import sys
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from simulators.cli import main
from simulators.clock import DrivenClock, FreeClock
from simulators.commands import Commands
from simulators.control import open_control
from simulators.errors import SimulatorError
from simulators.truth import Truth, open_truth
from simulators.workshop import Plan, open_workshop
from tests.simulators.runs import START

FULL = Path("/dev/full")
full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


class Slow(FileIO):
    """Takes a few bytes at a time, as a disk does that is nearly full."""

    def write(self, content: Any, /) -> int:
        return super().write(bytes(content)[:7])


def test_what_is_taken_in_parts_is_whole(tmp_path: Path) -> None:
    said = [{"kind": "value", "signal": "s" * 20, "t": number} for number in range(3)]
    with Slow(tmp_path / "t", "wb") as file:
        Truth(file).rows(said)
    assert [json.loads(line) for line in (tmp_path / "t").read_bytes().split(b"\n")[:-1]] == said


@full
def test_nothing_is_written_behind_a_row_that_was_lost(tmp_path: Path) -> None:
    with open_truth(tmp_path / "t") as truth, FULL.open("wb", buffering=0) as disk:
        truth.rows([{"kind": "first"}])
        well, truth._file = truth._file, disk
        with pytest.raises(SimulatorError, match="/dev/full: cannot be written"):
            truth.rows([{"kind": "lost"}])
        truth._file = well
        for late in (truth.check, lambda: truth.rows([{"kind": "late"}])):
            with pytest.raises(SimulatorError, match="cannot be written"):
                late()
    assert (tmp_path / "t").read_bytes() == b'{"kind":"first"}\n'


@pytest.mark.skipif(sys.platform == "win32", reason="no locks of this kind")
def test_two_runs_do_not_write_one_truth(tmp_path: Path) -> None:
    file = tmp_path / "t"
    file.write_text("of the day before\n")
    with open_truth(file) as truth:
        truth.rows([{"kind": "first"}])
        with pytest.raises(SimulatorError, match="another run writes it"), open_truth(file):
            pass
        truth.rows([{"kind": "second"}])
    assert file.read_bytes() == b'{"kind":"first"}\n{"kind":"second"}\n'
    with open_truth(file):
        assert file.read_bytes() == b""


@full
async def test_a_run_ends_when_the_broker_acknowledges_what_cannot_be_noted(tmp_path: Path) -> None:
    """That is noted in a callback, whose errors nobody hears."""
    plan = Plan((("energy", "e"),), 5, tmp_path / "truth", tmp_path / "config", start_ns=START)
    with FULL.open("wb", buffering=0) as disk:
        async with open_workshop(plan) as workshop:
            workshop.truth._file = disk
            with pytest.raises(SimulatorError, match="cannot be written"):
                await workshop.drive(FreeClock(), asyncio.Event(), origin_ns=START)


async def test_what_ends_a_run_is_told_as_it_is_beside_the_control_api(tmp_path: Path) -> None:
    plan = Plan((("legacy", "l"),), 5, tmp_path / "truth", tmp_path / "config", faces={"l": "csv"})
    async with open_workshop(plan) as workshop:
        commands = Commands(workshop, DrivenClock(), asyncio.Event(), asyncio.Event())
        with pytest.raises(SimulatorError, match="no room"):
            async with open_control(commands, plan.config, 0):
                raise SimulatorError("no room")


@pytest.mark.parametrize("option", ["--dir", "--truth", "--config"])
def test_a_place_that_cannot_be_written_is_named(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("a file, and no folder")
    place = tmp_path / "taken" / "below" / "file"
    given = ["run", "energy", "--duration", "1s", "--dir", str(tmp_path), option, str(place)]
    assert main(given) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"simulators: {place}")
    assert said.endswith("cannot be written (Not a directory).\n")
