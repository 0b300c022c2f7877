"""How a server of ours stops listening.

The simulators have the same few lines (simulators/doors.py): neither imports the other.
"""

from __future__ import annotations

import asyncio
from typing import Final

TURNS: Final = 4
"""Of the loop, from the accepted socket to the task that serves it: two, and two more for the order within them."""


async def shut(server: asyncio.Server) -> None:
    """Listen no more; connections go on.

    Whoever was accepted in this very turn of the loop still becomes a connection, and whoever serves him has begun when this
    returns. asyncio's own `close` would leave his socket open with nobody who owns it: it is attached one turn later, and
    then the server refuses it.
    """
    loop = asyncio.get_running_loop()
    for door in server.sockets:
        loop.remove_reader(door.fileno())
    try:
        for _ in range(TURNS):
            await asyncio.sleep(0)
    finally:
        server.close()
