"""OPC UA servers with the standard address space, which the library takes a second to build: built once, and copied.

A copy has its own nodes, references and attributes, and shares the values in them: a write puts another value into an
attribute and leaves the old one as it was. Only the bit masks, which the library changes in place, are copied too.
Of six thousand nodes a server needs some hundred: each is copied when somebody first asks for it.
"""

from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

from asyncua import ua
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.address_space import AddressSpace, AttributeValue, NodeData
from asyncua.server.internal_server import InternalServer
from asyncua.ua.attribute_ids import AttributeIds

from simulators.faces.opcua_entrance import SimServer
from simulators.faces.opcua_identity import Keys
from simulators.faces.opcua_session import Live, LiveSession

NOBODY: Final = User(role=UserRole.Anonymous)
MASKS: Final = (AttributeIds.EventNotifier, AttributeIds.AccessLevel, AttributeIds.UserAccessLevel)


class Nursery:
    """Gives birth to servers; the first takes its time. keys: of all that it gives birth to."""

    def __init__(self) -> None:
        self._pristine: dict[ua.NodeId, NodeData] = {}
        self.keys = Keys()

    async def server(self) -> SimServer:
        """Initialised, and not yet set up or started."""
        server = SimServer(iserver=_Copied(self))
        await server.init()
        return server

    async def furnish(self, space: AddressSpace) -> None:
        """Fill an empty address space."""
        if not self._pristine:
            model = InternalServer()
            await model.load_standard_address_space()
            self._pristine = {node: model.aspace[node] for node in model.aspace.keys()}  # noqa: SIM118 - no mapping
        space._nodes = Lent(self._pristine)  # noqa: SLF001 - where the library puts its own lazy nodes (a shelf)


class Lent(dict[ua.NodeId, NodeData]):
    """The nodes of one server. Those that nobody has asked for are still the pristine ones, which nobody may change."""

    def __init__(self, pristine: Mapping[ua.NodeId, NodeData]) -> None:
        super().__init__()
        self._lent = dict(pristine)

    def __missing__(self, key: ua.NodeId) -> NodeData:
        made = _copy(self._lent.pop(key))
        super().__setitem__(key, made)
        return made

    def get(self, key: ua.NodeId, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default

    def __setitem__(self, key: ua.NodeId, node: NodeData) -> None:
        self._lent.pop(key, None)
        super().__setitem__(key, node)

    def __delitem__(self, key: ua.NodeId) -> None:
        if self._lent.pop(key, None) is None:
            super().__delitem__(key)

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in self._lent

    def __len__(self) -> int:
        return super().__len__() + len(self._lent)

    def __iter__(self) -> Iterator[ua.NodeId]:
        return iter((*self._lent, *super().__iter__()))

    def keys(self) -> Any:
        return KeysView(self)

    def values(self) -> Any:
        return ValuesView(self)

    def items(self) -> Any:
        return ItemsView(self)

    def clear(self) -> None:
        self._lent.clear()
        super().clear()


class _Copied(InternalServer):
    """The library's server, furnished by copying."""

    def __init__(self, nursery: Nursery) -> None:
        super().__init__()
        self._nursery = nursery
        self.live = Live()

    def create_session(self, name: str, user: User = NOBODY, external: bool = False) -> LiveSession:
        session = LiveSession(
            self, self.aspace, self.subscription_service, name, user=user, external=external
        )
        session.live = self.live
        if external:
            self._rename(session)
        return session

    def _rename(self, session: LiveSession) -> None:
        """Under a name that nobody can guess: who knows it takes the session over (OPC UA Part 4, 5.6.2)."""
        self.unregister_external_session(session)
        name: Any = uuid4()
        session.auth_token = ua.NodeId(name)
        self.register_external_session(session)

    async def load_standard_address_space(self, shelf_file: Any = None) -> None:
        await self._nursery.furnish(self.aspace)


def _copy(node: NodeData) -> NodeData:
    made = NodeData(node.nodeid)
    made.references = list(node.references)
    made.call = node.call
    for name, attribute in node.attributes.items():
        made.attributes[name] = kept = AttributeValue(_value(name, attribute))
        kept.value_callback, kept.value_setter = attribute.value_callback, attribute.value_setter
    return made


def _value(name: AttributeIds, attribute: AttributeValue) -> Any:
    value = attribute.value
    if name in MASKS and value is not None and value.Value is not None:
        return replace(value, Value=replace(value.Value))
    return value
