"""`collector discover` against simulated machines and a broker: what it writes runs without a manual edit, and a second time changes nothing."""

from __future__ import annotations

import asyncio
import csv
import itertools
import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from adapters.discovery import Reference
from collector.__main__ import main
from collector.cli.exits import Exit
from collector.discover import Typed, Unusable, target_of
from tests.collector.test_commands import command, run_until
from tests.line.harness import PATIENCE, Simulation, simulation
from tests.mqtt.peers import Mosquitto


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    folder = tmp_path_factory.mktemp("discovered")
    with simulation(folder, "cnc", "--seed", "5", "--security", "none") as machines:
        machines.go()
        yield machines


def test_what_discover_writes_runs_without_an_edit(workshop: Simulation, tmp_path: Path) -> None:
    url, file = workshop.ready["endpoints"]["cnc-1"], tmp_path / "collector.yaml"
    look = ("discover", url, "--security", "none", "--for", "1s", "--write", file)
    first = command(*look, "--json")
    assert first.returncode == Exit.OK, first.stderr
    found = json.loads(first.stdout)
    assert {"Spindle", "Axes"} <= {cell["path"][1] for cell in found["variables"]}
    text = file.read_text()
    assert "unit: r/min" in text
    assert "nsu=urn:shopfloor:sim:cnc;s=Spindle.Speed" in text
    mine = text.replace("name: spindle_speed,", "name: renamed,  ") + "# mine\n"
    file.write_text(mine)
    assert command(*look).returncode == Exit.OK
    assert file.read_text() == mine
    assert command("check", file).returncode == Exit.OK
    run_until(lambda: command("export", file, "--signal", "renamed").stdout.count("\n") > 1, file)


def test_whom_nobody_knows_is_not_unprotected_by_itself(workshop: Simulation, tmp_path: Path) -> None:
    refused = command("discover", workshop.ready["endpoints"]["cnc-1"], "--state", tmp_path)
    assert refused.returncode == Exit.PROBLEMS
    assert "does not offer SignAndEncrypt" in refused.stderr


def test_an_address_that_nobody_looks_at_is_refused_with_what_is_possible() -> None:
    refused = command("discover", "http://127.0.0.1")
    assert refused.returncode == Exit.USAGE
    assert "MQTT brokers, as mqtts://host or mqtt://host" in refused.stderr
    for typed, words in (
        (Typed("mqtt://127.0.0.1", security="sign"), "--security is for OPC UA servers"),
        (Typed("opc.tcp://127.0.0.1", rebirth=True), "are for MQTT brokers"),
        (Typed("mqtt://10.0.0.5", username="u", password=(Reference("${env:P}"), "secret")), "in plain text"),
    ):
        with pytest.raises(Unusable, match=words):
            target_of(typed)


def test_what_was_typed_wrong_is_said_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def end_of_file(_prompt: str) -> str:
        raise EOFError

    secret = tmp_path / "secret"
    secret.write_bytes(b"\xff\xfe")
    user = ("opc.tcp://127.0.0.1:1", "--username", "reader")
    assert main(["discover", "opc.tcp://[::1"]) == Exit.USAGE
    assert "Invalid IPv6 URL" in capsys.readouterr().err
    assert main(["discover", *user, "--password-file", str(secret)]) == Exit.USAGE
    assert "is not UTF-8 text" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", end_of_file)
    assert main(["discover", *user]) == Exit.USAGE
    assert "no password was typed" in capsys.readouterr().err


def test_a_password_for_a_broker_is_written_as_a_reference_only() -> None:
    """User and password come from keyboard, variable or file; what is written names the place."""
    target = target_of(
        Typed("mqtts://h", username="u", password=(Reference("${env:P}"), "secret"), ca="/ca.pem")
    )
    assert target.keys == {
        "type": "mqtt",
        "url": "mqtts://h",
        "username": "u",
        "password": "${env:P}",
        "ca": "/ca.pem",
    }
    assert target.settings.password.get_secret_value() == "secret"
    assert (target.name, target.env["P"]) == ("mqtt-h", "secret")


def talk(port: int, stop: threading.Event) -> None:
    """Machines that speak JSON and single values, twice a second, until it is enough."""
    mqtt = paho.Client(CallbackAPIVersion.VERSION2)
    mqtt.connect("127.0.0.1", port)
    mqtt.loop_start()
    for n in itertools.count():
        for machine in "ab":
            mqtt.publish(f"factory/{machine}/temp", f"{20 + n}")
            mqtt.publish(f"factory/{machine}/running", "true" if n % 2 else "false")
            document = {"ts": time.time(), "P": n + 0.5, "U": {"L1": 230 + n}}
            mqtt.publish(f"factory/{machine}/energy", json.dumps(document))
        mqtt.publish("energy/cnc-1", json.dumps({"P": n, "I": 2 * n}))
        if stop.wait(0.1):
            break
    mqtt.disconnect()
    mqtt.loop_stop()


