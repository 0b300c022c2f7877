"""Waiting without polling: for the journal to grow, and for the first of several things."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from adapters.base import Position
from adapters.clock import Clock


class Tail:
    """The last durable position, for any number of waiters. Advanced by the one who commits. values: that came since then."""

    def __init__(self, position: Position) -> None:
        self.position = position
        self.values = 0
        self._moved = asyncio.Event()
        self._wanted: dict[Callable[[], None], int] = {}

    def advance(self, position: Position, values: int) -> None:
        if position > self.position:
            self.position = position
            self.values += values
            # A fresh event for the next waiters: those of this one are released exactly once, whenever they run.
            moved, self._moved = self._moved, asyncio.Event()
            moved.set()
            for call, wanted in tuple(self._wanted.items()):
                if self.values >= wanted:
                    call()

    async def beyond(self, position: Position) -> None:
        """Returns when something behind `position` is durable."""
        while self.position <= position:
            await self._moved.wait()

    def tell(self, values: int, call: Callable[[], None]) -> Callable[[], object]:
        """Calls when so many values have come; returns what takes that back."""
        self._wanted[call] = values
        return lambda: self._wanted.pop(call, None)


class Patience:
    """Waiting for a time and for the tail at once, with neither a task nor a look per commit. `end`: from now on nobody waits."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._waiting: set[Callable[[], None]] = set()
        self._ended = False

    def end(self) -> None:
        self._ended = True
        for call in tuple(self._waiting):
            call()

    async def wait(self, seconds: float, tail: Tail, values: int) -> None:
        """Returns after so many seconds, and at once when `tail` has had so many values."""
        if seconds <= 0 or tail.values >= values or self._ended:
            return
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def end() -> None:
            if not over.done():
                over.set_result(None)

        taken_back = (self.clock.later(seconds, end), tail.tell(values, end))
        self._waiting.add(end)
        try:
            await over
        finally:
            self._waiting.discard(end)
            for take_back in taken_back:
                take_back()


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


class Turns:
    """One at a time per source, from the look at what is known of it until what came of that is durable: two who look at
    once, such as a session and a backfill, would each find the same value new, or give two values one key.
    """

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}

    def __call__(self, source: str) -> asyncio.Lock:
        """`async with journal.turn(source): …` around `identity` and `append`."""
        known = self._locks.get(source)
        return known if known is not None else self._locks.setdefault(source, asyncio.Lock())


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
