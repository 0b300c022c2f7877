"""How a server of ours stops listening, and keeps its port for the time when it listens again.

The simulators have the same few lines (simulators/doors.py): neither imports the other.
"""

from __future__ import annotations

import asyncio
import socket
import sys
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


def kept(port: int) -> socket.socket | None:
    """Bound to this port of 127.0.0.1 and not listening: connections are refused, and no other program is given the port.

    None where it cannot be had (systems other than Linux answer differently to who knocks at such a port).
    """
    if sys.platform != "linux":
        return None
    place = socket.socket()
    try:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # its own connections may still be ending
        place.bind(("127.0.0.1", port))
    except OSError:
        place.close()
        return None
    return place
