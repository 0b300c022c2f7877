"""The workshop under control: HTTP and lines on stdin, time that passes only when told, and whom the API does not serve."""

import json
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.simulators.runs import rows
from tests.simulators.test_cli import AT, Start, line, say, start

__all__ = ["start"]  # the fixture


def ask(url: str, body: Any = ..., **headers: str) -> tuple[int, Any]:
    """GET, or POST with a body; status and answer."""
    data = None if body is ... else body if isinstance(body, bytes) else json.dumps(body).encode()
    wanted = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(url, data, wanted)
    try:
        with urllib.request.urlopen(request, timeout=90) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_http_control_from_ready_to_stopped(start: Start, tmp_path: Path) -> None:
    process = start(
        "run", "legacy=l", "--face", "jsonl", "--speed", "0", "--control", "--dir", str(tmp_path / "d"), *AT
    )
    ready = line(process)
    url = ready["endpoints"]["control"]
    assert ask(f"{url}/health") == (200, b'{"status":"ok"}')
    assert b"version: 1" in ask(f"{url}/config")[1]
    status, said = ask(f"{url}/advance", 30)
    assert (status, json.loads(said)["event"]) == (200, "done")
    assert json.loads(ask(f"{url}/inject", {"machine": "l", "fault": "jam", "for": 5})[1])["changed"] is True
    assert json.loads(ask(f"{url}/inject", {"machine": "l", "fault": "jam", "for": 5})[1])["changed"] is False
    ask(f"{url}/advance", 2)
    state = json.loads(ask(f"{url}/state")[1])
    assert state["machines"]["l"]["state"] == "fault"
    assert [each["fault"] for each in state["active"]] == ["jam"]
    assert "jam" in json.loads(ask(f"{url}/faults")[1])["known"]["process"]["l"]
    assert json.loads(ask(f"{url}/reset", "l")[1])["ended"] == 1
    assert ask(f"{url}/stop", None)[0] == 200
    assert line(process)["event"] == "stopped"
    assert process.wait(120) == 0
    last = max(row["to"] for row in rows(tmp_path / "d" / "truth.jsonl", "state"))
    assert last - min(row["from"] for row in rows(tmp_path / "d" / "truth.jsonl", "state")) == 32 * 10**9


def test_settings_are_written_over_http_and_stdin(start: Start, tmp_path: Path) -> None:
    process = start(
        "run",
        "packaging=p",
        "--face",
        "jsonl",
        "--speed",
        "0",
        "--control",
        "--dir",
        str(tmp_path / "d"),
        *AT,
    )
    url = line(process)["endpoints"]["control"]
    speed = {"signal": "mach_speed", "value": 60}
    assert ask(f"{url}/set", {"machine": "p", **speed})[0] == 200
    assert ask(f"{url}/machines/p/set", {"signal": "job_order", "value": "A-7", "by": "ann"})[0] == 200
    say(process, '{"set": {"machine": "p", "signal": "job_quantity", "value": 5}}')
    assert line(process) == {"event": "done"}
    assert ask(f"{url}/machines/nobody/set", speed)[0] == 400
    assert ask(f"{url}/machines/p/inject", speed)[0] == 404
    for wrong in (
        {"signal": "film_remaining", "value": 5},
        {"signal": "mach_speed", "value": 500},
        {"value": 5},
    ):
        status, words = ask(f"{url}/machines/p/set", wrong)
        assert (status, json.loads(words)["event"]) == (400, "refused")
    assert json.loads(ask(f"{url}/state")[1])["machines"]["p"]["alarms"] == []
    ask(f"{url}/inject", {"machine": "p", "fault": "jam"})
    assert json.loads(ask(f"{url}/state")[1])["machines"]["p"]["alarms"] == ["Jam"]
    ask(f"{url}/advance", 1)
    ask(f"{url}/stop", None)
    assert process.wait(120) == 0
    told = [(r["signal"], r["value"], r["by"]) for r in rows(tmp_path / "d" / "truth.jsonl", "written")]
    assert told == [
        ("mach_speed", 60.0, "control"),
        ("job_order", "A-7", "ann"),
        ("job_quantity", 5, "control"),
    ]
    values = {r["signal"]: r["value"] for r in rows(tmp_path / "d" / "truth.jsonl")}
    assert (values["mach_speed"], values["job_order"], values["job_quantity"]) == (60.0, "A-7", 5)


