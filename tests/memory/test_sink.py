"""The memory sink under the laws of a sink."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from adapters.base import Sink
from adapters.memory import MemorySink
from adapters.memory.sink import Key, Stored, lost, throttled
from pipelines.quality import GOOD
from pipelines.registry import Registry
from tests.contracts.sink import Place, Poisoned, SinkContract, SinkRig, batches_of, contents


class MemorySinkRig(SinkRig):
    """One object for all sessions: the dictionary is the peer."""

    def __init__(self) -> None:
        self.registry = Registry()
        self._sink = MemorySink("memory")

    def sink(self) -> Sink:
        return self._sink

    def unreachable(self) -> Sink:
        sink = MemorySink("memory")
        sink.reachable = False
        return sink

    async def stored(self) -> Mapping[Place, Any]:
        good = {key: row for key, row in self._sink.rows.items() if row.quality == GOOD}
        return {self._place(key): row.value for key, row in good.items()}

    def _place(self, key: Key) -> Place:
        point = self.registry[key.point]
        return Place(point.machine, point.name, key.at)

    async def down(self) -> bool:
        self._sink.reachable = False
        return True

    async def up(self) -> None:
        self._sink.reachable = True

    async def lose_answer(self) -> bool:
        self._sink.faults.append(lost(after_commit=True))
        return True

    async def throttle(self) -> bool:
        self._sink.faults.append(throttled(3))
        return True

    async def poison(self) -> Poisoned:
        def is_bad(key: Key, _row: Stored) -> bool:
            return self.registry[key.point].name == "text_1"

        self._sink.refuses = is_bad
        batches = batches_of(self)
        everything = contents(self.registry, batches)
        good = {place: value for place, value in everything.items() if place.signal != "text_1"}
        return Poisoned(batches, good, len(everything) - len(good))

    async def stop(self) -> None:
        """Nothing runs."""


class TestMemorySink(SinkContract):
    @pytest.fixture
    async def rig(self) -> AsyncIterator[SinkRig]:
        rig = MemorySinkRig()
        yield rig
        await rig.stop()
