"""What a session hands to the assembler, in the order of the wire: what arrived, and what is known to be missing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from adapters.opcua.columns import ticks_to_ns
from adapters.opcua.items import Item
from adapters.opcua.publishing import Arrival, Broken


class Missing(NamedTuple):
    """`lost` notifications that the server cannot send again, told by a message published at `published` (ns)."""

    lost: int
    published: int
    following: int = 0  # the number after them


class Renewed(NamedTuple):
    """The subscription is another one from here on; the server said `why` the old one ended."""

    subscription: int
    why: str
    received: int


class Silent(NamedTuple):
    """Items that cannot be read: a row without a value each, at our time."""

    items: tuple[Item, ...]
    received: int


Thing = Arrival | Broken | Missing | Silent | Renewed


def publish_time_ns(ticks: int) -> int:
    """A PublishTime as ns since 1970, 0 if there is none."""
    return int(ticks_to_ns(np.array([ticks], np.int64))[0])
