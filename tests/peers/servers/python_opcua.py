"""python-opcua as a server, in its own environment: three Doubles, written by JSON lines on stdin; see tests/peers/opcua.py."""

import json
import logging
import sys
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from opcua import Server, ua  # type: ignore[import-not-found]  # lives in .peers only

URI = "urn:test:peer"
NAMES = ("load", "speed", "temperature")


def say(row: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


def data_value(value: object, ms: int, more: dict[str, Any]) -> ua.DataValue:
    kind = getattr(ua.VariantType, str(more.get("type", "Double")))
    made = ua.DataValue(ua.Variant(value, kind) if value is not None else ua.Variant())
    made.StatusCode = ua.StatusCode(
        more.get("status", 0 if value is not None else ua.StatusCodes.BadSensorFailure)
    )
    made.SourceTimestamp, made.ServerTimestamp = stamp(more.get("source", ms)), stamp(more.get("server", ms))
    return made


def stamp(ms: float | None) -> datetime | None:
    return None if ms is None else datetime(1970, 1, 1) + timedelta(milliseconds=ms)  # noqa: DTZ001 (the library's own way)


class Machine:
    """The server, and what it is told to do besides writing."""

    def __init__(self, server: Server) -> None:
        self._server, self._index = server, 0
        self._nodes: dict[str, Any] = {}

    def write(self, rows: list[list[Any]]) -> None:
        for name, value, ms, _, *more in rows:
            self._nodes[name].set_value(data_value(value, ms, more[0] if more else {}))

    def add(self, name: str, kind: str = "Double") -> None:
        value, where = ua.Variant(0.0, ua.VariantType.Double), ua.NodeId(name, self._index)
        data_type = ua.NodeId(26) if kind == "Any" else None
        self._nodes[name] = self._server.nodes.objects.add_variable(where, name, value, datatype=data_type)
        self.write([[name, None if kind == "Any" else 0.0, 1_700_000_000_000, 0]])

    def remove(self, name: str) -> None:
        self._server.delete_nodes([self._nodes.pop(name)])

    def prepare(self, shift: int = 0, more: int = 0, limit: int = 0, lifetime: int = 0) -> int:
        """Namespaces before ours, each with nodes of the same names; more signals; operations per call. Our index."""
        for number in range(shift):
            index = self._server.register_namespace(f"urn:test:other:{number}")
            for name in NAMES:
                self._server.nodes.objects.add_variable(ua.NodeId(name, index), name, -1.0)
        self._index = self._server.register_namespace(URI)
        for name in (*NAMES, *(f"v{number}" for number in range(more))):
            self.add(name)
        for node in (
            (11705, 11714) if limit else ()
        ):  # OperationLimits: MaxNodesPerRead, MaxMonitoredItemsPerCall
            self._server.get_node(ua.NodeId(node)).set_value(ua.Variant(limit, ua.VariantType.UInt32))
        return self._index

    def end(self, silently: bool) -> None:
        """Every subscription of a client, with or without a word."""
        service = self._server.iserver.subscription_service
        for number, subscription in list(service.subscriptions.items()):
            if silently:
                service.delete_subscriptions([number])
            else:
                subscription.enqueue_statuschange(ua.StatusCode(ua.StatusCodes.BadTimeout))

    def do(self, wish: Any) -> int:
        if isinstance(wish, list):
            self.write(wish)
            return len(wish)
        word = wish.pop("do")
        wishes: dict[str, Callable[..., None]] = {"add": self.add, "remove": self.remove, "end": self.end}
        wishes[word](**wish)
        return 0


def in_its_thread(server: Server, job: Callable[[], int]) -> int:
    """Where it serves its clients: what is written from another thread while an item is created, the library tells twice."""
    made: Future[int] = Future()

    def done() -> None:
        try:
            made.set_result(job())
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            made.set_exception(error)

    server.iserver.loop.call_soon(done)
    return made.result()


def main() -> None:
    logging.basicConfig(level=logging.CRITICAL)
    options = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    server = Server()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{sys.argv[1]}/")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    machine = Machine(server)
    index = machine.prepare(**options)
    server.start()
    say({"event": "ready", "namespace": index})
    try:
        for line in sys.stdin:
            say({"done": in_its_thread(server, partial(machine.do, json.loads(line)))})
    finally:
        server.stop()


main()
