"""Waiting without polling: for the journal to grow, and for the first of several things."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from adapters.base import Position


class Tail:
    """The last durable position, for any number of waiters. Advanced by the one who commits. values: that came since then."""

    def __init__(self, position: Position) -> None:
        self.position = position
        self.values = 0
        self._moved = asyncio.Event()

    def advance(self, position: Position, values: int) -> None:
        if position > self.position:
            self.position = position
            self.values += values
            # A fresh event for the next waiters: those of this one are released exactly once, whenever they run.
            moved, self._moved = self._moved, asyncio.Event()
            moved.set()

    async def beyond(self, position: Position) -> None:
        """Returns when something behind `position` is durable."""
        while self.position <= position:
            await self._moved.wait()

    async def holds(self, values: int) -> None:
        """Returns when so many values have come."""
        while self.values < values:
            await self._moved.wait()


class Space:
    """Waiting for space where one thread has both the waiters and those who make it. pressed: set while somebody waits."""

    def __init__(self, pressed: asyncio.Event) -> None:
        self._pressed, self._waiting = pressed, 0
        self._changed = asyncio.Event()

    def changed(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def wait(self, fits: Callable[[], bool]) -> None:
        """Returns when it fits, without letting anybody run between that answer and the caller."""
        self._waiting += 1
        try:
            while not fits():
                self._pressed.set()
                await self._changed.wait()
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._pressed.clear()


async def first_of(*waits: Coroutine[Any, Any, Any]) -> None:
    """Returns when the first of these is done; the others are cancelled and gone by then."""
    if len(waits) == 1:
        await waits[0]
        return
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(wait) for wait in waits]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