@contextmanager
def simulating(*options: str) -> Iterator[None]:
    """A simulator that is ready."""
    command = [sys.executable, "-m", "simulators", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert b"ready" in process.stdout.readline()
        yield
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


@contextmanager
def speaking(port: int, folder: Path) -> Iterator[None]:
    """The machines, simulated ones, and a simulated Sparkplug edge."""
    stop = threading.Event()
    talker = threading.Thread(target=talk, args=(port, stop))
    talker.start()
    broker = f"--broker=mqtt://127.0.0.1:{port}"
    edge = (
        "sparkplug",
        broker,
        "--seed=3",
        "--period=200ms",
        "--devices=1",
        f"--truth={folder / 'truth.jsonl'}",
    )
    hall = ("run", "compressor", "energy", "climate", broker, "--seed=3", f"--dir={folder / 'hall'}")
    try:
        with simulating(*edge), simulating(*hall):
            yield
    finally:
        stop.set()
        talker.join()


@pytest.mark.server("mosquitto")
async def test_what_discover_writes_of_a_broker_runs_without_an_edit(tmp_path: Path) -> None:
    """Issue 7: JSON, single values and Sparkplug; a second time and a renamed signal change nothing."""
    broker, file = Mosquitto(tmp_path), tmp_path / "collector.yaml"
    await broker.start()
    try:
        with speaking(broker.port, tmp_path):
            looks = await asyncio.to_thread(written_and_run, f"mqtt://127.0.0.1:{broker.port}", file)
    finally:
        await broker.stop()
    clients = set(
        re.findall(r"connected from .* as (shopfloor-look-\w+)", (tmp_path / "broker.log").read_text())
    )
    assert len(clients) == looks


def assert_nothing_known_is_changed(before: str, after: str, known: set[str]) -> None:
    """Every line stays, in its order; what is new is of topics that the first look was too short for."""
    lines = iter(after.splitlines())
    assert [line for line in before.splitlines() if line not in lines] == []
    added = Counter(after.splitlines()) - Counter(before.splitlines())
    assert {name for line in added for name in re.findall(r"name: (\w+)", line)} & known == set()


SAID = {
    *(f"factory/{machine}/{signal}" for machine in "ab" for signal in ("temp", "running", "energy")),
    *(f"shop/compressor-1/{signal}" for signal in ("pressure", "power")),
    "energy/cnc-1",
}


def heard(found: dict[str, Any]) -> bool:
    """Everything that is asked for below was said, more than once."""
    topics = {each["topic"] for each in found["topics"] if each["messages"] > 1}
    return topics >= SAID and any(each["device"] == "robot-1" for each in found["sparkplug"]["nodes"])


def looked(*look: str | Path, file: Path) -> tuple[dict[str, Any], int]:
    """So long that everybody has spoken, how busy the computer may be; what was found, and by how many looks."""
    for looks in itertools.count(1):
        file.unlink(missing_ok=True)
        done = command(*look, "--for", f"{6 * looks}s", "--json")
        assert done.returncode == Exit.OK, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        if heard(found):
            return found, looks
        assert looks < 8, sorted(each["topic"] for each in found["topics"])
    raise AssertionError


def written_and_run(url: str, file: Path) -> int:
    """How often was looked."""
    look = ("discover", url, "--write", file, "--rebirth", "--name", "hall")
    found, looks = looked(*look, file=file)
    assert [(each["group"], each["node"]) for each in found["sparkplug"]["nodes"]][:1] == [("plant", "cell")]
    text = file.read_text()
    assert 'topic: "factory/{machine}/{signal}"' in text
    assert "{type: json, time: ts}" in text
    assert [
        line
        for line in text.splitlines()
        if "- id: " in line and line.split()[-1] in ("pressure", "power", "flow")
    ] == []
    assert 'topic: "shop/{machine}/{signal}"' in text
    mine = text.replace("name: running}", "name: mine, item: running}") + "# mine\n"
    assert mine.count("mine,") == 2
    file.write_text(mine)
    assert command(*look, "--for", "1200ms").returncode == Exit.OK
    known = {each["topic"].rpartition("/")[2] for each in found["topics"]}
    assert_nothing_known_is_changed(mine, file.read_text(), known | {"running"})
    assert command("check", file).returncode == Exit.OK
    run_until(lambda: all_stored(file), file)
    return looks + 1


def all_stored(file: Path) -> bool:
    """More than two values of each kind of topic."""
    rows = csv.DictReader(command("export", file).stdout.splitlines())
    stored = Counter((row["machine"], row["signal"]) for row in rows)
    wanted = (("a", "temp"), ("b", "u_l1"), ("a", "mine"), ("cnc-1", "p"), ("compressor-1", "pressure"))
    edge = sum(count for (machine, _), count in stored.items() if machine == "robot-1")
    return all(stored[each] > 2 for each in wanted) and edge > 5
