"""The memory source under the laws of a source."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import ClassVar

import pytest

from adapters.base import Source
from adapters.memory import MemoryPeer, MemorySource
from pipelines.batch import Flag, Kind, Point, batch_of
from pipelines.quality import BAD_NO_DATA
from pipelines.registry import Registry
from pipelines.stage import Gap
from tests.contracts.source import Emitted, SourceContract, SourceRig


class MemoryRig(SourceRig):
    bound = 40

    def __init__(self, *, redelivers: bool) -> None:
        self.registry = Registry([Point("mill", name, Kind.NUMBER) for name in ("load", "speed")])
        self.peer = MemoryPeer(window=self.bound, redelivers=redelivers)
        self._count = 0

    def source(self) -> Source:
        return MemorySource("mill", self.peer, machines=("mill",))

    def unreachable(self) -> Source:
        peer = MemoryPeer()
        peer.cut()
        return MemorySource("mill", peer)

    async def emit(self, n: int) -> Sequence[Emitted]:
        values = [self._next() for _ in range(n)]
        for point, at, value in values:
            self.peer.send(batch_of(Kind.NUMBER, [point], at, [value], received=at))
        return [Emitted(self.registry[point].name, at, value) for point, at, value in values]

    def _next(self) -> tuple[int, int, float]:
        self._count += 1
        return self._count % 2, self._count * 1000, float(self._count)

    async def cut(self) -> None:
        self.peer.cut()

    async def restore(self) -> None:
        self.peer.restore()

    async def garbage(self) -> int:
        self.peer.send(b"\xff", b"{")
        return 2

    async def blank(self) -> str:
        row = batch_of(Kind.NUMBER, [0], 1, [0.0], received=1, quality=BAD_NO_DATA, flags=Flag.NO_VALUE)
        self.peer.send(row)
        return "load"

    async def lose(self) -> bool:
        self.peer.send(Gap(1, 2, "server_queue_overflow"))
        return True

    async def stop(self) -> None:
        """Nothing runs."""


class TestMemorySource(SourceContract):
    CANNOT: ClassVar[Mapping[str, str]] = {
        "test_law_5_what_was_not_acknowledged_comes_again[forgets]": "this peer does not redeliver"
    }

    @pytest.fixture(params=[True, False], ids=["redelivers", "forgets"])
    async def rig(self, request: pytest.FixtureRequest) -> AsyncIterator[SourceRig]:
        rig = MemoryRig(redelivers=request.param)
        yield rig
        await rig.stop()
