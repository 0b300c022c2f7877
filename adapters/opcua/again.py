"""When a server is asked again: what failed after a pause, and everything later where it says that it is too busy.

A server that has no time for a question still publishes: ending the session for it would lose what only the session has.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from asyncua.ua.uaerrors import UaError

from adapters.clock import Clock
from adapters.opcua.errors import name_of
from adapters.opcua.items import Items

BUSY: Final = (
    "BadServerTooBusy",
    "BadTcpServerTooBusy",
    "BadResourceUnavailable",
    "BadTcpNotEnoughResources",
)
_LEFT_ALONE: Final = 5.0  # s


async def patiently(job: Callable[[], Awaitable[None]], clock: Clock) -> None:
    """The job, begun anew some seconds after it ended because the server was too busy. Raises whatever else it raises."""
    while True:
        try:
            return await job()
        except UaError as error:
            if name_of(error) not in BUSY:
                raise
        await clock.sleep(_LEFT_ALONE)


async def pause(items: Items, clock: Clock, seconds: float, at_once: float) -> float:
    """So long, or until nodes have gone or come; the pause that counts."""
    left = seconds
    while left > 0:
        await clock.sleep(min(left, at_once))
        left -= at_once
        if items.vanished.told:
            items.vanished.expel(items.all)
            return at_once
        if items.events.model.changed and items.events.model.due(clock.monotonic()):
            break
    return seconds
