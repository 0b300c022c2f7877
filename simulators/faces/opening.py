"""Opens the faces of all machines: servers, one connection to one broker, one edge node, files; and proxies before them."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from simulators.errors import SimulatorError
from simulators.faces.base import NAMES, Face
from simulators.faces.broker import Address, OwnBroker, own_broker
from simulators.faces.file import open_file
from simulators.faces.mqtt import MqttFace, Publisher, open_publisher
from simulators.faces.opcua_security import Security
from simulators.model import Model
from simulators.proxy.server import Proxy, open_proxy
from simulators.truth import Truth

if TYPE_CHECKING:
    from simulators.faces.opcua_entrance import Entrance
    from simulators.faces.opcua_identity import Keys, Registrar
    from simulators.faces.opcua_space import Nursery


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen and write. port: the first one, counted up; 0: free ones. advertised: the host that clients are told."""

    host: str
    port: int
    advertised: str
    broker: Address | None
    folder: Path
    faulty: bool
    security: Security = field(default_factory=Security)

    def shown(self) -> str:
        """The host in every URL."""
        local = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        return self.advertised or local


@dataclass(slots=True)
class Opener:
    """Opens face by face; the stack closes them in reverse: publishers before their broker."""

    stack: AsyncExitStack
    place: Place
    truth: Truth
    at_ns: int
    nursery: "Nursery | None" = None
    endpoints: dict[str, str] = field(default_factory=dict)
    doors: dict[str, Proxy] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    broker: OwnBroker | None = None
    publisher: Publisher | None = None
    _address: Address | None = None
    _broker_door: Proxy | None = None
    _used: int = 0

    async def faces(self, wanted: Sequence[tuple[Model, str]]) -> dict[str, Face]:
        """All faces, by machine."""
        unknown = next((face for _, face in wanted if face not in NAMES), None)
        if unknown is not None:
            raise SimulatorError(f"there is no face '{unknown}'. There are: {', '.join(NAMES)}.")
        opened: dict[str, Face] = {}
        for model, face in wanted:
            if face != "sparkplug":
                opened[model.machine] = await self._one(model, face)
        devices = [model for model, face in wanted if face == "sparkplug"]
        if devices:
            opened.update(await self._edge(devices))
        return opened

    def port(self) -> int:
        """The next listening port: counted up from --port, or 0 for any free one."""
        self._used += 1
        return self.place.port + self._used - 1 if self.place.port else 0

    async def _one(self, model: Model, face: str) -> Face:
        if face == "opcua":
            return await self._opcua(model)
        if face == "mqtt":
            return await self._mqtt(model)
        opened = open_file(model, self.truth, self.place.folder, face)
        made, self.endpoints[model.machine] = self.stack.enter_context(opened)
        return made

    async def _opcua(self, model: Model) -> Face:
        from simulators.faces.opcua import open_opcua  # asyncua takes its time; energy alone needs none of it
        from simulators.faces.opcua_server import Served
        from simulators.faces.opcua_space import Nursery

        place, self.nursery = self.place, self.nursery or Nursery()
        if not place.faulty:
            served = Served(model, place.host, self.port(), place.advertised, nursery=self.nursery)
        else:
            door = await self._door(model.machine)
            url = f"opc.tcp://{place.shown()}:{door.port}/"
            served = Served(model, "127.0.0.1", 0, door=url, nursery=self.nursery)
        served.entrance, served.registrar = await self._entrance(model, self.nursery.keys)
        face = await self.stack.enter_async_context(open_opcua(served, self.truth, self.at_ns))
        if place.faulty:
            self.doors[model.machine].to = ("127.0.0.1", served.port)
        self.endpoints[model.machine] = served.url
        return face

    async def _entrance(self, model: Model, keys: "Keys") -> "tuple[Entrance, Registrar | None]":
        """How clients get in; what it shows them is noted for the configuration."""
        from simulators.faces.opcua_entrance import Entrance, TrustList
        from simulators.faces.opcua_identity import Registrar, hosts_of

        place, security = self.place, self.place.security
        if not security.has_certificate():
            return Entrance(security), None
        registrar = Registrar(keys, security.pki, hosts_of(place.host, place.advertised))
        identity = await asyncio.to_thread(registrar.identity, model.machine)
        self.fingerprints[model.machine] = identity.fingerprint
        trust = None if security.trust is None else TrustList(security.trust)
        if trust is not None:
            trust.prepare()
        return Entrance(security, identity, trust), registrar

    async def _door(self, machine: str) -> Proxy:
        opened = open_proxy(("127.0.0.1", 1), host=self.place.host, port=self.port())
        self.doors[machine] = await self.stack.enter_async_context(opened)
        return self.doors[machine]

    async def _mqtt(self, model: Model) -> Face:
        if self.publisher is None:
            client_id = f"shopfloor-sim-{uuid4().hex[:12]}"  # two simulators at one broker must not throw each other out
            opened = open_publisher(await self._broker(model), self.truth, client_id)
            self.publisher = await self.stack.enter_async_context(opened)
        self._share(model)
        return MqttFace(self.publisher, model)

    async def _edge(self, models: Sequence[Model]) -> dict[str, Face]:
        from simulators.faces.sparkplug import open_edge

        address = await self._broker(models[0])
        for model in models:
            self._share(model)
        opened = open_edge(address, self.truth, models, self.at_ns)
        return dict(await self.stack.enter_async_context(opened))

    def _share(self, model: Model) -> None:
        """Machines at one broker have one way to their readers."""
        if self._broker_door is not None:
            self.doors[model.machine] = self._broker_door

    async def _broker(self, model: Model) -> Address:
        """Where to publish; the endpoint that readers are told is the proxy, if there is one."""
        if self._address is not None:
            return self._address
        place = self.place
        address = place.broker or await self._own_broker()
        self._address = address
        if place.faulty:
            self._broker_door = await self._door(model.machine)
            self._broker_door.to = (address.host, address.port)
            self.endpoints["mqtt"] = Address(place.shown(), self._broker_door.port).url
        elif place.broker is not None:
            self.endpoints["mqtt"] = place.broker.url
        else:
            self.endpoints["mqtt"] = Address(place.advertised or address.host, address.port).url
        return self._address

    async def _own_broker(self) -> Address:
        place = self.place
        host, port = ("127.0.0.1", 0) if place.faulty else (place.host, self.port())
        self.broker = await self.stack.enter_async_context(own_broker(host, port))
        return self.broker.address
