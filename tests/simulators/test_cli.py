"""The command line as other programs use it: a subprocess, a ready line, `go`, a signal, an exit code."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from asyncua.client.client import Client
from ruamel.yaml import YAML

from simulators import cli
from simulators.cli import main
from simulators.machines import KINDS
from tests.simulators.runs import START, rows

Start = Callable[..., "subprocess.Popen[str]"]
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
AT = ("--start", "2026-01-01T00:00:00Z", "--seed", "42")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts `python -m simulators`; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def go(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "simulators", *arguments]
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=_environment(tmp_path)
        )
        started.append(process)
        return process

    yield go
    for process in started:
        process.kill()
        process.communicate()


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(folder), "PYTHONWARNINGS": "default"}


def line(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout is not None
    read: dict[str, Any] = json.loads(process.stdout.readline())
    return read


def complaints(err: str) -> list[str]:
    """What stderr has, apart from the honest word that this computer stood still."""
    return [text for text in err.splitlines() if "this computer is too slow" not in text]


def say(process: "subprocess.Popen[str]", words: str) -> None:
    assert process.stdin is not None
    process.stdin.write(words + "\n")
    process.stdin.flush()


def test_a_run_from_ready_to_stopped(start: Start, tmp_path: Path) -> None:
    process = start("run", "cnc", "energy", "compressor", "--duration", "2s", "--seed", "42")
    ready = line(process)
    assert (ready["event"], ready["seed"]) == ("ready", 42)
    assert ready["machines"] == ["cnc-1", "energy-1", "compressor-1"]
    assert set(ready["endpoints"]) == {"cnc-1", "mqtt"}
    config = YAML(typ="safe").load(Path(ready["config"]))
    assert config["sources"]["cnc-1"]["url"] == ready["endpoints"]["cnc-1"]
    assert config["sources"]["broker"]["url"] == ready["endpoints"]["mqtt"]
    assert Path(ready["truth"]).is_relative_to(tmp_path)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, complaints(err)) == (0, [])
    stopped = json.loads(out)  # exactly one more line
    counts = dict.fromkeys(ready["machines"], 0)
    for row in rows(Path(ready["truth"])):
        counts[row["machine"]] += 1
    nothing: dict[str, dict[str, int]] = {"unconfirmed": {}, "dropped": {}, "undelivered": {}}
    assert stopped == {"event": "stopped", "emitted": counts, **nothing}
    assert counts["energy-1"] == 30  # ten values at the start and at each of two seconds
    lines = [json.loads(text) for text in Path(ready["truth"]).read_text().splitlines()]
    assert lines[0]["kind"] == "start"
    assert lines[-1]["kind"] == "stop"


async def test_hold_serves_first_values_and_starts_at_go(start: Start, tmp_path: Path) -> None:
    process = start("run", "cnc", "--hold", "--duration", "500ms", "--dir", str(tmp_path / "d"), *AT)
    ready = line(process)
    async with Client(ready["endpoints"]["cnc-1"], timeout=90) as client:
        index = await client.get_namespace_index("urn:shopfloor:sim:cnc")
        assert await client.get_node(f"ns={index};s=Program.Name").read_value() == "O2040_FLANGE"
        truth = tmp_path / "d" / "truth.jsonl"
        assert {row["t"] for row in rows(truth)} == {START}
    say(process, "go")
    assert line(process)["event"] == "stopped"
    assert process.wait(120) == 0
    assert {row["t"] - START for row in rows(truth)} == {100_000_000 * n for n in range(6)}


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_ends_it_well(start: Start, name: str) -> None:
    process = start("run", "energy")
    ready = line(process)
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=120)
    assert (process.returncode, complaints(err)) == (0, [])
    assert json.loads(out)["event"] == "stopped"
    assert len(list(rows(Path(ready["truth"]), "stop"))) == 1


def test_who_is_gone_before_go_is_not_waited_for(start: Start) -> None:
    process = start("run", "energy", "--hold")
    ready = line(process)
    _, err = process.communicate(timeout=120)  # closes stdin
    assert (process.returncode, complaints(err)) == (0, [])
    assert list(rows(Path(ready["truth"]))) == []


def test_who_no_longer_reads_does_not_break_it(start: Start) -> None:
    process = start("run", "energy")
    line(process)
    assert process.stdout is not None
    process.stdout.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 0
    assert process.stderr is not None
    assert complaints(process.stderr.read()) == []
    process.stdout = None


def test_the_truth_survives_a_kill(start: Start) -> None:
    process = start("run", "cnc", "--face", "jsonl", "--speed", "50")
    ready = line(process)
    truth = Path(ready["truth"])
    while truth.stat().st_size < 50_000:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=120)
    content = truth.read_bytes()
    *whole, torn = content.split(b"\n")
    assert {json.loads(text)["kind"] for text in whole} >= {"start", "value"}
    assert not torn or len(content) % PAGE == 0, "a kill ends a write between two pages at most"


def test_two_runs_tell_the_same_truth(start: Start, tmp_path: Path) -> None:
    told = []
    for folder in ("one", "two"):
        process = start(
            "run",
            "cnc",
            "--face",
            "jsonl",
            "--speed",
            "20",
            "--duration",
            "20s",
            "--dir",
            str(tmp_path / folder),
            *AT,
        )
        process.communicate(timeout=120)
        told.append((tmp_path / folder / "truth.jsonl").read_bytes())
    assert told[0].count(b"\n") > 500
    assert told[0] == told[1]


def test_after_the_last_change_it_keeps_serving(start: Start) -> None:
    process = start("run", "cnc=mill", "cnc", "--max-changes", "30", "--hold")
    ready = line(process)
    assert ready["machines"] == ["mill", "cnc-1"]
    say(process, "go")
    truth = Path(ready["truth"])
    first = 2 * len(list({row["signal"] for row in rows(truth)}))
    while len(list(rows(truth))) < first + 60:
        assert process.poll() is None
        time.sleep(0.05)
    say(process, "stop")
    emitted = line(process)["emitted"]
    assert emitted == {"mill": first // 2 + 30, "cnc-1": first // 2 + 30}
    assert process.wait(120) == 0


def test_time_that_is_let_pass_after_the_last_change_passes(start: Start) -> None:
    process = start("run", "energy", "--speed", "0", "--max-changes", "1")
    line(process)
    for _ in range(3):
        say(process, '{"advance": 10}')
    told = [line(process)["t"] for _ in range(3)]
    assert [later - sooner for sooner, later in pairwise(told)] == [10_000_000_000] * 2
    say(process, "stop")
    assert line(process)["event"] == "stopped"


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    machines = {m["kind"]: m for m in json.loads(capsys.readouterr().out)["machines"]}
    assert set(machines) == set(KINDS)
    load = next(s for s in machines["cnc"]["signals"] if s["name"] == "spindle_load")
    assert (load["type"], load["unit"], load["low"], load["high"]) == ("Float", "P1", 0, 200)
    override = next(s for s in machines["robot"]["settings"] if s["signal"] == "speed_override")
    assert (override["low"], override["high"]) == (1, 100)
    zone = next(s for s in machines["moulding"]["settings"] if s["signal"] == "zone_3_set")
    assert (zone["low"], zone["high"]) == (20, 350)
    assert {a["name"]: a["severity"] for a in machines["cnc"]["alarms"]}["ToolBroken"] == 900
    assert "spindle_load" in machines["cnc"]["history"]
    assert main(["list"]) == 0
    assert capsys.readouterr().out.count("\n") == len(KINDS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "lathe"], "no machine kind 'lathe'"),
        (["run", "cnc=cnc-1", "cnc"], "two machines would be called 'cnc-1'"),
        (["run", "energy", "--broker", "mqtts://x"], "only mqtt://host:port"),
        (["run", "energy", "--broker", "mqtt://u:secret@x"], "mqtt://…@x: only mqtt://host:port"),
    ],
)
def test_what_cannot_run_says_why(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""


def test_a_port_in_use_is_said_in_words(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for machine in ("cnc", "energy"):
            assert main(["run", machine, "--port", port, "--dir", str(tmp_path)]) == 1
            captured = capsys.readouterr()
            assert f"cannot listen on 127.0.0.1:{port}" in captured.err
            assert captured.out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"], ["run", "cnc=a b"], ["run", "cnc=mqtt"], ["run", "cnc", "--speed", "slow"], ["run", "cnc", "--speed", "-1"],
        ["run", "cnc", "--duration", "soon"], ["run", "cnc", "--port", "70000"], ["run", "cnc", "--max-changes", "0"],
        ["run", "cnc", "--start", "today"],
    ],
)  # fmt: skip
def test_wrong_usage_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(arguments)
    assert refused.value.code == 2
    assert capsys.readouterr().out == ""


def test_a_stop_before_there_is_anything_to_stop_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_name: str) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "kind", interrupted)
    assert main(["list"]) == 130


def test_on_a_leash_it_ends_with_its_stdin(start: Start) -> None:
    process = start("run", "energy", "--leash")
    assert line(process)["event"] == "ready"
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None  # or the fixture would close it once more
    assert line(process)["event"] == "stopped"
    assert process.wait(120) == 0
