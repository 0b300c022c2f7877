"""asyncua's own server with an alarm, an event and a history: JSON lines on stdin, see tests/peers/test_opcua_memory.py."""

import asyncio
import datetime as dt
import json
import logging
import sys
from typing import Any

from asyncua import ua
from asyncua.server.server import Server
from asyncua.ua.object_ids import ObjectIds

node_id: Any = ua.NodeId


def say(row: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


class Machine:
    """Two variables, one of them remembered; a condition that is told by hand, as this server has no alarms of its own."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._nodes: dict[str, Any] = {}

    async def prepare(self) -> int:
        server = self._server
        index = await server.register_namespace("urn:test:peer")
        for name in ("level", "kept"):
            self._nodes[name] = await server.nodes.objects.add_variable(node_id(name, index), name, 0.5)
        self._alarm = await server.get_event_generator(
            node_id(ObjectIds.AlarmConditionType), ObjectIds.Server
        )
        self._event = await server.get_event_generator(node_id(ObjectIds.BaseEventType), ObjectIds.Server)
        return index

    async def remember(self) -> None:
        await self._server.historize_node_data_change(
            self._nodes["kept"], period=dt.timedelta(days=10_000), count=10_000
        )

    async def do(self, row: list[Any]) -> None:
        if row[0] == "event":
            self._event.event.Severity = row[2]
            await self._event.trigger(message=row[1])
        elif row[0] == "alarm":
            await self._told(*row[1:])
        else:
            at = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=row[2])
            make: Any = ua.DataValue
            told = make(ua.Variant(row[1], ua.VariantType.Double), SourceTimestamp=at, ServerTimestamp=at)
            await self._server.write_attribute_value(self._nodes[row[0]].nodeid, told)

    async def _told(self, active: bool, acked: bool, message: str) -> None:
        event = self._alarm.event
        event.ConditionName, event.SourceName = "LevelAlarm", "level"
        event.Retain, event.Severity = active or not acked, 700
        setattr(event, "ActiveState/Id", active)
        setattr(event, "AckedState/Id", acked)
        await self._alarm.trigger(message=message)


async def main() -> None:
    logging.basicConfig(level=logging.CRITICAL)
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{sys.argv[1]}/")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    machine = Machine(server)
    index = await machine.prepare()
    async with server:
        await machine.remember()
        say({"event": "ready", "namespace": index})
        while line := await asyncio.to_thread(sys.stdin.readline):
            rows = json.loads(line)
            for row in rows:
                await machine.do(row)
            say({"done": len(rows)})


asyncio.run(main())
