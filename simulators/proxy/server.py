"""The proxy itself: listens, dials the peer for everybody who connects, and can be told to misbehave while it runs."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal, get_args

from simulators.doors import kept, shut
from simulators.errors import SimulatorError
from simulators.proxy.link import How, Link, Side, Stream, Tee
from simulators.proxy.way import Direction, Way

Door = Literal["open", "closed", "reset", "silent"]
"""open; closed: nobody listens (connection refused); reset: accepted and thrown out; silent: accepted and never answered."""


class Proxy:
    """A listening proxy. `up` is client to server, `down` server to client. Built by `open_proxy`."""

    def __init__(self, host: str, to: tuple[str, int], tee: Tee | None = None, seed: int = 0) -> None:
        self.host, self.port, self.to = host, 0, to
        self.up, self.down = Way(seed), Way(seed + 1)
        self.door: Door = "open"
        self.connections = 0
        self.refused = 0
        self._tee = tee
        self._links: dict[int, Link] = {}
        self._waiting: dict[int, Stream] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None
        self._place: socket.socket | None = None  # holds the port while nobody listens

    @property
    def address(self) -> str:
        """`host:port` to connect to."""
        return f"{self.host}:{self.port}"

    @property
    def open_connections(self) -> int:
        return len(self._links)

    def both(self, **faults: Any) -> None:
        """Set faults in both directions; see `Faults`."""
        self.up.set(**faults)
        self.down.set(**faults)

    def clear(self) -> None:
        """A clean wire in both directions; the door stays as it is."""
        self.up.clear()
        self.down.clear()

    def cut(self, side: Side = "both") -> int:
        """End every connection by FIN now; returns how many."""
        return self._end("cut", side)

    def reset(self, side: Side = "both") -> int:
        """End every connection by RST now; returns how many."""
        return self._end("reset", side)

    def _end(self, how: How, side: Side) -> int:
        if side not in get_args(Side):
            raise SimulatorError(f"'{side}' is no side: client, server or both.")
        for link in tuple(self._links.values()):
            link.end(how, side)
        return len(self._links)

    async def set_door(self, door: Door) -> None:
        """How new connections are received; connections that are open stay. The port stays the same."""
        if door not in get_args(Door):
            raise SimulatorError(f"'{door}' is no state of the door: {', '.join(get_args(Door))}.")
        self.door = door
        if door == "closed":
            await self._shut()
        elif self._server is None:
            await self._listen()
        if door != "silent":
            for stream in tuple(self._waiting.values()):
                stream.abort()

    def report(self) -> Mapping[str, Any]:
        """What went through, as the stopped line says it."""
        ways: tuple[tuple[Direction, Way], ...] = (("up", self.up), ("down", self.down))
        passed: dict[str, Any] = {
            name: {
                "received": w.counts.received,
                "delivered": w.counts.delivered,
                "swallowed": w.counts.swallowed,
            }
            for name, w in ways
        }
        return {"connections": self.connections, "open": len(self._links), "refused": self.refused, **passed}

    async def start(self, port: int) -> None:
        """Listen; port 0 takes a free one."""
        self.port = port
        await self._listen()

    async def close(self) -> None:
        """Stop listening and end every connection."""
        await self._shut()
        self._leave_place()
        self.reset()
        for stream in tuple(self._waiting.values()):
            stream.abort()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _listen(self) -> None:
        self._leave_place()
        try:
            self._server = await asyncio.start_server(self._connected, self.host, self.port)
        except OSError as error:
            raise SimulatorError(
                f"cannot listen on {self.address} ({error}). Choose another --port."
            ) from error
        self.port = self._server.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await shut(server)
            self._place = kept(self.host, self.port)

    def _leave_place(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            place.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        client, number = Stream(reader, writer), self.connections + 1
        self.connections = number
        try:
            await self._received(number, client)
        except asyncio.CancelledError:
            return  # the proxy closes; to asyncio's server a cancelled handler would look like a crash
        finally:
            writer.transport.abort()

    async def _received(self, number: int, client: Stream) -> None:
        if self.door == "silent":
            await self._ignored(number, client)
            return
        server = None if self.door == "reset" else await self._dialled()
        if server is None:
            self.refused += 1
            client.abort()
            return
        link = Link(number, client, server, {"up": self.up, "down": self.down}, self._tee)
        self._links[number] = link
        try:
            await link.run()
        finally:
            del self._links[number]
            server.writer.transport.abort()

    async def _dialled(self) -> Stream | None:
        try:
            return Stream(*await asyncio.open_connection(*self.to))
        except OSError:
            return None

    async def _ignored(self, number: int, client: Stream) -> None:
        self._waiting[number] = client
        self.refused += 1
        try:
            while chunk := await client.reader.read(65_536):
                self.up.counts.received += len(chunk)
                self.up.counts.swallowed += len(chunk)
        except ConnectionError:
            return
        finally:
            del self._waiting[number]


@asynccontextmanager
async def open_proxy(
    to: tuple[str, int], *, host: str = "127.0.0.1", port: int = 0, tee: Tee | None = None, seed: int = 0
) -> AsyncIterator[Proxy]:
    """Listen on host:port (0: a free one) for the TCP service `to`; closes everything at the end.

    tee: called with ("up" or "down", number of the connection, bytes) as the sender sent them, before any fault.
    """
    proxy = Proxy(host, to, tee, seed)
    await proxy.start(port)
    try:
        yield proxy
    finally:
        await proxy.close()
