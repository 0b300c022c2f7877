"""`collector doctor`: what it finds at servers with one thing wrong each, in order, and that it leaves nothing behind."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from collector.__main__ import main
from tests.collector.test_process import Background
from tests.line.harness import eventually
from tests.mqtt.peers import Mosquitto
from tests.opcua import encoder as enc
from tests.opcua.encoder import DataValue, Scalar
from tests.opcua.real import RealServer
from tests.opcua.scripted import ScriptedServer, Variable
from tests.servers import free_port

SINK = {"type": "influxdb", "url": "http://127.0.0.1:1", "org": "o", "bucket": "b", "token": "t"}
NODE = "nsu=urn:test:machine;s="


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    background = Background()
    made = ScriptedServer()
    made.space.variables["a"] = Variable()
    background.do(made.start())
    yield made
    background.do(made.stop())
    background.close()


def configured(folder: Path, source: dict[str, Any], read: dict[str, Any]) -> Path:
    """A configuration with one source, `plc`."""
    file = folder / "collector.yaml"
    machines = [{"id": "m", "read": [{"source": "plc", **read}]}]
    whole = {"version": 1, "state": str(folder / "state"), "sources": {"plc": source}, "machines": machines}
    file.write_text(json.dumps({**whole, "sinks": [SINK]}))
    return file


def examined(file: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[dict[str, str]]]:
    code = main(["doctor", "plc", "--json", "--config", str(file)])
    return code, json.loads(capsys.readouterr().out)["findings"]


def opcua(url: str, *names: str, **keys: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    signals = [{"name": name, "node": NODE + name} for name in names]
    return {"type": "opcua", "url": url, "security": "none", **keys}, {"signals": signals}


def told(broker: Mosquitto, what: dict[str, float]) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    client.publish("cell/press", json.dumps(what), qos=1).wait_for_publish(60)
    client.disconnect()
    client.loop_stop()


def speak(broker: Mosquitto, over: threading.Event) -> None:
    """Again and again: nobody knows when somebody listens."""
    while not over.wait(0.2):
        told(broker, {"load": 1.0, "ts": time.time() + 300})


def test_a_machine_that_is_well(
    server: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = examined(configured(tmp_path, *opcua(server.url, "a")), capsys)
    assert code == 0
    steps = list(dict.fromkeys(finding["where"] for finding in found))
    assert steps == [
        "name",
        "port",
        "endpoints",
        "ours",
        "sign-in",
        "server",
        "clock",
        "limits",
        "nodes",
        "values",
    ]
    assert {finding["level"] for finding in found} <= {"ok", "warning"}
    requests = server.record.requests
    assert requests.count("CreateSubscription") == requests.count("DeleteSubscriptions") == 1
    eventually(lambda: requests[-1].startswith("Close"), "the server has read the farewell")
    assert requests[-1] in ("CloseSession", "CloseSecureChannel")
    assert not {"Write", "Call"} & set(requests)


def test_nodes_that_are_not_well_are_named_and_the_rest_is_examined(
    server: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.space.variables["secret"] = Variable(
        value=DataValue(Scalar(11, 0.0), 0x801F0000), create=0x801F0000
    )
    code, found = examined(configured(tmp_path, *opcua(server.url, "a", "b", "secret")), capsys)
    assert code == 1
    wrong = [finding for finding in found if finding["level"] == "error"]
    assert [finding["where"] for finding in wrong] == ["nodes", "values"]
    assert "m/b" in wrong[0]["message"]
    assert "BadNodeIdUnknown" in wrong[0]["message"]
    assert "m/secret" in wrong[1]["message"]
    assert "a subscription of 1 items works" in found[-1]["message"]


def test_a_clock_that_is_an_hour_behind(
    server: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.time_ns()
    at = (began - 3600 * 10**9) // 100 * 100
    server.space.own[2258] = DataValue(Scalar(13, enc.ticks(at))).encode()
    server.space.own[24095] = DataValue(Scalar(7, 2)).encode()
    server.space.own[2277] = DataValue(Scalar(7, 2)).encode()
    code, found = examined(configured(tmp_path, *opcua(server.url, "a")), capsys)
    said = {finding["where"]: finding for finding in found if finding["level"] == "warning"}
    assert code == 0
    assert "s behind this computer's" in said["clock"]["message"]
    behind = re.search(r"[\d,.]+", said["clock"]["message"])
    assert behind
    rounded = 0.05
    took = (time.time_ns() - began) / 1e9
    assert 3600 - rounded <= float(behind[0].replace(",", "")) <= 3600 + took + rounded
    assert said["limits"]["message"] == "2 of 2 sessions are taken"


@pytest.mark.parametrize(
    ("source", "step"),
    [
        ({"type": "opcua", "url": "opc.tcp://127.0.0.1:{port}", "security": "none"}, "port"),
        ({"type": "opcua", "url": "opc.tcp://no-such-machine.invalid:4840", "security": "none"}, "name"),
        ({"type": "mqtt", "url": "mqtt://127.0.0.1:{port}"}, "port"),
    ],
)
def test_nobody_there(
    source: dict[str, str], step: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signal = {"name": "a", "node": NODE + "a"}
    read = (
        {"signals": [signal]}
        if source["type"] == "opcua"
        else {"topic": "t", "payload": {"type": "json"}, "signals": [{"name": "a", "value": "a"}]}
    )
    with socket.socket() as held:  # and nobody else may listen at this port either
        held.bind(("127.0.0.1", 0))
        source = {**source, "url": source["url"].replace("{port}", str(held.getsockname()[1]))}
        code, found = examined(configured(tmp_path, source, read), capsys)
    assert code == 1
    assert (found[-1]["level"], found[-1]["where"]) == ("error", step)
    assert found[-1]["hint"]


def test_from_a_stranger_to_a_user_who_may_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A machine that nobody trusts, then one with the wrong password, then one that is well: nothing else is changed."""
    real = RealServer(tmp_path / "machine")
    real.start(free_port())
    try:
        source, read = opcua(
            real.url, "load", security="sign_and_encrypt", username="reader", password="${file:word}"
        )
        read["signals"][0]["node"] = "nsu=urn:test:real;s=load"
        (tmp_path / "word").write_text("wrong")
        file = configured(tmp_path, source, read)
        code, found = examined(file, capsys)
        assert (code, found[-1]["where"], found[-1]["level"]) == (1, "theirs", "error")
        assert "collector trust plc" in found[-1]["hint"]
        assert real.users.seen == []
        assert main(["trust", "plc", "--yes", "--config", str(file)]) == 0
        capsys.readouterr()
        code, found = examined(file, capsys)
        assert (code, found[-1]["where"], found[-1]["level"]) == (1, "sign-in", "error")
        (tmp_path / "word").write_text("right")
        code, found = examined(file, capsys)
        assert code == 0
        assert any("signed in: SignAndEncrypt" in finding["message"] for finding in found)
        assert main(["trust", "plc", "--remove", "--config", str(file)]) == 0
        log = (tmp_path / "state" / "audit.log").read_text()
        assert [json.loads(line)["what"] for line in log.splitlines()] == ["trusted", "trusted no more"]
        assert "right" not in log
    finally:
        real.stop()


