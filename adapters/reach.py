"""Name and port: the two steps that come before every protocol, for whoever examines a connection."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from adapters.base import Finding

_PATIENCE: Final = 5.0
_SLOW: Final = 0.5  # s for a connection: more is told
_NAME: Final = "check the name, or write the address in numbers; this computer asks its own name server"
_PORT: Final = (
    "check that the machine is on and the port is right; a firewall in between may hold the connection up"
)


async def reach(host: str, port: int) -> AsyncIterator[Finding]:
    """The last finding is an error if nothing answers there."""
    try:
        async with asyncio.timeout(_PATIENCE):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        yield Finding("error", "name", f"{host}: no name server answers within {_PATIENCE:g} s", _NAME)
        return
    except OSError as error:
        yield Finding("error", "name", f"{host} is not known here ({error.strerror})", _NAME)
        return
    except UnicodeError:  # such as two dots in a row: no OSError
        yield Finding("error", "name", f"{host} cannot be a name", _NAME)
        return
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    yield Finding("ok", "name", host if addresses == [host] else f"{host} is {', '.join(addresses)}")
    yield await _knock(host, port)


async def _knock(host: str, port: int) -> Finding:
    began = time.perf_counter()
    try:
        async with asyncio.timeout(_PATIENCE):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Finding("error", "port", f"{host}:{port} does not answer within {_PATIENCE:g} s", _PORT)
    except OSError as error:
        words = "refuses the connection" if isinstance(error, ConnectionRefusedError) else error.strerror
        return Finding("error", "port", f"{host}:{port} {words}", _PORT)
    took = time.perf_counter() - began
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    if took > _SLOW:
        return Finding(
            "warning", "port", f"{host}:{port} answers, after {took:.1f} s", "look at the network in between"
        )
    return Finding("ok", "port", f"{host}:{port} answers ({took * 1000:.0f} ms)")
