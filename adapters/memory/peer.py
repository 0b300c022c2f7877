"""The other end of a memory source: what a broker or a machine is to a real one.

It outlives the sources that connect to it, because redelivery after a crash is the peer's memory and not the source's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from adapters.errors import NotConnected
from pipelines.batch import Batch
from pipelines.stage import Gap

Message = Batch | Gap | bytes
"""A batch is a decodable message, bytes are an undecodable one, a gap is a loss that the peer owns up to."""


@dataclass(slots=True)
class Held:
    """A message that the peer keeps until it is acknowledged. `sent`: to the present connection."""

    message: Message
    sent: bool = False


class MemoryPeer:
    """Keeps messages until they are acknowledged, and hands out at most `window` of them unacknowledged.

    redelivers: False forgets a message as soon as it was handed out, as an OPC UA server does.
    """

    def __init__(self, window: int = 1000, *, redelivers: bool = True) -> None:
        self.window = window
        self.redelivers = redelivers
        self.reachable = True
        self._held: deque[Held] = deque()
        self._received: list[Held] = []
        self._changed = asyncio.Event()
        self._connection = 0

    def send(self, *messages: Message) -> None:
        self._held.extend(Held(message) for message in messages)
        self._changed.set()

    def cut(self) -> None:
        """The connection is lost now and the peer cannot be reached until `restore`. What was due is received already."""
        self._received = list(self._due())
        self.reachable = False
        self._changed.set()

    def restore(self) -> None:
        self.reachable = True

    def connect(self) -> int:
        """A new connection takes over, and everything unacknowledged is due again. Raises NotConnected."""
        if not self.reachable:
            raise NotConnected("memory: nobody answers", "Call restore() on the peer.")
        self._connection += 1
        self._received = []
        if not self.redelivers:
            self._held = deque(held for held in self._held if not held.sent)
        for held in self._held:
            held.sent = False
        self._changed.set()
        return self._connection

    async def receive(self, connection: int) -> list[Held]:
        """Everything that is due and fits in the window; waits for at least one. Raises NotConnected when cut."""
        while True:
            self._changed.clear()
            if due := self._received or list(self._due()):
                return self._hand_out(due)
            if not self.reachable or connection != self._connection:
                raise NotConnected("memory: connection lost")
            await self._changed.wait()

    def acknowledge(self, connection: int, messages: list[Held]) -> None:
        """Counts only on the connection that received them; afterwards they are gone for good."""
        if connection != self._connection or not self.reachable:
            return
        done = {id(held) for held in messages}
        self._held = deque(held for held in self._held if id(held) not in done)
        self._changed.set()

    def _due(self) -> Iterator[Held]:
        if not self.reachable:
            return
        room = self.window - sum(held.sent for held in self._held)
        for held in self._held:
            if room <= 0:
                return
            if not held.sent:
                room -= 1
                yield held

    def _hand_out(self, due: list[Held]) -> list[Held]:
        self._received = []
        for held in due:
            held.sent = True
        return due