def test_a_broker_and_a_sender_whose_clock_is_ahead(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.mqtt.probe.LISTEN", 90.0)  # it ends with the first message
    background = Background()
    folder = tmp_path / "broker"
    folder.mkdir()
    broker = Mosquitto(folder)
    background.do(broker.start())
    try:
        payload = {"type": "json", "time": "ts"}
        read = {"topic": "cell/press", "payload": payload, "signals": [{"name": "load", "value": "load"}]}
        file = configured(tmp_path, {"type": "mqtt", "url": f"mqtt://127.0.0.1:{broker.port}"}, read)
        over = threading.Event()
        speaking = threading.Thread(target=speak, args=(broker, over))
        speaking.start()
        try:
            code, found = examined(file, capsys)
        finally:
            over.set()
            speaking.join()
    finally:
        background.do(broker.stop())
        background.close()
    assert code == 0
    steps = list(dict.fromkeys(finding["where"] for finding in found))
    assert steps == ["name", "port", "broker", "topics", "clock"]
    assert found[-1]["level"] == "warning"
    assert "ahead of this computer's clock" in found[-1]["message"]


def test_words_for_people_and_a_source_that_is_none(
    server: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = configured(tmp_path, *opcua(server.url, "a", "b"))
    assert main(["doctor", "--config", str(file)]) == 1
    said = capsys.readouterr()
    assert "● port" in said.out
    assert "✕ nodes" in said.out
    assert "→ check the NodeId" in said.out
    assert "plc: 1 problem (✕)" in said.err
    assert main(["doctor", "nobody", "--config", str(file)]) == 2
    assert "There are: plc" in capsys.readouterr().err
