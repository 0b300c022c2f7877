"""What every part of a session needs: whom it talks to, how, and what time it is."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.clock import Clock
from adapters.opcua.channel import Channel
from adapters.opcua.settings import OpcUaSource
from adapters.opcua.subscription import Desk


@dataclass(frozen=True, slots=True)
class Peer:
    """One server, over one channel. name: of the source."""

    name: str
    settings: OpcUaSource
    channel: Channel
    desk: Desk
    clock: Clock
