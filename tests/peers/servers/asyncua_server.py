"""asyncua's own server, in a process of its own: three Doubles, written by JSON lines on stdin; see tests/peers/opcua.py."""

import asyncio
import datetime as dt
import json
import logging
import sys
from typing import Any

from asyncua import ua
from asyncua.server.server import Server

URI = "urn:test:peer"
BAD_SENSOR_FAILURE, BAD_TIMEOUT = 0x808C0000, 0x800A0000
NAMES = ("load", "speed", "temperature")


def say(row: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


def data_value(value: Any, ms: int, more: dict[str, Any]) -> ua.DataValue:
    make: Any = ua.DataValue
    kind = ua.VariantType[more.get("type", "Double")]
    variant = ua.Variant(value, kind) if value is not None else ua.Variant()
    status = ua.StatusCode(ua.UInt32(more.get("status", 0 if value is not None else BAD_SENSOR_FAILURE)))
    source, server = stamp(more.get("source", ms)), stamp(more.get("server", ms))
    made: ua.DataValue = make(variant, StatusCode=status, SourceTimestamp=source, ServerTimestamp=server)
    return made


def stamp(ms: float | None) -> dt.datetime | None:
    return None if ms is None else dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=ms)


class Machine:
    """The server, and what it is told to do besides writing."""

    def __init__(self, server: Server) -> None:
        self._server, self._index = server, 0
        self._nodes: dict[str, Any] = {}

    async def write(self, rows: list[list[Any]]) -> None:
        for name, value, ms, _, *more in rows:
            told = data_value(value, ms, more[0] if more else {})
            await self._server.write_attribute_value(self._nodes[name].nodeid, told)

    async def add(self, name: str, kind: str = "Double") -> None:
        node_id: Any = ua.NodeId
        where, objects = node_id(name, self._index), self._server.nodes.objects
        if kind == "Any":
            value, data_type = ua.Variant(0.0, ua.VariantType.Double), node_id(26)
            self._nodes[name] = await objects.add_variable(where, name, value, datatype=data_type)
        else:
            self._nodes[name] = await objects.add_variable(where, name, 0.0)
        await self.write([[name, None if kind == "Any" else 0.0, 1_700_000_000_000, 0]])

    async def remove(self, name: str) -> None:
        await self._server.delete_nodes([self._nodes.pop(name)])

    async def prepare(self, shift: int = 0, more: int = 0, limit: int = 0, lifetime: int = 0) -> int:
        """Namespaces before ours, each with nodes of the same names; more signals; operations per call. Our index."""
        for number in range(shift):
            index = await self._server.register_namespace(f"urn:test:other:{number}")
            for name in NAMES:
                await self._server.nodes.objects.add_variable(ua.NodeId(name, index), name, -1.0)  # type: ignore[arg-type]
        self._index = await self._server.register_namespace(URI)
        for name in (*NAMES, *(f"v{number}" for number in range(more))):
            await self.add(name)
        for node in (
            (11705, 11714) if limit else ()
        ):  # OperationLimits: MaxNodesPerRead, MaxMonitoredItemsPerCall
            told = ua.DataValue(ua.Variant(limit, ua.VariantType.UInt32))
            await self._server.write_attribute_value(ua.NodeId(node), told)  # type: ignore[arg-type]
        return self._index

    async def end(self, silently: bool) -> None:
        """Every subscription of a client, with or without a word."""
        service = self._server.iserver.subscription_service
        for number, subscription in list(service.subscriptions.items()):
            if silently:
                await service.delete_subscriptions([number])
            else:
                timeout = ua.StatusCode(ua.UInt32(BAD_TIMEOUT))
                await subscription.enqueue_statuschange(timeout)

    async def do(self, wish: Any) -> int:
        if isinstance(wish, list):
            await self.write(wish)
            return len(wish)
        word = wish.pop("do")
        does: dict[str, Any] = {"add": self.add, "remove": self.remove, "end": self.end}
        await does[word](**wish)
        return 0


async def main() -> None:
    logging.basicConfig(level=logging.CRITICAL)
    options = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{sys.argv[1]}/")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    machine = Machine(server)
    index = await machine.prepare(**options)
    async with server:
        say({"event": "ready", "namespace": index})
        while line := await asyncio.to_thread(sys.stdin.readline):
            say({"done": await machine.do(json.loads(line))})


asyncio.run(main())
