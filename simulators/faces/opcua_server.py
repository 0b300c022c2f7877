"""The OPC UA server behind a face, by asyncua's server: it can go, come back on its port, and lose nodes, as real ones do.

Nodes are added by the service itself, not by the library's shortcuts: those know neither AnalogUnitRangeType nor
descriptions. Every write is a new DataValue with the simulation's time as SourceTimestamp; asyncua notifies a client
of every write that changes value or status and samples nothing, so no change is skipped while its queue has room.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from asyncua import ua
from asyncua.server.server import Server
from asyncua.ua.attribute_ids import AttributeIds

from simulators.doors import kept
from simulators.errors import SimulatorError
from simulators.faces.base import CONNECTED_S
from simulators.faces.opcua_entrance import OPEN, Entrance
from simulators.faces.opcua_identity import Identity, Registrar, application_uri
from simulators.faces.opcua_nodes import machine_nodes, node_id, node_text, root_name, signal_nodes
from simulators.faces.opcua_space import Nursery
from simulators.faces.opcua_times import timestamp
from simulators.faces.opcua_vivid import Vivid
from simulators.faces.spaces.space import Said, Space, furnish
from simulators.faults.sensors import GOOD
from simulators.model import Model, Signal, Value

DRAIN_STEP_S = 0.02


# OPC UA Part 6, A.2: BadSensorFailure, UncertainSensorNotAccurate.
NODE_UNKNOWN = 0x80340000
STATUS = {"bad": 0x808C0000, "uncertain": 0x40930000}


def data_value(value: Value, variant: ua.VariantType, at_ns: int, quality: str = GOOD) -> ua.DataValue:
    """With the simulation's time as SourceTimestamp and this computer's as ServerTimestamp, as a server does."""
    said: Any = list(value) if isinstance(value, tuple) else value
    return stamped(ua.Variant(said, variant), at_ns, 0 if quality == GOOD else STATUS[quality])


def stamped(said: ua.Variant, at_ns: int, status: int = 0) -> ua.DataValue:
    """A value with both times. status: 0 is Good."""
    now: Any = datetime.now(UTC)
    data = ua.DataValue(said, SourceTimestamp=timestamp(at_ns), ServerTimestamp=now)
    return replace(data, StatusCode=ua.StatusCode(ua.UInt32(status))) if status else data


async def drained(server: Server, seconds: float) -> None:
    """Wait until no subscription owes anything: so long for a client that is gone, longer for one that is there and slow."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while (passed := loop.time() - began) < max(seconds, CONNECTED_S):
        if not _owed(server, connected=passed >= seconds):
            return
        await asyncio.sleep(DRAIN_STEP_S)


def _owed(server: Server, *, connected: bool) -> bool:
    """connected: to those whose connection stands, and not to those who may come back."""
    # asyncua offers no public view of what its subscriptions still hold.
    clients = server.bserver.clients if server.bserver else ()
    there = {
        client.processor.session.session_id
        for client in clients
        if client.processor and client.processor.session
    }
    return any(
        s._triggered_datachanges or s._triggered_events or s._not_acknowledged_results  # noqa: SLF001
        for s in server.iserver.subscription_service.subscriptions.values()
        if not connected or s.session_id in there
    )


@asynccontextmanager
async def serving(server: Server, name: str, host: str, port: int) -> AsyncIterator[str]:
    """Start and stop a server; yields the endpoint's URL."""
    await _start(server, name, host, port)
    try:
        yield _advertise(server, host)
    finally:
        await _end(server)


async def prepared(
    name: str,
    title: str,
    namespace: str,
    host: str,
    port: int,
    *,
    fillers: int = 0,
    nursery: Nursery | None = None,
    entrance: Entrance = OPEN,
) -> tuple[Server, int]:
    """A server that is not started yet, and the index of the namespace in it. entrance: left out, open to everybody."""
    server = await (nursery or Nursery()).server()
    await server.set_application_uri(application_uri(name))
    server.set_server_name(title)
    server.set_endpoint(f"opc.tcp://{host}:{port}/")
    server.entrance = entrance
    entrance.prepare(server)
    for number in range(fillers):
        await server.register_namespace(f"urn:shopfloor:sim:update-{number + 1}")
    return server, await server.register_namespace(namespace)


async def add_nodes(server: Server, nodes: Iterable[ua.AddNodesItem]) -> None:
    """Add all; a node that is refused raises the library's error."""
    for result in await server.iserver.isession.add_nodes(list(nodes)):
        result.StatusCode.check()


async def _start(server: Server, name: str, host: str, port: int) -> None:
    try:
        await server.start()
    except OSError as error:
        raise SimulatorError(
            f"{name}: cannot listen on {host}:{port} ({error}). Choose another --port."
        ) from error


async def _end(server: Server) -> None:
    await _stop_clock(server)
    await server.stop()


async def _stop_clock(server: Server) -> None:
    """End asyncua's task that writes CurrentTime; its own stop would sleep out the running second."""
    if (task := server.iserver.time_task) is not None:
        server.iserver.time_task = None
        task.cancel()
        await asyncio.wait([task])


def _advertise(server: Server, host: str) -> str:
    """Put the port that was really taken into the endpoint descriptions, and return the URL for clients here."""
    return advertise(server, _url(host, server.bserver.port if server.bserver else 0))


