"""A server that stops listening leaves no socket behind, whoever comes in that very moment; and its port stays its own."""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
import sys
import warnings
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from simulators.doors import shut
from simulators.faults.wish import Wish
from simulators.proxy.server import open_proxy
from tests.simulators.test_faults import driven

holds = pytest.mark.skipif(sys.platform != "linux", reason="only there a port can be held without listening")


async def turned_away(turns: int) -> list[str]:
    """What is left open when a server is shut `turns` turns of the loop after somebody knocked."""
    came: list[asyncio.StreamWriter] = []
    with warnings.catch_warnings():  # what others have left is not ours
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    server = await asyncio.start_server(lambda _, writer: came.append(writer), "127.0.0.1", 0)
    with (
        socket.create_connection(server.sockets[0].getsockname()),
        warnings.catch_warnings(record=True) as said,
    ):
        warnings.simplefilter("always", ResourceWarning)
        for _ in range(turns):
            await asyncio.sleep(0)
        await shut(server)
        for _ in range(5):
            await asyncio.sleep(0)
        for writer in came:
            writer.transport.abort()
        await asyncio.sleep(0)
        del server
        gc.collect()
    return [str(warning.message) for warning in said]


@pytest.mark.parametrize("turns", range(6))
async def test_nobody_is_left_in_the_door(turns: int) -> None:
    assert await turned_away(turns) == []


def taken(port: int) -> bool:
    """Whether another program would be refused this port; who connects is refused anyway."""
    with socket.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect(("127.0.0.1", port))
    with socket.socket() as other:
        try:
            other.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


@holds
async def test_a_closed_door_keeps_its_port() -> None:
    async with open_proxy(("127.0.0.1", 1)) as proxy:
        for _ in range(2):
            await proxy.set_door("closed")
            assert taken(proxy.port)
            await proxy.set_door("open")
            socket.create_connection(("127.0.0.1", proxy.port)).close()
        await proxy.set_door("closed")


@holds
async def test_a_server_that_is_away_keeps_its_port(tmp_path: Path) -> None:
    """Who takes it meanwhile would end the run of all machines when the server is to come back."""
    async with driven(tmp_path, (("legacy", "l"),), faces={"l": "opcua"}) as (workshop, _):
        port = urlsplit(workshop.endpoints["l"]).port or 0
        await workshop.engine.start(Wish("l", "restart", seconds=60.0))
        assert taken(port)
        await workshop.engine.start(Wish("l", "reindex"))
        assert taken(port), "it is still away"
        await workshop.engine.reset()
        socket.create_connection(("127.0.0.1", port)).close()
        await workshop.engine.start(Wish("l", "restart", seconds=60.0))
