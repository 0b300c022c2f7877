"""A source whose wire is a MemoryPeer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from adapters.base import Delivery, Finding
from adapters.clock import Clock, SystemClock
from adapters.memory.peer import Held, MemoryPeer
from pipelines.batch import Batch
from pipelines.stage import Gap, Refusal


class MemorySource:
    """Hands over what the peer holds; see MemoryPeer for the script. A new object continues where another one left."""

    def __init__(
        self,
        name: str,
        peer: MemoryPeer | None = None,
        *,
        machines: Sequence[str] = (),
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.machines = tuple(machines)
        self.peer = peer if peer is not None else MemoryPeer()
        self._clock = clock if clock is not None else SystemClock()

    @asynccontextmanager
    async def session(self, resume: bytes | None) -> AsyncIterator[MemorySession]:
        yield MemorySession(self.peer, self.peer.connect(), self._clock)

    async def probe(self) -> Sequence[Finding]:
        if self.peer.reachable:
            return [Finding("ok", self.name, "memory answers")]
        return [Finding("error", self.name, "memory does not answer", "Call restore() on the peer.")]


class MemorySession:
    """One connection to the peer: ends with NotConnected when it is cut or another one takes over."""

    def __init__(self, peer: MemoryPeer, connection: int, clock: Clock) -> None:
        self.redelivers = peer.redelivers
        self.facts = {"endpoint": "memory"}
        self._peer = peer
        self._connection = connection
        self._clock = clock

    async def __aiter__(self) -> AsyncIterator[Delivery]:
        while True:
            yield self._delivery(await self._peer.receive(self._connection))

    def _delivery(self, received: list[Held]) -> Delivery:
        refused = [self._refusal(held.message) for held in received if isinstance(held.message, bytes)]
        batches = [held.message for held in received if isinstance(held.message, Batch)]

        async def ack() -> None:
            self._peer.acknowledge(self._connection, received)

        return Delivery(
            batches=batches,
            decoded=_decoded(received),
            refused=refused,
            gaps=[held.message for held in received if isinstance(held.message, Gap)],
            ack=ack,
        )

    def _refusal(self, raw: bytes) -> Refusal:
        return Refusal("memory", "Not a batch: send a Batch to the peer.", raw[:65536], self._clock.now())


def _decoded(received: Sequence[Held]) -> int:
    """Counted from the messages, as a decoder would, and not from what becomes of them."""
    return sum(
        len(held.message) if isinstance(held.message, Batch) else isinstance(held.message, bytes)
        for held in received
    )
