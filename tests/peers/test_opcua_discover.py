"""A look around at OPC UA servers that are not ours; what comes of it is a configuration that loads, and a second look adds nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.clock import SystemClock
from adapters.discovery import Wishes, silent
from adapters.opcua.discover import discover
from adapters.opcua.security import Gate
from adapters.opcua.settings import OpcUaSource
from config.load import load
from config.writing import extend
from tests.peers.opcua import Server


@pytest.mark.parametrize(
    "server",
    [
        pytest.param(kind, marks=pytest.mark.xdist_group(f"peers-discover-{kind}"))
        for kind in ("asyncua", "python-opcua", "node-opcua")
    ],
    indirect=True,
)
async def test_what_foreign_servers_say(server: Server, tmp_path: Path) -> None:
    keys = {
        "type": "opcua",
        "url": f"opc.tcp://127.0.0.1:{server.port}/",
        "security": "none",
        "request_timeout": "60s",
    }
    gate = Gate("plc", OpcUaSource.model_validate(keys), str(tmp_path), SystemClock().wall_now)
    report = await discover(gate, "plc", keys, Wishes(watch=0.0, seconds=600.0), silent)
    names = {s["name"] for m in report.proposal.machines for read in m.reads for s in read.signals}
    assert {"load", "speed"} <= names
    assert report.data["cut"] == ""
    file = tmp_path / "c.yaml"
    extend(file, report.proposal, {})
    settings = load([file], env={}).settings
    assert settings is not None
    assert {c.signal.name for c in settings.signals()} == names
    before = file.read_bytes()
    report = await discover(gate, "plc", keys, Wishes(watch=0.0, seconds=600.0), silent)
    assert not extend(file, report.proposal, {}).changed
    assert file.read_bytes() == before
