"""A broker that goes while an edge is just coming: the edge tries again, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from simulators.errors import SimulatorError
from simulators.faces.broker import Address
from simulators.sparkplug import link, run
from simulators.sparkplug.book import Book
from simulators.sparkplug.cell import PLAIN, open_cell
from simulators.sparkplug.edge import Edge, Place
from simulators.sparkplug.habits import Habits
from simulators.truth import open_truth

ACCEPTED = bytes((0x20, 2, 0, 0))  # CONNACK, OASIS MQTT 3.1.1, 3.2
SUBSCRIBE = 0x82


@asynccontextmanager
async def broker(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any],
) -> AsyncIterator[Address]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield Address("127.0.0.1", server.sockets[0].getsockname()[1])


def edge_at(address: Address, book: Book) -> Edge:
    return Edge(Place(address), open_cell(1, 1, 2, PLAIN, 0), Habits(), book)


async def packet(reader: asyncio.StreamReader) -> int:
    """The first byte of the next packet, all of which is shorter than 128 bytes or has a length of two bytes."""
    kind, length = await reader.readexactly(2)
    if length & 0x80:
        length = length & 0x7F | (await reader.readexactly(1))[0] << 7
    await reader.readexactly(length)
    return kind


async def test_it_goes_before_it_has_answered_the_subscription(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CONNACK, and then the end: no error of the socket may end the run of an edge that only has to come again."""
    kinds = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await packet(reader)
        writer.write(ACCEPTED)
        kinds.append(await packet(reader))
        writer.close()

    monkeypatch.setattr(run, "AGAIN", 0)
    async with broker(serve) as address:
        with open_truth(tmp_path / "truth.jsonl") as truth:
            edge = edge_at(address, Book(truth))
            with pytest.raises(SimulatorError, match="does not answer"):
                await edge.connect()
            await run.again(edge)
    assert kinds == [SUBSCRIBE, SUBSCRIBE]
    assert not edge.born


async def test_who_is_not_accepted_in_time_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the broker accepts it later, under the name that the next connection has."""
    monkeypatch.setattr(link, "ANSWER", 0.05)
    ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await packet(reader)
            await reader.read()
        ended.set_result(True)
        writer.close()

    async with broker(serve) as address:
        with pytest.raises(SimulatorError, match="does not answer"):
            await link.open_link(address, "plant-cell", None, lambda _topic, _payload: None)
        async with asyncio.timeout(60):
            assert await ended
