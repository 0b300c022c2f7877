"""OPC UA servers of other people that have alarms and a history, and a source for them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from adapters.base import Bench
from adapters.clock import SystemClock
from adapters.opcua.settings import OpcUaRead, OpcUaSource
from adapters.opcua.source import OpcUaReader
from adapters.settings import Reading
from pipelines.registry import Registry
from tests.contracts.source import Taker
from tests.peers import found
from tests.peers.found import Peer
from tests.servers import free_port

URI = "urn:test:peer"
PATIENT = {"publishing_interval": "50ms", "keep_alive": "10s", "request_timeout": "60s"}


class MemoryServer:
    """A process; `tell` hands it rows: [signal, value, ms], ["event", message, severity], ["alarm", active, acked, message]."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.port, self.folder = kind, free_port(), folder
        script = {"asyncua": "asyncua_memory.py", "node-opcua": "node_opcua_memory.js"}[kind]
        own = [sys.executable, str(found.HERE / "servers" / script)]
        command = own if kind == "asyncua" else found.node(script)
        self.peer = Peer([*command, str(self.port), str(folder)], folder / "peer.log")

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}/"

    async def tell(self, *rows: Sequence[Any]) -> None:
        assert await asyncio.to_thread(self.peer.ask, rows) == {"done": len(rows)}

    def source(self, registry: Registry, read: dict[str, Any], **wishes: Any) -> OpcUaReader:
        reading = Reading(machine="m", tags={}, read=OpcUaRead.model_validate({"source": "plc", **read}))
        settings = OpcUaSource.model_validate(
            {"type": "opcua", "url": self.url, "security": "none", **PATIENT, **wishes}
        )
        return OpcUaReader(
            "plc", settings, (reading,), Bench(registry, SystemClock(), str(self.folder / "ours"))
        )


@asynccontextmanager
async def taking(
    source: OpcUaReader, registry: Registry, resume: bytes | None = None
) -> AsyncIterator[Taker]:
    line = Taker(registry)
    task = asyncio.get_running_loop().create_task(line.run(source, resume))
    try:
        yield line
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
