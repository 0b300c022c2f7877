"""`collector backfill`: beside a running collector, without one, counted only; each value once, and its gaps told as repaired."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from collector.__main__ import main
from collector.audit import trail
from tests.collector.test_full import filled
from tests.line.harness import Collector, collector, eventually
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

FULL = """
history: off
buffer: {max: 1MB}
sinks: [{type: influxdb, url: "http://127.0.0.1:1", org: o, bucket: machines, token: t}]
"""


class Command:
    """`collector backfill` in this process."""

    def __init__(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._config, self._capsys = config, capsys

    def __call__(self, *words: str) -> tuple[int, dict[str, Any], str]:
        code = main(["backfill", *words, "--json", "--config", str(self._config)])
        told = self._capsys.readouterr()
        return code, json.loads(told.out) if told.out else {}, told.err


SPAN = ("plc", "--from", "2023-11-14T22:13:19+00:00", "--to", "2023-11-14T22:13:21+00:00")  # around START


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


def noted(running: Collector) -> list[tuple[str, str, str, str]]:
    """What the audit log has of backfills."""
    rows = [row for row in trail(running.state).rows if row["what"] == "backfilled"]
    return [(row["what"], row["source"], row["from"], row["stored"]) for row in rows]


def test_counted_without_a_collector_and_beside_one(
    tmp_path: Path, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "shop.yaml"
    backfill = Command(config, capsys)
    running = prepared(machine, config)
    before = journaled(running)
    code, said, words = backfill(*SPAN, "--dry-run")
    assert (code, said["values"], said["stored"], journaled(running)) == (1, 210, 0, before), words
    code, said, words = backfill(*SPAN)
    assert (code, said["signals"], said["refused"], said["values"]) == (1, 1, 0, 210), words
    assert said["troubles"] == {"m/b (nsu=urn:test:machine;s=b)": "no history"}
    ((what, source, since, stored),) = noted(running)  # and nothing of what was only counted
    assert (what, source, int(stored)) == ("backfilled", "plc", said["stored"])
    assert since.startswith("2023-11-14T22:13:19")
    assert journaled(running) == before + said["stored"]
    assert 200 <= said["stored"] <= 210
    machine.emit(100)
    running.start()
    try:
        running.wait_connected("plc")
        eventually(lambda: running.holes({"m": "plc"})["m"], "the gap of the time away is told")
        code, said, words = backfill(*SPAN)
        books = running.stop()
    finally:
        running.close()
    assert (code, said["values"], said["finished"]) == (1, 260, True), words
    assert said["repaired"] >= 1
    assert len(noted(running)) == 2
    assert books["unaccounted"] == 0
    found = running.export()["m", "a"]
    assert found == {START + 100 * n: float(n) for n in range(0, 521, 2)}


def test_into_a_full_buffer_that_nobody_empties(
    tmp_path: Path, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would wait for ever: only a running collector has sinks."""
    config = tmp_path / "shop.yaml"
    machine.server.variables["a"].access = 5
    machine.server.machine.archive.remember("a")
    machine.emit(100)
    config.write_text(CONFIG.format(url=machine.server.url, uri=URI) + FULL)
    (tmp_path / "state").mkdir(mode=0o700)
    asyncio.run(filled(tmp_path / "state", reserve=False))
    code, said, words = Command(config, capsys)(*SPAN)
    assert code == 69, words
    assert "the buffer is full" in said["error"]
    assert "start the collector" in said["error"]
    assert "generator" not in words, "everything was closed in its order"


def test_nobody_answers_and_wrong_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "shop.yaml"
    config.write_text(CONFIG.format(url="opc.tcp://127.0.0.1:1", uri=URI))

    backfill = Command(config, capsys)
    code, said, words = backfill("plc", "--from", "1600-01-01", "--to", "2999-01-01")
    assert code == 69
    assert "generator" not in words, "everything was closed in its order"
    assert "127.0.0.1:1" in said["error"]
    assert not trail(tmp_path / "state").rows, "nothing was decided that had any effect"
    assert backfill("plc", "--from", "2026-01-02", "--to", "2026-01-01")[0] == 2
    assert backfill("nobody", "--from", "2026-01-02")[0] == 2
