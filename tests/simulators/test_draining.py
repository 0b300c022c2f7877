"""Who is connected gets the last values however slow he is; who is gone is waited for as long as was said, and no longer."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from simulators.faces.opcua_server import DRAIN_STEP_S, drained
from tests.fakes import eventually


def subscription(session: int, *, owed: bool) -> Any:
    unacknowledged = {1: "a notification"} if owed else {}
    return SimpleNamespace(
        session_id=session,
        _triggered_datachanges={},
        _triggered_events={},
        _not_acknowledged_results=unacknowledged,
    )


def server(*subscriptions: Any, connected: int) -> Any:
    """One client, in this session, is connected."""
    clients = [SimpleNamespace(processor=SimpleNamespace(session=SimpleNamespace(session_id=connected)))]
    service = SimpleNamespace(subscriptions=dict(enumerate(subscriptions)))
    return SimpleNamespace(
        bserver=SimpleNamespace(clients=clients), iserver=SimpleNamespace(subscription_service=service)
    )


async def test_one_that_is_connected_and_slow_is_waited_for() -> None:
    slow = subscription(7, owed=True)
    async with asyncio.TaskGroup() as tasks:
        draining = tasks.create_task(drained(server(slow, connected=7), 0.0))
        for _ in range(5):
            await asyncio.sleep(DRAIN_STEP_S)
        assert not draining.done()
        slow._not_acknowledged_results.clear()
        await eventually(draining.done)


async def test_one_that_is_gone_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulators.faces.opcua_server.CONNECTED_S", 3600.0)
    async with asyncio.timeout(90):
        await drained(server(subscription(7, owed=False), subscription(3, owed=True), connected=7), 0.1)


async def test_nobody_is_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulators.faces.opcua_server.CONNECTED_S", 0.2)
    async with asyncio.timeout(90):
        await drained(server(subscription(7, owed=True), connected=7), 0.0)
