"""A channel that is closed in the very moment in which somebody knocks leaves nothing open, and ends whoever it let in."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from collector.control import FILE, serve_control


async def forever(_request: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
    await asyncio.Event().wait()
    yield {}


@pytest.mark.parametrize("turns", range(6))
async def test_knocked_and_closed(tmp_path: Path, turns: int) -> None:
    before = asyncio.all_tasks()
    with warnings.catch_warnings():  # what others have left open is not ours
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ResourceWarning)
        async with serve_control(tmp_path, {"forever": forever}):
            door = json.loads((tmp_path / FILE).read_text())
            knocking = socket.create_connection(("127.0.0.1", door["port"]))
            for _ in range(turns):
                await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)
        with knocking, suppress(ConnectionResetError):  # as the system answers who was never let in
            knocking.settimeout(90)
            assert knocking.recv(1) == b"", "nobody holds the line"
        gc.collect()
    assert [str(one.message) for one in said] == []
    assert asyncio.all_tasks() == before
