"""`run --with-sim`: simulated machines beside a user's own, in one line, and nobody takes one for the other."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from collector.cli.with_sim import kinds

OWN = """
version: 1
location: {enterprise: mine, site: here}
sources:
  broker: {type: mqtt, url: "mqtt://127.0.0.1:1"}
machines:
  - {id: real, read: [{source: broker, topic: t/x, payload: number, signals: [{name: x}]}]}
"""


PATIENCE = 300.0


def test_kinds_are_numbered_and_named() -> None:
    assert kinds("cnc, cnc,moulding") == ("cnc=sim-cnc-1", "cnc=sim-cnc-2", "moulding=sim-moulding-1")


@pytest.mark.parametrize("text", ["", ",", "cnc=mill", "--help", "a b"])
def test_what_is_no_kind_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        kinds(text)


def test_real_and_simulated_machines_in_one_line(tmp_path: Path) -> None:
    """The user's own source has the name that the simulators' broker usually has, and nobody listens there."""
    (tmp_path / "collector.yaml").write_text(OWN, encoding="utf-8")
    rows, errors = ran(tmp_path, "--dry-run")
    assert {row["machine"] for row in rows} == {"sim-energy-1", "sim-climate-1"}, errors


def ran(folder: Path, *more: str) -> tuple[list[dict[str, object]], str]:
    """The first rows of a dry run; it is ended when both machines have spoken."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "collector",
        "run",
        "--json",
        "--with-sim",
        "energy,climate",
        *more,
    ]
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONFAULTHANDLER": "1"}
    told = folder / "words"  # a pipe that nobody reads would hold it up
    with told.open("w", encoding="utf-8") as words:
        process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=words, text=True, env=environment
        )
    too_long = threading.Timer(PATIENCE, process.send_signal, [signal.SIGABRT])  # it says where it stands
    too_long.start()
    try:
        rows, code = rows_of(process), process.wait()
    finally:
        process.kill()
        process.wait()
        too_long.cancel()
    errors = told.read_text(encoding="utf-8")
    assert code == 0, (rows, errors)
    assert not list(folder.glob("shopfloor-with-sim-*")), "the folder of the simulators is gone"
    return rows, errors


def rows_of(process: subprocess.Popen[str]) -> list[dict[str, object]]:
    rows, told = list[dict[str, object]](), False
    with process.stdout or pytest.fail("it has no output") as lines:
        for line in lines:
            rows += [row for row in [json.loads(line)] if row["machine"] != "collector"]
            if len({row["machine"] for row in rows}) == 2 and not told:
                process.terminate()  # once: the second time means at once
                told = True
    return rows


def test_an_unknown_kind_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "collector.yaml").write_text(OWN, encoding="utf-8")
    command = [sys.executable, "-P", "-m", "collector", "run", "--with-sim", "lathe"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 70
    assert "no machine kind 'lathe'" in done.stderr


def test_simulated_machines_end_with_who_started_them(tmp_path: Path) -> None:
    """However that ends: a terminal that is closed must not leave machines behind that nobody stops."""
    code = """
import asyncio, sys
from pathlib import Path
from collector.simulated import simulated

async def main():
    async with simulated(["energy"], Path(sys.argv[1]), seed=1):
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()
    truth, end = tmp_path / "truth.jsonl", time.monotonic() + 300
    while b'"kind":"stop"' not in truth.read_bytes():
        assert time.monotonic() < end, "they live on"
        time.sleep(0.05)
