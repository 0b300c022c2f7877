"""A bed that is open for a test; afterwards nothing of ours is alive, and every socket is closed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol, TypeVar

from tests.contracts.rig import LEAVING, Alive, eventually
from tests.opcua.scripted import ScriptedServer


class Openable(Protocol):
    server: ScriptedServer

    async def ended(self) -> None:
        """Whatever still reads is ended."""


B = TypeVar("B", bound=Openable)


async def opened(made: B) -> AsyncIterator[B]:
    """For a fixture: `async for made in opened(Bed()): yield made`."""
    alive = Alive()
    await made.server.start()
    yield made
    await made.ended()
    await eventually(lambda: not made.server.connections, "every socket of ours is closed")
    await made.server.stop()
    await alive.nothing_left(LEAVING)
