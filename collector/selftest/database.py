"""A database of the self-test's own: takes InfluxDB's writes (v1 and v2) and keeps points by their key, as InfluxDB does.

It can go away, come back, and lose its answer after it has stored: the moments at which values are lost or doubled.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from collector.doors import kept, shut
from collector.selftest.lines import read_lines
from collector.selftest.truth import KIND

Key = tuple[str, str, int]
"""Machine, signal, time in ns."""


class Database:
    """`stored`: by machine, signal and time. lose_answers: how many of the next writes are stored and not answered."""

    def __init__(self) -> None:
        self.stored: dict[Key, Any] = {}
        self.port = 0
        self.lose_answers = 0
        self._server: asyncio.Server | None = None
        self._place: socket.socket | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=2**24)
        self.port = self._server.sockets[0].getsockname()[1]
        self.let_go()

    async def stop(self) -> None:
        """Refuses connections and cuts those that are open, in the middle of a request if need be. Its port stays its own."""
        if self._server is not None:
            await shut(self._server)
            self._place = kept(self.port)
            for writer in tuple(self._open):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    def let_go(self) -> None:
        """Of a port at which nobody listens."""
        if self._place is not None:
            self._place.close()
            self._place = None

    def of(self, machine: str) -> Mapping[tuple[str, int], Any]:
        return {(signal, at): value for (owner, signal, at), value in self.stored.items() if owner == machine}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while (request := await _request(reader)) is not None:
                status, body = self._answer(*request)
                if status == 204 and self.lose_answers and "/write" in request[0]:
                    self.lose_answers -= 1
                    break
                words = "No Content" if status == 204 else "Answer"
                writer.write(
                    f"HTTP/1.1 {status} {words}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
                )
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    def _answer(self, path: str, body: bytes) -> tuple[int, bytes]:
        if path.startswith(("/write", "/api/v2/write")):
            return self._write(body)
        if path.startswith("/ping"):
            return 204, b""
        return 200, b'{"results": [{}]}'

    def _write(self, body: bytes) -> tuple[int, bytes]:
        """All lines or none. What the collector says beside the values (quality, gaps, itself) is taken and not kept."""
        try:
            lines = list(read_lines(body.decode()))
        except ValueError as error:
            return 400, json.dumps({"error": str(error)}).encode()
        for line in lines:
            if line.measurement == KIND:
                machine = line.tags.get("machine", "")
                self.stored.update({(machine, name, line.at): value for name, value in line.fields.items()})
        return 204, b""


async def _request(reader: asyncio.StreamReader) -> tuple[str, bytes] | None:
    first = await reader.readline()
    if not first:
        return None
    headers: dict[str, str] = {}
    while line := (await reader.readline()).decode().strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    if headers.get("content-encoding") == "gzip":
        try:
            body = gzip.decompress(body)
        except (OSError, zlib.error, EOFError):
            body = b"\xff"  # no text: refused like any other request that cannot be read
    return first.decode().split(" ")[1], body


@asynccontextmanager
async def database() -> AsyncIterator[Database]:
    """Running on a free port of this computer."""
    store = Database()
    await store.start()
    try:
        yield store
    finally:
        await store.stop()
        store.let_go()
