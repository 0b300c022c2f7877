"""`collector discover … --write`, and what it wrote collects, without an edit: machines with security, users, structures, companion types."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.base import Bench
from adapters.clock import SystemClock
from adapters.opcua.certificate import own_certificate
from adapters.opcua.channel import Channel
from collector.__main__ import main
from config.load import load
from pipelines.registry import Registry
from tests.contracts.rig import eventually
from tests.contracts.source import Taker, conserved
from tests.peers import found
from tests.peers.found import Peer
from tests.servers import free_port

TOOL = {
    "Tool.Number": 7,
    "Tool.At.X": 1.5,
    "Tool.At.Y": -2.0,
    "Tool.Wear[0]": 0.5,
    "Tool.Wear[1]": 0.25,
    "Tool.Note": "mill",
}
POSITION = {"position.ActPos": 1.5, "position.CmdPos": 2.5, "position.RemDist": -1.0}
JOBS = {
    "jobs[0].JobOrderID": "J-1",
    "jobs[0].Priority": 3,
    "jobs[0].JobOrderParameters[0].ID": "speed",
    "jobs[0].JobOrderParameters[0].Value": 12.5,
    "jobs[1].JobOrderID": "J-2",
}
"""Of ISA-95 job control: an array of structures with optional fields, arrays of structures and values of any type in them."""

EXPECTED: dict[str, dict[str, Any]] = {
    "asyncua": TOOL,
    "python-opcua": TOOL,
    "node-opcua": {**POSITION, **JOBS, "span.Low": 0.0, "span.High": 250.0},
}
KINDS = [pytest.param(kind, marks=pytest.mark.xdist_group(f"peers-secured-{kind}")) for kind in EXPECTED]


def command(kind: str, port: int, folder: Path) -> list[str]:
    if kind == "node-opcua":
        return [*found.node("secured_node_opcua.js"), str(port), str(folder)]
    own = own_certificate(str(folder), None, None)
    certificate, key = folder / "server.der", folder / "key.der"
    certificate.write_bytes(own.certificate)
    key.write_bytes(own.key)
    secured = [str(port), str(certificate), str(key), own.application_uri]
    if kind == "python-opcua":
        return [*found.python("structures_python_opcua.py"), *secured]
    return [sys.executable, str(found.HERE / "servers" / "secured_asyncua.py"), *secured]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer may take a minute: `collector discover` has no word for it, and how slow a machine is today decides nothing."""
    made = Channel.__init__

    def patient(channel: Channel, url: str, timeout: float, *more: Any) -> None:
        made(channel, url, max(timeout, 60.0), *more)

    monkeypatch.setattr(Channel, "__init__", patient)


@pytest.fixture(params=KINDS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """(which server, its address)."""
    port, folder = free_port(), tmp_path / "machine"
    folder.mkdir()
    peer = Peer(command(request.param, port, folder), tmp_path / "peer.log")
    yield request.param, f"opc.tcp://127.0.0.1:{port}/"
    peer.stop()


def discover(url: str, file: Path, password: str) -> int:
    """The exit code of `collector discover`, for somebody who trusts this machine."""
    word = file.parent / "word"
    word.write_text(password)
    entrance = ["--username", "reader", "--password-file", str(word), "--yes"]
    bounds = ["--for", "0s", "--max-seconds", "600"]
    return main(["discover", url, "--write", str(file), *bounds, "--machine", "press", *entrance])


def discovered(url: str, folder: Path) -> Path:
    """The configuration that `collector discover` writes; it lets nobody in who should not be."""
    file = folder / "collector.yaml"
    folder.mkdir()
    assert discover(url, file, "wrong") != 0
    assert not file.exists()
    assert discover(url, file, "right") == 0
    return file


async def collected(file: Path, wanted: int) -> dict[str, Any]:
    """The first values by signal, as the written configuration has them."""
    settings = load([file], env={}).settings
    assert settings is not None
    registry = Registry()
    bench = Bench(registry=registry, clock=SystemClock(), state_dir=str(settings.state))
    ((name, source),) = settings.sources.items()
    taker = Taker(registry)
    task = asyncio.get_running_loop().create_task(
        taker.run(source.build(name, settings.readings(name), bench))
    )
    await eventually(lambda: taker.error is not None or len(taker.rows) >= wanted, "the values")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert taker.error is None
    assert not taker.refused
    assert all(conserved(delivery) for delivery in taker.deliveries)
    return {row.signal: row.value for row in taker.rows}


def test_what_discover_writes_collects(machine: tuple[str, str], tmp_path: Path) -> None:
    kind, url = machine
    file = discovered(url, tmp_path / "site")
    expected = {"Load": 12.5, **EXPECTED[kind]}
    values = asyncio.run(collected(file, len(expected)))
    by_end = {
        wanted: [v for name, v in values.items() if name.lower().endswith(wanted.lower())]
        for wanted in expected
    }
    assert by_end == {wanted: [value] for wanted, value in expected.items()}
