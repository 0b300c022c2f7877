"""How a server here stops listening."""

from __future__ import annotations

import asyncio


async def shut(server: asyncio.Server) -> None:
    """Listen no more; connections go on.

    Whoever was accepted in this very turn of the loop still becomes a connection. asyncio's own `close` would leave his
    socket open with nobody who owns it: it is attached one turn later, and then the server refuses it.
    """
    loop = asyncio.get_running_loop()
    for door in server.sockets:
        loop.remove_reader(door.fileno())
    await asyncio.sleep(0)
    server.close()
