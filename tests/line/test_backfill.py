"""`collector backfill`: beside a running collector, without one, counted only; each value once, and its gaps told as repaired."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from collector.__main__ import main
from tests.line.harness import ENVIRONMENT, Collector, collector, eventually
from tests.line.test_alarms import machine as machine  # noqa: PLC0414 (a fixture)
from tests.line.test_opcua_resumption import Machine, arrived
from tests.opcua.rows.bed import START
from tests.opcua.scripted import URI

CONFIG = """
version: 1
page: off
sources:
  plc: {{type: opcua, url: "{url}", security: none, publishing_interval: 50ms, history: off}}
machines:
  - id: m
    read: [{{source: plc, signals: [
      {{name: a, node: "nsu={uri};s=a", every: 10ms}}, {{name: b, node: "nsu={uri};s=b", every: 10ms}}]}}]
"""


def backfill(
    config: Path, *arguments: str, begins: int = START - 1, ends: int = START + 10**9
) -> tuple[int, dict[str, Any], str]:
    span = ["--from", moment(begins), "--to", moment(ends)]
    command = [
        sys.executable,
        "-P",
        "-m",
        "collector",
        "backfill",
        "plc",
        *span,
        "--json",
        *arguments,
        "--config",
        str(config),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=60, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def moment(ns: int) -> str:
    return dt.datetime.fromtimestamp(ns // 10**9, dt.UTC).isoformat()


def prepared(machine: Machine, config: Path) -> Collector:
    """`a` has a history and `b` has none; the collector was away for 400 values."""
    server = machine.server
    server.policy.reactivate = False
    server.policy.transfer = 0x80280000  # BadSubscriptionIdInvalid
    server.variables["a"].access = 5
    server.machine.archive.remember("a")
    config.write_text(CONFIG.format(url=server.url, uri=URI))
    with collector(config) as running:
        running.wait_connected("plc")
        machine.emit(20)
        eventually(lambda: arrived(running) >= 20, "the first values are stored")
        running.kill()
    machine.emit(400)
    return running


def journaled(running: Collector) -> int:
    """Read with plain SQL."""
    with closing(sqlite3.connect(f"file:{running.state / 'buffer.sqlite'}?mode=ro", uri=True)) as books:
        ((count,),) = books.execute("SELECT journaled FROM sources WHERE name = 'plc'").fetchall()
    return int(count)


def test_counted_without_a_collector_and_beside_one(tmp_path: Path, machine: Machine) -> None:
    config = tmp_path / "shop.yaml"
    running = prepared(machine, config)
    before = journaled(running)
    code, said, words = backfill(config, "--dry-run")
    assert (code, said["values"], said["stored"], journaled(running)) == (1, 210, 0, before), words
    code, said, words = backfill(config)
    assert (code, said["signals"], said["refused"], said["values"]) == (1, 1, 0, 210), words
    assert said["troubles"] == {"m/b (nsu=urn:test:machine;s=b)": "no history"}
    assert journaled(running) == before + said["stored"]
    assert 200 <= said["stored"] <= 210
    machine.emit(100)
    running.start()
    try:
        running.wait_connected("plc")
        code, said, words = backfill(config)
        books = running.stop()
    finally:
        running.close()
    assert (code, said["values"], said["finished"]) == (1, 260, True), words
    assert said["repaired"] >= 1, "the gap of the time away"
    assert books["unaccounted"] == 0
    found = running.export()["m", "a"]
    assert found == {START + 100 * n: float(n) for n in range(0, 521, 2)}


def test_nobody_answers_and_wrong_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "shop.yaml"
    config.write_text(CONFIG.format(url="opc.tcp://127.0.0.1:1", uri=URI))

    def told(*words: str) -> int:
        return main(["backfill", *words, "--json", "--config", str(config)])

    assert told("plc", "--from", "2026-01-01") == 69
    assert "127.0.0.1:1" in json.loads(capsys.readouterr().out)["error"]
    assert told("plc", "--from", "2026-01-02", "--to", "2026-01-01") == 2
    assert told("nobody", "--from", "2026-01-02") == 2
