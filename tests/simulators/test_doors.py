"""A server that stops listening leaves no socket behind, whoever comes in that very moment."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings

import pytest

from simulators.doors import shut


async def turned_away(turns: int) -> list[str]:
    """What is left open when a server is shut `turns` turns of the loop after somebody knocked."""
    came: list[asyncio.StreamWriter] = []
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
