"""A server of somebody else for a module of tests, by the parameter `server`: its kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.peers.opcua import Server


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(request.param, tmp_path_factory.mktemp("peer"))
    yield server
    server.peer.stop()
