"""`collector reload`, `status` and `run` as a user types them: words, JSON, exit codes; and a second instance."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector.cli.exits import Exit
from tests.line.harness import ENVIRONMENT, PATIENCE, Collector, collector, eventually

CONFIG = """\
version: 1
page: off
sources:
  plc: {type: opcua, url: "opc.tcp://127.0.0.1:9", security: none}
machines:
  - id: press
    read: [{source: plc, signals: [{name: force, node: "i=2258"}]}]
"""


def command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-P", "-m", "collector", *map(str, words)]
    return subprocess.run(
        line, capture_output=True, text=True, env=ENVIRONMENT, timeout=PATIENCE, check=False
    )


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Collector]:
    config = tmp_path / "collector.yaml"
    config.write_text(CONFIG)
    with collector(config) as running:
        eventually(lambda: (running.books() or {}).get("ready"), "it is ready")
        yield running


def rejected(process: Collector) -> Any:
    """What is wrong with the newest configuration; None while it does not answer."""
    books = process.books()
    return None if books is None else books["config"]["rejected"]


def test_reload_by_command(process: Collector) -> None:
    config = process.config[0]
    same = command("reload", config)
    assert (same.returncode, same.stdout) == (Exit.OK, "")
    assert "Nothing to apply." in same.stderr
    config.write_text(CONFIG.replace("force", "pressure"))
    away = command("reload", "--json", config)
    assert away.returncode == Exit.CONFIG
    assert json.loads(away.stdout)["by_peer"] is True
    applied = command("reload", "--no-probe", config)
    assert applied.returncode == Exit.OK
    assert "restarted: plc" in applied.stderr
    config.write_text(CONFIG.replace("version: 1", "version: one").replace("force", "[force"))
    broken = command("reload", "--state", process.state)
    assert broken.returncode == Exit.CONFIG
    assert "collector.yaml:" in broken.stderr
    assert "the old configuration goes on" in broken.stderr
    status = command("status", "--state", process.state)
    assert "The newest configuration is rejected" in status.stderr
    assert json.loads(command("status", "--json", "--state", process.state).stdout)["config"]["rejected"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
def test_a_hangup_is_a_wish_to_reload(process: Collector) -> None:
    """A wrong configuration is told and the old one goes on; a right one is applied; the process lives on."""
    assert process.process is not None
    config = process.config[0]
    config.write_text(CONFIG.replace("version: 1", "version: one"))
    process.process.send_signal(signal.SIGHUP)
    eventually(lambda: "the new configuration is rejected" in process.log(), "the wrong one is told")
    config.write_text(CONFIG)
    eventually(lambda: rejected(process), "it is in the status")
    process.process.send_signal(signal.SIGHUP)
    eventually(lambda: rejected(process) == [], "the right one is read")
    assert process.process.poll() is None


def test_a_machine_that_is_off_is_no_fault_of_ours(process: Collector) -> None:
    found = command("status", "--json", "--state", process.state)
    books = json.loads(found.stdout)
    assert (found.returncode, books["ready"]) == (Exit.OK, True)
    faults = [
        why for why in books["reasons"] if "stood still" not in why
    ]  # which a busy computer may be the cause of
    assert (faults, books["healthy"]) == ([], not books["reasons"])
    assert books["loop_lag_s"] >= 0
    assert len(books["config"]["hash"]) == 12


def test_nobody_to_reload(tmp_path: Path) -> None:
    (tmp_path / "collector.yaml").write_text(CONFIG)
    done = command("reload", tmp_path / "collector.yaml")
    assert done.returncode == Exit.UNAVAILABLE
    assert "start it with" in done.stderr


def test_a_second_instance_is_refused(process: Collector) -> None:
    """P11: with the number of the process that has the buffer and what to do. (That it is at once: journal/test_formats.py.)"""
    second = command("run", *process.config)
    assert second.returncode == Exit.FAILED
    assert process.process is not None
    assert f"process {process.process.pid}" in second.stderr
    assert "its own state directory" in second.stderr
    assert "Traceback" not in second.stderr


HANGUPS = """
import asyncio, os, signal
from collector.system import hold_hangup, on_hangup

async def work():
    told = asyncio.Event()
    end = on_hangup(told.set)
    await asyncio.wait_for(told.wait(), 60)
    end()

hold_hangup()
os.kill(os.getpid(), signal.SIGHUP)
asyncio.run(work())
os.kill(os.getpid(), signal.SIGHUP)
print("alive")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
def test_a_hangup_while_it_starts_waits_and_while_it_stops_does_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGUPS], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
