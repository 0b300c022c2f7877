"""One connection through the proxy: two directions, each a reader, a delay line and a writer.

Reader and writer are two tasks, because latency is not slowness: bytes under way must not keep the next ones from
setting out. The line is bounded, so that a stalled peer is felt by the sender as back-pressure and not by our memory.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Literal, NamedTuple

from simulators.proxy.way import Direction, Way

CHUNK: Final = 16_384
LINE: Final = 256  # chunks under way per direction and connection: 4 MiB
GRACE_S: Final = (
    1.0  # what still comes after our FIN is taken for so long; an unread byte would turn it into a RST
)
LINGER_0: Final = struct.pack("ii", 1, 0)

How = Literal["cut", "reset"]
Side = Literal["client", "server", "both"]
Tee = Callable[[Direction, int, bytes], None]


class Parcel(NamedTuple):
    """Bytes under way and the moment they arrive; b"" is FIN, None is RST."""

    due: float
    content: bytes | None


class Stream(NamedTuple):
    """One of the two sockets."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def abort(self) -> None:
        """RST: what the peer has not read of our side may be lost, as with a machine that was switched off."""
        link = self.writer.get_extra_info("socket")
        if link is not None and not self.writer.is_closing():
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
        self.writer.transport.abort()

    def finish(self) -> None:
        """FIN, once: the other direction stays open. Who has thrown us out already hears of no end."""
        if not self.writer.is_closing() and self.writer.can_write_eof():
            with suppress(OSError):
                self.writer.write_eof()


class Link:
    """A connection. `run` returns when it is over; `end` ends it from outside."""

    def __init__(
        self, number: int, client: Stream, server: Stream, ways: dict[Direction, Way], tee: Tee | None
    ) -> None:
        self.number = number
        self._sides = {"client": client, "server": server}
        self._tee = tee
        self._over = asyncio.Event()
        self._severed = False
        self._flows = [
            _Flow(self, "up", ways["up"], client, server),
            _Flow(self, "down", ways["down"], server, client),
        ]

    @property
    def severed(self) -> bool:
        """An end was announced to a side: nothing passes any more."""
        return self._severed

    async def run(self) -> None:
        """Until both sides have ended, or `end`."""
        for stream in self._sides.values():
            stream.writer.transport.set_write_buffer_limits(0)
        async with asyncio.TaskGroup() as group:
            work = [group.create_task(part) for flow in self._flows for part in (flow.read(), flow.write())]
            await self._over.wait()
            for task in work:
                task.cancel()
        for stream in self._sides.values():
            stream.writer.transport.abort()

    def end(self, how: How, side: Side = "both") -> None:
        """FIN or RST now. To one side only, the other one is left in the belief that all is well."""
        self._severed = True
        for name, stream in self._sides.items():
            if side in (name, "both"):
                (stream.abort if how == "reset" else stream.finish)()
        if how == "reset" and side == "both":
            self._over.set()
        elif side == "both":
            asyncio.get_running_loop().call_later(GRACE_S, self._over.set)

    def seen(self, direction: Direction, chunk: bytes) -> None:
        if self._tee is not None:
            self._tee(direction, self.number, chunk)

    def flow_ended(self) -> None:
        if all(flow.ended for flow in self._flows):
            self._over.set()


class _Flow:
    """One direction of one link."""

    def __init__(self, link: Link, direction: Direction, way: Way, source: Stream, sink: Stream) -> None:
        self._link, self._direction, self._way = link, direction, way
        self._source, self._sink = source, sink
        self._line: asyncio.Queue[Parcel] = asyncio.Queue(LINE)
        self._delivered = 0
        self._ready = 0.0  # when the narrow band is free again
        self._spoilt = False
        self.ended = False

    async def read(self) -> None:
        """Take what the sender says, into the delay line."""
        loop = asyncio.get_running_loop()
        content: bytes | None = b"?"
        while content:
            content = await self._chunk()
            self._way.counts.received += len(content or b"")
            if content:
                self._link.seen(self._direction, content)
            await self._line.put(Parcel(loop.time() + self._way.delay(), content))

    async def _chunk(self) -> bytes | None:
        try:
            return await self._source.reader.read(CHUNK)
        except ConnectionError:
            return None

    async def write(self) -> None:
        """Deliver what is due, as far as the faults allow."""
        content: bytes | None = b"?"
        while content:
            due, content = await self._line.get()
            await _until(due)
            try:
                await self._pass(content)
            except ConnectionError:  # the receiver is gone: what a router would tell the sender
                self._link.end("reset")
        self.ended = True
        self._link.flow_ended()

    async def _pass(self, content: bytes | None) -> None:
        if not content:
            await self._way.free()
            self._pass_end(content)
        rest = content or b""
        while rest:
            part = rest[: self._way.portion()]
            rest = rest[len(part) :]
            await self._paced(len(part))
            await self._way.free()
            await self._deliver(part)
            if rest and self._way.faults.slice:
                await asyncio.sleep(self._way.faults.pause)

    def _pass_end(self, content: bytes | None) -> None:
        if self._link.severed or self._way.faults.blackhole:
            return
        if content is None:
            self._link.end("reset")
        else:
            self._sink.finish()

    async def _paced(self, size: int) -> None:
        if band := self._way.faults.bandwidth:
            self._ready = max(self._ready, asyncio.get_running_loop().time()) + size / band
            await _until(self._ready)

    async def _deliver(self, part: bytes) -> None:
        if self._link.severed or self._way.faults.blackhole:
            self._way.counts.swallowed += len(part)
            self._spoilt = True
            return
        if self._spoilt:
            self._link.end("reset")
            return
        how, room = self._limit()
        part = part if room is None else part[:room]
        if part:
            self._sink.writer.write(part)
            await self._sink.writer.drain()
        self._delivered += len(part)
        self._way.counts.delivered += len(part)
        if room is not None and len(part) == room:
            self._link.end(how)

    def _limit(self) -> tuple[How, int | None]:
        """How many bytes may still pass before the connection ends, and how it ends then."""
        cut, reset = self._way.faults.cut_at, self._way.faults.reset_at
        rooms = [
            (max(0, at - self._delivered), how)
            for at, how in ((reset, "reset"), (cut, "cut"))
            if at is not None
        ]
        if not rooms:
            return "reset", None
        room, how = min(rooms, key=lambda row: row[0])
        return ("reset" if how == "reset" else "cut"), room


async def _until(moment: float) -> None:
    delay = moment - asyncio.get_running_loop().time()
    if delay > 0:
        await asyncio.sleep(delay)
