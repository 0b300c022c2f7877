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
BAD_SENSOR_FAILURE = 0x808C0000
NAMES = ("load", "speed", "temperature")


def say(row: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


def data_value(value: float | None, ms: int) -> ua.DataValue:
    make: Any = ua.DataValue
    at = dt.datetime.fromtimestamp(ms / 1000, dt.UTC)
    variant = ua.Variant(value, ua.VariantType.Double) if value is not None else ua.Variant()
    status = ua.StatusCode(ua.UInt32(0 if value is not None else BAD_SENSOR_FAILURE))
    made: ua.DataValue = make(variant, StatusCode=status, SourceTimestamp=at, ServerTimestamp=at)
    return made


async def main() -> None:
    logging.basicConfig(level=logging.CRITICAL)
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{sys.argv[1]}/")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace(URI)
    node_id: Any = ua.NodeId
    nodes: dict[str, Any] = {}
    for name in NAMES:
        nodes[name] = await server.nodes.objects.add_variable(node_id(name, index), name, 0.0)
        await nodes[name].write_value(data_value(0.0, 1_700_000_000_000))
    async with server:
        say({"event": "ready", "namespace": index})
        while line := await asyncio.to_thread(sys.stdin.readline):
            rows = json.loads(line)
            for name, value, ms, _ in rows:
                await nodes[name].write_value(data_value(value, ms))
            say({"done": len(rows)})


asyncio.run(main())
