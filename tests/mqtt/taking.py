"""What tests of a session do again and again: a broker of their own, values in, deliveries out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from adapters.base import Delivery, SourceSession
from adapters.mqtt.session import MqttSession
from tests.mqtt.peers import Mosquitto, Publisher


@asynccontextmanager
async def mosquitto(folder: Path, *lines: str, **options: Any) -> AsyncIterator[Mosquitto]:
    broker = Mosquitto(folder, lines, **options)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


def tick(session: MqttSession) -> None:
    """The connection looks at its keep-alive now, and not only when its timer says so."""
    connection = session._connection
    assert connection._timer is not None
    connection._timer.cancel()
    connection._tick()


async def take(session: SourceSession, values: int, *, acking: bool = True) -> list[Delivery]:
    """Deliveries until so many values came."""
    taken: list[Delivery] = []
    async with asyncio.timeout(90):
        while sum(delivery.decoded for delivery in taken) < values:
            delivery = await anext(aiter(session))
            taken.append(delivery)
            if acking:
                await delivery.ack()
    return taken


async def take_until(session: SourceSession, there: Callable[[Sequence[Delivery]], bool]) -> list[Delivery]:
    """Deliveries, acknowledged, until what came is what is waited for."""
    taken: list[Delivery] = []
    async with asyncio.timeout(90):
        while not there(taken):
            delivery = await anext(aiter(session))
            taken.append(delivery)
            await delivery.ack()
    return taken


def cells(deliveries: Sequence[Delivery]) -> list[tuple[int, int, Any]]:
    return [
        row
        for delivery in deliveries
        for batch in delivery.batches
        for row in zip(batch.points.tolist(), batch.at.tolist(), batch.values.tolist(), strict=True)
    ]


def last_checkpoint(deliveries: Sequence[Delivery]) -> bytes:
    return next(delivery.checkpoint for delivery in reversed(deliveries) if delivery.checkpoint)


async def send(port: int, *messages: tuple[str, bytes | str], **options: Any) -> None:
    publisher = Publisher(port)
    await publisher.send(*messages, **options)
    publisher.close()
