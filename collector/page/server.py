"""Serves the page inside the collector's own event loop, as a guest: no signal handlers, no logging set-up, no exit.

The port is bound here and not by the server, so that the real address is known, a taken port can be passed by, and
readers that come early wait in the socket's queue instead of being refused.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from adapters.errors import Misconfigured

TRIES: Final = 20
STOPPING: Final = 2.0  # s


@asynccontextmanager
async def serve_page(
    app: Starlette, host: str = "127.0.0.1", port: int = 8080, *, tries: int = TRIES
) -> AsyncIterator[str]:
    """Serve until left; yields the URL. Port 0 takes any free one, else the first free of `tries` from `port` on.

    Raises Misconfigured when none of them is free. Leaving takes at most STOPPING seconds, open pages or not.
    It is a task group: errors, also those of the body, come out in an ExceptionGroup.
    """
    listener = _listen(host, port, tries)
    server = _Guest(_config(app))
    with listener:
        async with app.router.lifespan_context(app), asyncio.TaskGroup() as group:
            serving = group.create_task(server.serve(sockets=[listener]), name="page-server")
            try:
                yield _url(listener)
            finally:
                await _stop(app, server, serving)


async def _stop(app: Starlette, server: uvicorn.Server, serving: asyncio.Task[None]) -> None:
    """Streams end first, then the server; what still hangs after that is cut."""
    app.state.feed.close()
    server.should_exit = True
    await asyncio.wait([serving], timeout=STOPPING / 2)
    for connection in tuple(server.server_state.connections):
        connection.transport.abort()
    await asyncio.wait([serving], timeout=STOPPING / 2)


def _config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=128,
        timeout_graceful_shutdown=1,
    )


class _Guest(uvicorn.Server):
    """A server that leaves the signals to the collector, who must end its journal before anything else."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class _Connection(H11Protocol):
    """Lets the application cut a connection: a reader that has stopped reading would keep its buffers for ever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        inner = self.app

        async def app(scope: Scope, receive: Receive, send: Send) -> Any:
            scope["collector.abort"] = transport.abort
            return await inner(scope, receive, send)

        self.app = app


def _listen(host: str, port: int, tries: int) -> socket.socket:
    """A bound and listening socket."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    last = port + (tries if port else 1)
    for candidate in range(port, min(last, 65536)):
        try:
            return socket.create_server((host.strip("[]"), candidate), family=family, backlog=128)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise Misconfigured(f"the page cannot listen on {host}: {error.strerror}") from error
    raise Misconfigured(
        f"the page found no free port from {port} to {last - 1} on {host}: choose another one"
    )


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
