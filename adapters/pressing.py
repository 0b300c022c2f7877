"""How an adapter says that its peer's window runs short: an event that also calls who waits for it among other things.

To wait for one of several asyncio events takes a task for each, made and cancelled with every commit; a call takes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


def _nobody() -> None: ...


class Pressing(asyncio.Event):
    """told: called whenever it is set, by the thread of the event loop. There is one who listens: the buffer's writer."""

    def __init__(self) -> None:
        super().__init__()
        self.told: Callable[[], None] = _nobody

    def set(self) -> None:
        super().set()
        self.told()
