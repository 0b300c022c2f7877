"""The jobs at work end when they are told to, whatever a library does with the word."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from collector import crew
from collector.crew import Crew
from collector.health import Health
from collector.supervisor import Job, Supervisor
from tests.fakes import FakeClock


async def test_a_job_that_did_not_hear_it_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a cancellation meets an answer and is swallowed: the end comes later, and not never."""
    monkeypatch.setattr(crew, "AGAIN", 0.01)
    heard: list[str] = []
    working = asyncio.Event()

    async def deaf(_connected: object) -> None:
        working.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        heard.append("once")
        await asyncio.Event().wait()

    health = Health()
    async with asyncio.timeout(90), asyncio.TaskGroup() as tasks:
        made = Crew(Supervisor(health, FakeClock()), health, tasks)
        made.begin([Job("plc", "source", deaf)])
        await working.wait()
        await made.end(["plc"])
    assert heard == ["once"]
