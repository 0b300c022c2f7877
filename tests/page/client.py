"""Raw HTTP over asyncio: a test of headers must be able to send any header."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


async def ask(url: str, path: str = "/", *, method: str = "GET", **headers: str) -> Answer:
    """One request with exactly these headers (underscores become dashes); Host as given or as it should be."""
    host = urlsplit(url)
    named = {"Host": host.netloc} | {name.replace("_", "-"): value for name, value in headers.items()}
    return await send(
        url, f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())
    )


async def send(url: str, *lines: str) -> Answer:
    reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
    try:
        writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1"))
        async with asyncio.timeout(90):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
        await writer.wait_closed()
    first, *rest = head.decode("latin-1").split("\r\n")
    fields = (line.split(": ", 1) for line in rest)
    return Answer(int(first.split()[1]), {name.lower(): value for name, value in fields}, body)


class Stream:
    """An open event stream."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.reader = reader

    async def event(self) -> tuple[str, dict[str, Any]]:
        """The next event; raises IncompleteReadError when the stream has ended."""
        async with asyncio.timeout(90):
            while True:
                line = (await self.reader.readuntil(b"\n")).decode().strip()
                if line.startswith("event: "):
                    name = line[7:]
                if line.startswith("data: "):
                    return name, json.loads(line[6:])

    async def news(self) -> tuple[str, dict[str, Any]]:
        """The next event that says something: a word that the collector is alive comes whenever nothing new did for a while."""
        while (event := await self.event())[0] == "heartbeat":
            pass
        return event

    async def ended_well(self) -> bool:
        """Whether the server ends the stream with its last chunk (RFC 9112, 7.1) and not with a cut."""
        tail = b""
        async with asyncio.timeout(90):
            while piece := await self.reader.read(65536):
                tail = (tail + piece)[-5:]
        return tail == b"0\r\n\r\n"


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[Stream]:
    host = urlsplit(url)
    reader, writer = await asyncio.open_connection(host.hostname, host.port, limit=2**24)
    try:
        writer.write(f"GET /api/events HTTP/1.1\r\nHost: {host.netloc}\r\n\r\n".encode())
        yield Stream(reader)
    finally:
        writer.close()
        await writer.wait_closed()
