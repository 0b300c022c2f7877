"""A bed for every row: afterwards nothing of ours is alive."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes import FakeClock
from tests.opcua.opened import opened
from tests.opcua.rows.bed import Bed


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(time.time_ns())


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    async for made in opened(Bed(tmp_path)):
        yield made


@pytest.fixture
async def still(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Bed]:
    """A bed in which time stands still for both sides until the test lets it pass."""
    async for made in opened(Bed(tmp_path, clock, clock)):
        yield made
