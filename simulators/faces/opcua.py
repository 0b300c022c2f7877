"""A machine as an OPC UA server, by asyncua's server: the happy path, spoken by a widely used stack.

Nodes are added by the service itself, not by the library's shortcuts: those know neither AnalogUnitRangeType nor
descriptions. Every write is a new DataValue with the simulation's time as SourceTimestamp; asyncua notifies a client
of every write that changes value or status and samples nothing, so no change is skipped while its queue has room.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from asyncua import ua
from asyncua.server.server import Server

from simulators.clock import MILLISECOND
from simulators.errors import SimulatorError
from simulators.faces.opcua_nodes import machine_nodes, node_id, node_text
from simulators.model import Model, Value
from simulators.truth import Truth

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DRAIN_STEP_S = 0.02


def timestamp(at_ns: int) -> Any:
    """Whole milliseconds as asyncua wants them; integer arithmetic, because a float of seconds is not exact."""
    return EPOCH + timedelta(milliseconds=at_ns // MILLISECOND)


def data_value(value: Value, variant: ua.VariantType, at_ns: int) -> ua.DataValue:
    """Good, with the simulation's time as SourceTimestamp and this computer's as ServerTimestamp, as a server does."""
    now: Any = datetime.now(UTC)
    return ua.DataValue(ua.Variant(value, variant), SourceTimestamp=timestamp(at_ns), ServerTimestamp=now)


class OpcUaFace:
    """The variables of one machine. Built by `open_opcua`."""

    def __init__(self, server: Server, index: int, model: Model, truth: Truth) -> None:
        self._server = server
        self._machine = model.machine
        self._truth = truth
        self._nodes = {s.name: node_id(node_text(s), index) for s in model.signals}
        self._types = {s.name: ua.VariantType[s.type.value] for s in model.signals}

    async def begin(self, at_ns: int, values: Mapping[str, Value]) -> None:
        """Nothing: the variables have had their first values since the server opened."""

    async def emit(self, at_ns: int, changed: Mapping[str, Value], values: Mapping[str, Value]) -> None:
        """Write what changed; a subscription gets it at its next publishing interval."""
        for name, value in changed.items():
            data = data_value(value, self._types[name], at_ns)
            await self._server.write_attribute_value(self._nodes[name], data)
        self._truth.values(self._machine, at_ns, changed)

    async def drain(self, seconds: float) -> None:
        """Wait until every subscription has published all and its client has acknowledged all."""
        await drained(self._server, seconds)


async def drained(server: Server, seconds: float) -> None:
    """Wait until no subscription owes anything; a client that is gone, or never acknowledges, is not waited for."""
    try:
        async with asyncio.timeout(seconds):
            while _owed(server):  # noqa: ASYNC110 - the library has no event for it
                await asyncio.sleep(DRAIN_STEP_S)
    except TimeoutError:
        return


def _owed(server: Server) -> bool:
    # asyncua offers no public view of what its subscriptions still hold.
    subscriptions = server.iserver.subscription_service.subscriptions.values()
    return any(s._triggered_datachanges or s._not_acknowledged_results for s in subscriptions)  # noqa: SLF001


@asynccontextmanager
async def open_opcua(
    model: Model, truth: Truth, at_ns: int, host: str, port: int
) -> AsyncIterator[tuple[OpcUaFace, str]]:
    """Serve the machine; yields its face and the endpoint's URL. `port` 0 takes a free one."""
    server, index = await _build(model, at_ns, host, port)
    face = OpcUaFace(server, index, model, truth)
    async with serving(server, model.machine, host, port) as url:
        truth.values(model.machine, at_ns, model.values)
        yield face, url


@asynccontextmanager
async def serving(server: Server, name: str, host: str, port: int) -> AsyncIterator[str]:
    """Start and stop a server; yields the endpoint's URL."""
    try:
        await server.start()
    except OSError as error:
        raise SimulatorError(
            f"{name}: cannot listen on {host}:{port} ({error}). Choose another --port."
        ) from error
    try:
        yield _advertise(server, host)
    finally:
        await _stop_clock(server)
        await server.stop()


async def _build(model: Model, at_ns: int, host: str, port: int) -> tuple[Server, int]:
    server, index = await prepared(model.machine, model.title, f"urn:shopfloor:sim:{model.kind}", host, port)
    await add_nodes(server, machine_nodes(model, index))
    await _first_values(server, index, model, at_ns)
    return server, index


async def prepared(name: str, title: str, namespace: str, host: str, port: int) -> tuple[Server, int]:
    """A server that is not started yet, open to everybody, and the index of the namespace in it."""
    server = Server()
    await server.init()
    await server.set_application_uri(f"urn:shopfloor:sim:{name}")
    server.set_server_name(title)
    server.set_endpoint(f"opc.tcp://{host}:{port}/")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    server.set_identity_tokens([ua.AnonymousIdentityToken])
    return server, await server.register_namespace(namespace)


async def add_nodes(server: Server, nodes: Iterable[ua.AddNodesItem]) -> None:
    """Add all; a node that is refused raises the library's error."""
    for result in await server.iserver.isession.add_nodes(list(nodes)):
        result.StatusCode.check()


async def _first_values(server: Server, index: int, model: Model, at_ns: int) -> None:
    for signal in model.signals:
        data = data_value(model.values[signal.name], ua.VariantType[signal.type.value], at_ns)
        await server.write_attribute_value(node_id(node_text(signal), index), data)


async def _stop_clock(server: Server) -> None:
    """End asyncua's task that writes CurrentTime; its own stop would sleep out the running second."""
    if (task := server.iserver.time_task) is not None:
        server.iserver.time_task = None
        task.cancel()
        await asyncio.wait([task])


def _advertise(server: Server, host: str) -> str:
    """Put the port that was really taken into the endpoint descriptions, and return the URL for clients here."""
    port = server.bserver.port if server.bserver else 0
    url = f"opc.tcp://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}/"
    for endpoint in server.iserver.endpoints:
        endpoint.EndpointUrl = url
        endpoint.Server.DiscoveryUrls = [url]
    return url
