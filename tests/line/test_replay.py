"""A recording through the whole line, judged by `verify` alone: played, collected, exported, compared; and once with a loss."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from simulators.cli import main as simulators
from tests.influxdb.peers import Server
from tests.line.conftest import Extra, v1
from tests.line.harness import ENVIRONMENT, PATIENCE, collector, eventually, exported
from tests.mqtt.peers import Mosquitto
from tests.simulators.test_replay import recording

OKUMA = "okuma.txt"
TEMPERATURE = "machine_temperature_system_failure.csv"


@contextmanager
def replaying(name: str, folder: Path, *arguments: str) -> Iterator[tuple[dict[str, Any], Any]]:
    """The ready line, and a function that starts the recording and returns its finished line."""
    command = [sys.executable, "-P", "-m", "simulators", "replay", str(recording(name)), "--hold"]
    command += ["--dir", str(folder), *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=ENVIRONMENT, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        read, write = process.stdout, process.stdin

        def go() -> dict[str, Any]:
            write.write("go\n")
            write.flush()
            return dict(json.loads(read.readline()))

        try:
            yield json.loads(read.readline()), go
        finally:
            process.terminate()
            process.wait(PATIENCE)


def verify(truth: str, data: str) -> tuple[int, dict[str, int], str]:
    """`python -m simulators verify`, in this process: a new one takes a second to begin."""
    numbers, words = io.StringIO(), io.StringIO()
    with redirect_stdout(numbers), redirect_stderr(words):
        code = simulators(["verify", truth, "--against", data, "--json"])
    return code, json.loads(numbers.getvalue()), words.getvalue()


def export(config: Path, target: Path) -> str:
    exported(target, config)
    return str(target)


FILES = ("csv", "jsonl", "parquet")


class Case(NamedTuple):
    name: str
    arguments: tuple[str, ...]
    files: tuple[str, ...]


CASES = {
    "okuma-lines": Case(OKUMA, ("--face", "mqtt", "--speed", "400", "--max-values", "3000"), FILES),
    "okuma-nodes": Case(OKUMA, ("--face", "opcua", "--speed", "200", "--max-values", "2000"), FILES[1:2]),
    "temperature-json": Case(TEMPERATURE, ("--face", "mqtt", "--speed", "0", "--max-values", "1500", "--machine", "pump"), FILES[1:2]),
    "temperature-node": Case(TEMPERATURE, ("--face", "opcua", "--speed", "100000", "--max-values", "800"), FILES[1:2]),
}  # fmt: skip


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def test_a_recording_is_stored_as_it_was_played(
    tmp_path: Path, mosquitto: Mosquitto, influx: Server, extra: Extra, case: Case
) -> None:
    over_mqtt = "mqtt" in case.arguments
    broker = ("--broker", f"mqtt://127.0.0.1:{mosquitto.port}") if over_mqtt else ()
    with replaying(case.name, tmp_path, *case.arguments, *broker) as (ready, go):
        config = Path(ready["config"])
        with collector(config, extra(v1(influx.url))) as running:
            running.wait_connected("influx", "broker" if over_mqtt else "replay")
            finished = go()
            live = str(tmp_path / "live.jsonl")
            eventually(
                lambda: verify(ready["truth"], export(config, Path(live)))[0] == 0, "everything is stored"
            )
            books = running.wait_passed("influx")
            running.stop()
    assert books["unaccounted"] == 0
    assert sum(finished["emitted"].values()) >= 800
    for ending in case.files:
        assert_clean(ready["truth"], export(config, tmp_path / f"data.{ending}"))
    assert_clean(ready["truth"], f"{influx.url}?db=shop")
    assert_that_a_loss_is_noticed(ready["truth"], tmp_path / "data.jsonl")


def assert_clean(truth: str, data: str) -> None:
    code, found, words = verify(truth, data)
    assert code == 0, (data, found, words)
    assert found["expected"] == found["found"] >= 700
    assert not any(found[sort] for sort in ("missing", "spurious", "altered", "late", "explained"))


def assert_that_a_loss_is_noticed(truth: str, data: Path) -> None:
    lines = data.read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    good = [n for n, row in enumerate(rows) if row["machine"] != "collector" and row["quality"] == "good"]
    del lines[good[len(good) // 2]]
    data.write_text("\n".join(lines) + "\n")
    code, found, _ = verify(truth, str(data))
    assert (code, found["missing"], found["spurious"], found["altered"]) == (1, 1, 0, 0)