def test_whom_http_does_not_serve(start: Start) -> None:
    process = start("run", "legacy=l", "--face", "jsonl", "--speed", "0", "--control")
    url = line(process)["endpoints"]["control"]
    assert ask(f"{url}/state", Host="evil.example:80")[0] == 403
    assert ask(f"{url}/reset", None, **{"Content-Type": "text/plain"})[0] == 415
    assert ask(f"{url}/inject", {"machine": "x", "fault": "jam"})[0] == 400
    assert ask(f"{url}/inject", {"fault": "jam"})[0] == 400
    assert ask(f"{url}/reset", "a" * 70_000)[0] == 413
    assert ask(f"{url}/nothing", None)[0] == 404
    assert ask(f"{url}/advance", -1)[0] == 400
    assert ask(f"{url}/reset", {"machine": "l"})[0] == 400, "or it would be taken for all machines"
    assert ask(f"{url}/inject", b"[" * 20_000)[0] == 400


def test_who_goes_in_the_middle_of_a_request_is_no_traceback(start: Start) -> None:
    process = start("run", "legacy=l", "--face", "jsonl", "--speed", "0", "--control")
    url = line(process)["endpoints"]["control"]
    address = urlsplit(url)
    with socket.create_connection((address.hostname or "", address.port or 0)) as client:
        head = "POST /inject HTTP/1.1", f"Host: {address.netloc}", "Content-Type: application/json"
        client.sendall("\r\n".join((*head, "Content-Length: 100", "", '{"mach')).encode())
    assert ask(f"{url}/stop", None)[0] == 200
    assert process.wait(120) == 0
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()


def test_lines_on_stdin(start: Start) -> None:
    process = start("run", "legacy=l", "--face", "jsonl", "--speed", "0", *AT)
    line(process)
    for words, answer in (
        ('{"advance": 10}', {"event": "done", "t": 1_767_225_610_000_000_000}),
        ('{"inject": {"machine": "l", "fault": "starvation"}}', {"event": "done", "changed": True}),
        ("reset", {"event": "done", "ended": 1}),
        ("dance", None),
        ('{"inject": 3}', None),
        ('{"reset": "nobody"}', None),
        ("{", None),
    ):
        say(process, words)
        said = line(process)
        assert said == answer if answer else said["event"] == "refused"
    say(process, "stop")
    assert line(process)["event"] == "stopped"
    assert process.wait(120) == 0


def test_time_cannot_be_let_pass_where_it_passes_by_itself(start: Start) -> None:
    process = start("run", "legacy=l", "--face", "jsonl")
    line(process)
    say(process, '{"advance": 1}')
    assert "--speed 0" in line(process)["reason"]


def test_a_fault_on_the_command_line(start: Start, tmp_path: Path) -> None:
    process = start(
        "run", "legacy=l", "--face", "jsonl", "--speed", "1000", "--duration", "60s", "--dir", str(tmp_path / "d"),
        "--fault", "l:jam@10s+5s", "--fault", "l.pulses:bias=100@20s+1s", *AT,
    )  # fmt: skip
    line(process)
    assert line(process)["event"] == "stopped"
    noted = [(row["event"], row["fault"]) for row in rows(tmp_path / "d" / "truth.jsonl", "fault")]
    assert noted == [("start", "jam"), ("stop", "jam"), ("start", "bias"), ("stop", "bias")]


@pytest.mark.parametrize("fault", ["jam", "l:jam@soon", "l:jam=much", "l:jam+", ""])
def test_a_fault_that_is_no_fault(fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    from simulators.cli import main

    with pytest.raises(SystemExit):
        main(["run", "legacy=l", "--fault", fault])
    assert "is no " in capsys.readouterr().err


def test_the_advertised_host_is_what_clients_are_told(start: Start) -> None:
    process = start("run", "legacy=l", "--advertise-host", "localhost", "--hold")
    ready = line(process)
    assert ready["endpoints"]["mqtt"].startswith("mqtt://localhost:")
    assert "mqtt://localhost:" in Path(ready["config"]).read_text(encoding="utf-8")
    assert isinstance(process, subprocess.Popen)
