"""A workshop whose configuration changes while it is read: scripted peers, the real collector in this process, its control channel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from collector.control import NotRunning, ask
from collector.service import Origin, serve
from collector.stopping import Stop
from config.load import load
from tests.opcua import encoder as enc
from tests.opcua.encoder import DataValue, Scalar
from tests.opcua.scripted import DOUBLE, ScriptedServer, Unsupported, Variable

Json = dict[str, Any]
PATIENCE = 90.0


def number(value: float, at: int) -> DataValue:
    """at: ns since 1970."""
    return DataValue(Scalar(DOUBLE, value), source=enc.ticks(at))


def plc() -> ScriptedServer:
    """A machine with the signals a, b and c, whose server keeps nothing for anybody."""
    server = ScriptedServer()
    server.policy.reactivate = False
    server.scripts.append(Unsupported(["TransferSubscriptions"]))
    server.variables.update({name: Variable() for name in "abc"})
    return server


def opcua(server: ScriptedServer, **more: Any) -> Json:
    return {"type": "opcua", "url": server.url, "security": "none", **more}


def machine(name: str, source: str, *signals: str, **treatment: Any) -> Json:
    read = [{"name": signal, "node": f"nsu=urn:test:machine;s={signal}", **treatment} for signal in signals]
    return {"id": name, "read": [{"source": source, "signals": read}]}


def influx(url: str, **more: Any) -> Json:
    return {"type": "influxdb", "url": url, "org": "o", "bucket": "machines", "token": "t", **more}


class Floor:
    """The configuration file and the collector that runs from it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file, self.state = folder, folder / "collector.yaml", folder / "state"
        self.config: Json = {"version": 1, "page": "off", "sources": {}, "machines": [], "sinks": []}

    def write(self, text: str | None = None) -> None:
        self.file.write_text(json.dumps(self.config, indent=1) if text is None else text)

    async def ask(self, command: str, **arguments: Any) -> Json:
        async for row in ask(self.state, command, **arguments):
            return row
        raise AssertionError(f"{command}: no answer")

    async def status(self) -> Json:
        return await self.ask("status")

    async def reload(self, *, probe: bool = True) -> Json:
        self.write()
        return await self.ask("reload", probe=probe)

    async def until(self, what: str, holds: Any) -> Json:
        """The first status for which it holds."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    if holds(found := await self.status()):
                        return found
                except NotRunning:
                    pass
                await asyncio.sleep(0.02)
        raise AssertionError(what)

    async def connected(self, *names: str) -> Json:
        return await self.until(
            f"connected: {names}", lambda books: all(state(books, n) == "connected" for n in names)
        )

    @asynccontextmanager
    async def at_work(self, *, watch: bool = False) -> AsyncIterator[Stop]:
        """The collector, running from the file as written; stopped in order afterwards."""
        loaded = load([self.file])
        assert loaded.settings is not None, loaded.problems
        stop = Stop()
        origin = Origin([self.file], loaded.files, watch=watch)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(serve(loaded.settings, stop, origin=origin))
            await self.until("it answers", lambda _books: True)
            try:
                yield stop
            finally:
                stop.set()


def state(books: Mapping[str, Any], name: str) -> str:
    rows = [*books["sources"], *books["sinks"]]
    return next((str(row.get("state")) for row in rows if row["name"] == name), "absent")


def row(books: Mapping[str, Any], name: str) -> Json:
    return next(dict(row) for row in [*books["sources"], *books["sinks"]] if row["name"] == name)
