"""A bed for every row: afterwards nothing of ours is alive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.base import GRACE
from tests.contracts.rig import Alive, eventually
from tests.fakes import FakeClock
from tests.opcua.rows.bed import Bed


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(time.time_ns())


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    async for made in _bed(Bed(tmp_path)):
        yield made


@pytest.fixture
async def still(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Bed]:
    """A bed in which time stands still for both sides until the test lets it pass."""
    async for made in _bed(Bed(tmp_path, clock, clock)):
        yield made


async def _bed(made: Bed) -> AsyncIterator[Bed]:
    alive = Alive()
    await made.server.start()
    yield made
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)
    await eventually(lambda: not made.server.connections, "every socket of ours is closed", GRACE)
    await made.server.stop()
    await alive.nothing_left(GRACE)
