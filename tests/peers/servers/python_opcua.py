"""python-opcua as a server, in its own environment: three Doubles, written by JSON lines on stdin; see tests/peers/opcua.py."""

import json
import logging
import sys
from datetime import UTC, datetime

from opcua import Server, ua  # type: ignore[import-not-found]  # lives in .peers only

URI = "urn:test:peer"
NAMES = ("load", "speed", "temperature")


def say(row: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


def data_value(value: float | None, ms: int) -> ua.DataValue:
    made = ua.DataValue(ua.Variant(value, ua.VariantType.Double) if value is not None else ua.Variant())
    if value is None:
        made.StatusCode = ua.StatusCode(ua.StatusCodes.BadSensorFailure)
    made.SourceTimestamp = made.ServerTimestamp = datetime.fromtimestamp(ms / 1000, UTC).replace(tzinfo=None)
    return made


def main() -> None:
    logging.basicConfig(level=logging.CRITICAL)
    server = Server()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{sys.argv[1]}/")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = server.register_namespace(URI)
    nodes = {
        name: server.nodes.objects.add_variable(
            ua.NodeId(name, index), name, ua.Variant(0.0, ua.VariantType.Double)
        )
        for name in NAMES
    }
    for node in nodes.values():
        node.set_value(data_value(0.0, 1_700_000_000_000))
    server.start()
    say({"event": "ready", "namespace": index})
    try:
        for line in sys.stdin:
            rows = json.loads(line)
            for name, value, ms, _ in rows:
                nodes[name].set_value(data_value(value, ms))
            say({"done": len(rows)})
    finally:
        server.stop()


main()
