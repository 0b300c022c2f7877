"""A mosquitto for every test that asks for one, brokers that may be slow, and a client library whose time is ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from paho.mqtt import client

from adapters.mqtt import connection, dial, probe
from adapters.mqtt.sparkplug import primary
from simulators.sparkplug import link, run
from tests.mqtt.peers import Mosquitto
from tests.mqtt.taking import mosquitto

Later = Callable[[float], None]


@pytest.fixture(scope="package", autouse=True)
def patience_with_brokers() -> Iterator[None]:
    """A real broker is another process, which may stand still for seconds on a busy machine: whoever waits for it here, the
    product or the simulated edge, has patience. (A broker that is silent on purpose is met with limits of the test's own.)
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "HESITATION", 60.0)  # or 3.1.1 is spoken to a broker that understands 5
        patch.setattr(connection, "ANSWER", 60.0)
        patch.setattr(dial, "PATIENCE", 60.0)
        patch.setattr(primary, "PATIENCE", 60.0)  # or the socket is reset, and the broker speaks the will
        patch.setattr(link, "ANSWER", 60.0)
        patch.setattr(run, "FAREWELL", 60.0)
        patch.setattr(probe, "LISTEN", 0.2)  # most look at what the broker answers, and not at what it brings
        yield


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    async with mosquitto(tmp_path) as running:
        yield running


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """Lets seconds pass for the client library, without waiting for them."""
    real, passed = client.time_func, [0.0]
    monkeypatch.setattr(client, "time_func", lambda: real() + passed[0])

    def pass_by(seconds: float) -> None:
        passed[0] += seconds

    return pass_by
