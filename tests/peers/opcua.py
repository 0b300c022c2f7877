"""OPC UA servers of other people, each a process that lives for a module; a fault proxy before it cuts the connection.

A line for a server is a list of [signal, value or null, source time in ms, source picoseconds], or of five things, the last being
{"type", "status", "source", "server"} where they differ; or what it shall do: {"do": "add" | "remove" | "end", …}.
`{"done": n}` is the answer.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapters.base import Bench, Source
from adapters.clock import SystemClock
from adapters.opcua.settings import OpcUaRead, OpcUaSource
from adapters.opcua.source import OpcUaReader
from adapters.settings import Reading
from pipelines.registry import Registry
from simulators.proxy.server import Proxy
from tests.contracts.rig import eventually
from tests.contracts.source import Emitted, SourceRig
from tests.opcua.settling import settled
from tests.peers import found
from tests.peers.found import Peer
from tests.servers import free_port

URI = "urn:test:peer"
SIGNALS = ("load", "speed", "temperature")
START_MS = 1_700_000_000_000


class Server:
    """A running server and what it was told last: its values outlive a test.

    options: shift (namespaces before ours), more (signals v0 …), limit (operations per call), lifetime (ms, of the channel's keys).
    """

    def __init__(self, kind: str, folder: Path, **options: int) -> None:
        self.kind, self.folder = kind, folder
        self.port = free_port()
        self.count = 0
        self.last = dict.fromkeys(SIGNALS, 0.0)
        self.present: dict[
            str, tuple[int, Any, int]
        ] = {}  # (ns, value, status) by signal, for tests/peers/rows.py
        self._command = {
            "asyncua": lambda: [sys.executable, str(found.HERE / "servers" / "asyncua_server.py")],
            "python-opcua": lambda: found.python("python_opcua.py"),
            "node-opcua": lambda: found.node("node_opcua.js"),
        }[kind]()
        self.begin(**options)

    def begin(self, **options: int) -> None:
        """Another process on the same port; the one before it has stopped."""
        command = [*self._command, str(self.port), str(self.folder), json.dumps(options)]
        self.peer = Peer(command, self.folder / "peer.log")

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        assert self.peer.ask(rows) == {"done": len(rows)}

    def do(self, what: str, **wish: Any) -> None:
        assert self.peer.ask({"do": what, **wish}) == {"done": 0}


class PeerRig(SourceRig):
    """One server behind a proxy."""

    bound = 100
    restates = True
    held = 1  # the proxy's, which keeps the port

    def __init__(self, server: Server, proxy: Proxy, down: bytearray) -> None:
        """down: what the proxy has seen of the server."""
        self.registry = Registry()
        self.server, self.proxy, self.down = server, proxy, down
        self.initial = list(server.last.items())
        self.wishes: dict[str, Any] = {"security": "none"}

    def source(self) -> Source:
        return self._source(f"opc.tcp://{self.proxy.address}/")

    def unreachable(self) -> Source:
        return self._source(f"opc.tcp://127.0.0.1:{free_port()}/")

    def _source(self, url: str) -> Source:
        signals = [
            {"name": name, "node": f"nsu={URI};s={name}", "every": "0s", "queue": 1000} for name in SIGNALS
        ]
        read = OpcUaRead.model_validate({"source": "plc", "signals": signals})
        reading = Reading(machine="m", tags={}, read=read)
        wishes = {
            "publishing_interval": "50ms",
            "keep_alive": "10s",
            "request_timeout": "60s",
            "unacknowledged": 100,
            **self.wishes,
        }
        settings = OpcUaSource.model_validate({"type": "opcua", "url": url, **wishes})
        return OpcUaReader(
            "plc",
            settings,
            (reading,),
            Bench(self.registry, SystemClock(), str(self.server.folder / "collector")),
        )

    async def emit(self, n: int) -> Sequence[Emitted]:
        made, rows = [], []
        for _ in range(n):
            self.server.count += 1
            name, at = SIGNALS[self.server.count % len(SIGNALS)], START_MS + self.server.count
            value = self.server.last[name] = float(self.server.count)
            rows.append((name, value, at, 0))
            made.append(Emitted(name, at * 1_000_000, value))
        await asyncio.to_thread(self.server.write, rows)
        return made

    async def arrived(self, emitted: Sequence[Emitted]) -> None:
        """The numbers have passed the proxy, as they stand in a notification, and nothing is left in a socket."""
        marks = [struct.pack("<d", value.value) for value in emitted]
        await eventually(lambda: all(mark in self.down for mark in marks), "it is on the wire")
        await settled()

    async def cut(self) -> None:
        await self.proxy.set_door("closed")
        self.proxy.reset()

    async def restore(self) -> None:
        await self.proxy.set_door("open")

    async def stop(self) -> None:
        """The server goes on for the next test."""

    async def blank(self) -> str:
        self.server.count += 1
        await asyncio.to_thread(self.server.write, [("load", None, START_MS + self.server.count, 0)])
        await asyncio.to_thread(self.server.write, [])
        return "load"
