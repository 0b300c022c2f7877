"""A process that stood still for a while (paused, asleep, held up by a disk) takes nobody for silent who was not."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest

from adapters import awake
from adapters.awake import patient
from tests.contracts.rig import eventually, leap
from tests.mqtt.peers import NUMBERS, Shop
from tests.mqtt.scripted.broker import scripted
from tests.mqtt.scripted.codec import PINGREQ
from tests.mqtt.taking import take

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture(autouse=True)
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awake, "STEP", 0.02)


def stand_still(seconds: float) -> None:
    time.sleep(seconds)


async def test_an_answer_that_came_meanwhile_is_read(pair: Pair) -> None:
    ours, theirs = pair
    loop = asyncio.get_running_loop()
    loop.call_soon(theirs.send, b"x")
    loop.call_soon(leap, 100.0)
    async with patient(60.0):
        assert await loop.sock_recv(ours, 1) == b"x"


async def test_a_peer_that_stood_still_with_us_gets_its_time(pair: Pair) -> None:
    """As in every test whose peer lives in the same loop, and as two virtual machines on one computer."""
    ours, theirs = pair
    loop = asyncio.get_running_loop()
    loop.call_soon(stand_still, 1.0)
    loop.call_later(0.1, lambda: loop.call_later(0.1, theirs.send, b"x"))
    async with patient(0.8):
        assert await loop.sock_recv(ours, 1) == b"x"


async def test_who_never_answers_is_waited_for_so_long_and_no_longer(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    with pytest.raises(TimeoutError):
        async with patient(0.1):
            await loop.sock_recv(pair[0], 1)
    assert loop.time() - begun >= 0.09


async def test_a_cancellation_is_none_of_its_business() -> None:
    async def wait() -> None:
        async with patient(60):
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
    assert task.cancelled()


async def test_a_connection_outlives_it() -> None:
    """M10: 1.5 keep-alives of silence are the end of a connection; time in which nobody here looked is no silence."""
    async with (
        scripted() as broker,
        Shop(broker.port).source(NUMBERS, keep_alive="1s").session(None) as session,
    ):
        link = await broker.link()
        await link.subscribes(2)
        await take(session, 0)
        stand_still(1.6)
        await eventually(lambda: bool(link.seen(PINGREQ)), "it asks before it judges")
        link.publish("shop/m1/a", b"7", mid=1)
        assert sum(delivery.decoded for delivery in await take(session, 1)) == 1
