"""The laws of a source, over OPC UA."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from adapters.base import Bench, Source
from adapters.clock import SystemClock
from adapters.opcua.settings import OpcUaRead, OpcUaSignal, OpcUaSource
from adapters.opcua.source import OpcUaReader
from adapters.settings import Reading
from pipelines.registry import Registry
from tests.contracts.rig import eventually
from tests.contracts.source import Emitted, SourceContract, SourceRig
from tests.opcua import encoder as enc
from tests.opcua.encoder import DataValue, Null, Scalar
from tests.opcua.scripted import URI, ScriptedServer, Variable
from tests.opcua.settling import settled

SIGNALS = ("load", "speed", "temperature")
START = 1_700_000_000_000_000_000


class OpcUaRig(SourceRig):
    """A scripted server with three Doubles. 20 notifications of 10 values may be unacknowledged, and a few on their way."""

    bound = 300
    restates = True

    def __init__(self) -> None:
        self.registry = Registry()
        self.server = ScriptedServer()
        self.server.policy.per_notification = 10
        self.count = 0
        first = DataValue(Scalar(11, 0.0), source=enc.ticks(START))
        self.server.variables.update({name: Variable(value=first) for name in SIGNALS})
        self.initial = [(name, 0.0) for name in SIGNALS]

    def source(self) -> Source:
        return self._source(self.server.url)

    def unreachable(self) -> Source:
        return self._source("opc.tcp://127.0.0.1:9")

    def _source(self, url: str) -> Source:
        signals = [OpcUaSignal(name=name, node=f"nsu={URI};s={name}") for name in SIGNALS]
        reading = Reading(machine="m", tags={}, read=OpcUaRead(source="plc", signals=signals))
        wishes = {
            "publishing_interval": "20ms",
            "keep_alive": "30s",
            "request_timeout": "60s",
            "unacknowledged": 20,
        }
        settings = OpcUaSource.model_validate({"type": "opcua", "url": url, "security": "none", **wishes})
        return OpcUaReader("plc", settings, (reading,), Bench(self.registry, SystemClock()))

    async def emit(self, n: int) -> Sequence[Emitted]:
        made = []
        for _ in range(n):
            self.count += 1
            name, at = SIGNALS[self.count % len(SIGNALS)], START + 100 * self.count
            self.server.emit(name, DataValue(Scalar(11, float(self.count)), source=enc.ticks(at)))
            made.append(Emitted(name, at, float(self.count)))
        return made

    async def arrived(self, emitted: Sequence[Emitted]) -> None:
        def said() -> bool:
            told = {(told.node, told.value) for told in self.server.record.told}
            return all((value.signal, value.value) in told for value in emitted)

        await eventually(said, "it is on the wire")
        await settled()

    async def cut(self) -> None:
        await self.server.leave()

    async def restore(self) -> None:
        await self.server.start()

    async def stop(self) -> None:
        await self.server.stop()

    async def garbage(self) -> int:
        self.server.notify(811, b"\x01\x00\x00\x00\x00\x00")
        self.server.notify(916, b"an event list of another age")
        return 2

    async def blank(self) -> str:
        self.count += 1
        at = enc.ticks(START + 100 * self.count)
        self.server.emit("load", DataValue(Null(), 0x80310000, at))
        return "load"

    async def lose(self) -> bool:
        self.count += 1
        at = enc.ticks(START + 100 * self.count)
        self.server.emit("load", DataValue(Scalar(11, -1.0), 0x480, at))
        return True


class TestOpcUaSource(SourceContract):
    @pytest.fixture
    async def rig(self) -> AsyncIterator[OpcUaRig]:
        rig = OpcUaRig()
        await rig.server.start()
        yield rig
        await rig.stop()
        await asyncio.sleep(0)
