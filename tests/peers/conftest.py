"""A server of somebody else for a module of tests, by the parameter `server`: its kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.opcua import Server

HERE = Path(__file__).parent
LIMIT = 900
"""s for a test with the start of its server: some read their address space from XML first, on a machine that is slow today."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LIMIT))


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(request.param, tmp_path_factory.mktemp("peer"))
    yield server
    server.peer.stop()