def _url(host: str, port: int) -> str:
    return f"opc.tcp://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}/"


def advertise(server: Server, url: str) -> str:
    """What the endpoint descriptions say: clients connect to that, not to what they were given."""
    for endpoint in server.iserver.endpoints:
        endpoint.EndpointUrl = url
        endpoint.Server.DiscoveryUrls = [url]
    return url


@dataclass(slots=True)
class Served:
    """The server of one machine. advertised: the host that its endpoint descriptions name, if not the one it listens on.

    door: another address that clients are to use, such as that of a proxy before it; empty: its own. registrar: where other
    certificates come from; None: it cannot have one.
    """

    model: Model
    host: str
    port: int
    advertised: str = ""
    door: str = ""
    nursery: Nursery = field(default_factory=Nursery)
    entrance: Entrance = OPEN
    registrar: Registrar | None = None
    vivid: Vivid | None = None
    server: Server | None = None
    url: str = ""
    nodes: dict[str, ua.NodeId] = field(default_factory=dict)
    _own: Identity | None = None
    _index: int = 0
    _space: Space | None = None
    _place: socket.socket | None = None  # holds the port while there is no server

    async def open(self, at_ns: int, *, fillers: int = 0) -> None:
        """Build and start with all values as they are; the port stays the same. fillers: namespaces before its own."""
        model = self.model
        namespace = f"urn:shopfloor:sim:{model.kind}"
        server, self._index = await prepared(
            model.machine, model.title, namespace, self.host, self.port,
            fillers=fillers, nursery=self.nursery, entrance=self.entrance,
        )  # fmt: skip
        await add_nodes(server, machine_nodes(model, self._index))
        self.nodes = {s.name: node_id(node_text(s), self._index) for s in model.signals}
        self._space = await furnish(server, model, self._index)
        if self.vivid is not None:
            await self.vivid.move_in(server, self.nodes, self._index, self._space)
        self.server = server
        await self.write(model.signals, at_ns)
        if self._space is not None:
            await self._say(self._space.first(), at_ns)
        self._leave_place()
        await _start(server, model.machine, self.host, self.port)
        self.port = server.bserver.port if server.bserver else 0
        self.url = self.door or _url(self.advertised or self.host, self.port)
        advertise(server, self.url)
        if self.vivid is not None:
            await self.vivid.look(at_ns)

    async def certify(self, change: str) -> None:
        """Show another certificate from the next opening on; empty: its own again."""
        self._own = own = self._own or self.entrance.identity
        if own is None or self.registrar is None:
            return
        identity = own
        if change:
            identity = await asyncio.to_thread(self.registrar.another, self.model.machine, own, change)
        self.entrance = replace(self.entrance, identity=identity)

    async def close(self) -> None:
        """Stop it for good; once is enough."""
        if self.server is not None:
            server, self.server = self.server, None
            await _end(server)
        self._leave_place()

    async def pause(self) -> None:
        """Stop it, to come back on the same port: nobody else is given that meanwhile."""
        if self.server is not None:
            await self.close()
            self._place = kept(self.host, self.port)

    def _leave_place(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            place.close()

    async def write(self, signals: Iterable[Signal], at_ns: int) -> None:
        """Write the present values of these signals with their quality."""
        if self.server is None:
            return
        for signal in signals:
            variant, name = ua.VariantType[signal.type.value], signal.name
            data = data_value(self.model.values[name], variant, at_ns, self.model.quality_of(name))
            await self.server.write_attribute_value(self.nodes[name], data)

    async def follow(self, names: Iterable[str], at_ns: int) -> None:
        """Write what these changed signals mean in the standard address space."""
        if self._space is not None:
            await self._say(self._space.changes(names), at_ns)

    async def _say(self, all_: Iterable[Said], at_ns: int) -> None:
        if self.server is None:
            return
        for node, value, status, signal in all_:
            quality = self.model.quality_of(signal) if signal else GOOD
            data = stamped(value, at_ns, status or STATUS.get(quality, 0))
            await self.server.write_attribute_value(node, data)

    async def remove(self, signals: Iterable[Signal]) -> None:
        """Their variables are no longer known; subscriptions hear of it."""
        if self.server is not None:
            gone = [self.nodes[signal.name] for signal in signals]
            for node in gone:
                await _bid_farewell(self.server, node)
            await self.server.delete_nodes([self.server.get_node(node) for node in gone], recursive=True)

    async def add(self, signals: Iterable[Signal], at_ns: int) -> None:
        """The variables are there again, at their place, with the values of now."""
        if self.server is None:
            return
        back = list(signals)
        for signal in back:
            *above, _ = node_text(signal).split(".")
            parent = node_id(".".join(above) or root_name(self.model), self._index)
            await add_nodes(self.server, signal_nodes(signal, self.model, self._index, parent))
        await self.write(back, at_ns)


async def _bid_farewell(server: Server, node: ua.NodeId) -> None:
    """Tell who watches a node that it goes: the library means to, and forgets to await it."""
    space = server.iserver.aspace
    attribute = space[node].attributes[AttributeIds.Value]
    unknown = ua.DataValue(StatusCode=ua.StatusCode(ua.UInt32(NODE_UNKNOWN)))
    for handle, callback in list(attribute.datachange_callbacks.items()):
        await callback(handle, unknown)
        space.delete_datachange_callback(handle)
