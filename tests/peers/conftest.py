"""A server of somebody else for the tests of this folder that change nothing but its values, by the parameter `server`: its kind."""

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


@pytest.fixture(scope="package")
def servers() -> Iterator[dict[str, Server]]:
    """Those that run, by kind: to start one takes seconds, and whatever was written into it is known here."""
    made: dict[str, Server] = {}
    yield made
    for server in made.values():
        server.peer.stop()


@pytest.fixture
def server(
    request: pytest.FixtureRequest, servers: dict[str, Server], tmp_path_factory: pytest.TempPathFactory
) -> Server:
    if request.param not in servers:
        servers[request.param] = Server(request.param, tmp_path_factory.mktemp("peer"))
    return servers[request.param]
