"""Peers of the whole line: started per test, on ports of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.influxdb.peers import Server, influxd, victoria_metrics
from tests.mqtt.peers import Mosquitto

Extra = Callable[..., Path]


def started(server: Server) -> Iterator[Server]:
    try:
        asyncio.run(server.start())
        yield server
    finally:  # also one that does not answer in time: its process would be another test's trouble
        asyncio.run(server.stop())


@pytest.fixture
def influx(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "influx").mkdir()
    yield from started(influxd(tmp_path / "influx"))


@pytest.fixture
def victoria(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "victoria").mkdir()
    yield from started(victoria_metrics(tmp_path / "victoria"))


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    (tmp_path / "broker").mkdir()
    broker = Mosquitto(
        tmp_path / "broker", ["max_queued_messages 0", "max_inflight_messages 100", "autosave_interval 1"]
    )
    try:
        asyncio.run(broker.start())
        yield broker
    finally:
        asyncio.run(broker.stop())


@pytest.fixture
def extra(tmp_path: Path) -> Extra:
    """A second configuration file: no page, these sinks, and whatever else."""

    def write(*sinks: Mapping[str, Any], **more: Any) -> Path:
        path = tmp_path / "extra.yaml"
        path.write_text(json.dumps({"version": 1, "page": "off", "sinks": list(sinks), **more}))
        return path

    return write


def v1(url: str) -> Mapping[str, Any]:
    return {"type": "influxdb", "name": "influx", "api": "v1", "url": url, "database": "shop", "create": True}


def v2(url: str) -> Mapping[str, Any]:
    return {
        "type": "influxdb",
        "name": "victoria",
        "api": "v2",
        "url": url,
        "org": "o",
        "bucket": "b",
        "token": "t",
    }


Sinks = Sequence[Mapping[str, Any]]
