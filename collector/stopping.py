"""How the collector is asked to end: once, and it ends in order; twice, and it ends at once, which is safe too.

Safe, because what is acknowledged is in the buffer at any moment: an end without draining is a crash that was announced.
"""

from __future__ import annotations

import asyncio


class Stop(asyncio.Event):
    """Set: stop in order. `at_once`: the sinks get no time to drain."""

    def __init__(self) -> None:
        super().__init__()
        self.at_once = asyncio.Event()

    def ask(self) -> None:
        """What a signal calls: the second one means it."""
        if self.is_set():
            self.at_once.set()
        self.set()


def at_once(stop: asyncio.Event) -> asyncio.Event:
    """The second wish of a stop, if it has one; else one that never comes."""
    return stop.at_once if isinstance(stop, Stop) else asyncio.Event()
