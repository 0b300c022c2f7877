"""How a server here stops listening, and keeps its port for the time when it listens again."""

from __future__ import annotations

import asyncio
import socket
import sys


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


def kept(host: str, port: int) -> socket.socket | None:
    """Bound to the port and not listening: connections are refused, and no other program is given the port meanwhile.

    None where it cannot be had (systems other than Linux answer differently to who knocks at such a port).
    """
    if sys.platform != "linux":
        return None
    place = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # its own connections may still be ending
        place.bind((host, port))
    except OSError:
        place.close()
        return None
    return place
