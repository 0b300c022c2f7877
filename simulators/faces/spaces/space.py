"""The standard address space of one machine in its server: built beside the vendor's folder, and kept up with every step.

What stands here is what the signals say, in other words: the same value at the same time with the same quality. So the truth
has it once, under the signal's name.
"""

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from asyncua import ua
from asyncua.server.server import Server

from simulators.errors import SimulatorError
from simulators.faces.opcua_nodes import node_id
from simulators.faces.spaces.hidden import hidden
from simulators.faces.spaces.kinds import layout
from simulators.faces.spaces.layout import Grown, Growth, Layout
from simulators.faces.spaces.nodes import LOCALE, Numbers, declared_nodes, grown_node, reference, rules
from simulators.faces.spaces.sources import Source, Sources
from simulators.faces.spaces.table import UA, Book, book
from simulators.faces.spaces.wire import Wire
from simulators.model import Model

NOT_ACTIVE: Final = (
    0x80BF0000  # BadStateNotActive: a state machine within a state that is not the present one
)
NOT_SUPPORTED: Final = (
    0x803D0000  # BadNotSupported: mandatory in the type, and this machine has no such thing
)


@dataclass(slots=True)
class Variable:
    """A variable of the standard tree, and the value it had last."""

    node: ua.NodeId
    grown: Grown
    source: Source
    last: Any = None


class Said(NamedTuple):
    """A value to be written. status: 0, or why there is none. of: the signal whose quality it has."""

    node: ua.NodeId
    value: ua.Variant
    status: int
    of: str = ""


@dataclass(slots=True)
class Space:
    """Of one machine in one server. Built by `furnish`."""

    model: Model
    server: Server
    numbers: Numbers
    book: Book
    nodes: dict[str, ua.NodeId] = field(default_factory=dict)
    fixed: list[Variable] = field(default_factory=list)
    moving: list[Variable] = field(default_factory=list)

    def first(self) -> Iterator[Said]:
        """All values as they are."""
        for each in (*self.fixed, *self.moving):
            each.last = each.source.compute(self.model.values)
            yield self._said(each)

    def changes(self, names: Iterable[str]) -> Iterator[Said]:
        """What became other because these signals changed."""
        told = frozenset(names)
        for each in self.moving:
            if each.source.of and each.source.of not in told:
                continue
            value = each.source.compute(self.model.values)
            if each.source.of or value != each.last:
                each.last = value
                yield self._said(each)

    def _said(self, each: Variable) -> Said:
        if each.last is None:
            return Said(each.node, ua.Variant(), NOT_SUPPORTED if each.source.fixed else NOT_ACTIVE)
        grown, wire = each.grown, Wire(self.book, self.numbers)
        value = wire.variant(each.last, grown.data, grown.builtin, grown.rank)
        return Said(each.node, value, 0, each.source.of)

    async def grow(self, wanted: Layout) -> None:
        """Add all nodes of the machine."""
        growth = Growth(self.book, wanted)
        sources = Sources(self.model, growth, self.numbers)
        items = [self._item(node, wanted, sources) for node in growth.nodes()]
        await _add(self.server, items)
        links = [
            reference(
                self.nodes[each.source],
                self.numbers.node(self.book.type(*each.by)),
                self.nodes[each.target],
                ua.NodeClass.Object,
            )
            for each in wanted.links
        ]
        for status in await self.server.iserver.isession.add_references(links):
            status.check()

    def hide(self) -> None:
        """Add the variables that no browse finds."""
        for item, grown, source in hidden(self.model, self.numbers.own):
            left = self.server.iserver.node_mgt_service.try_add_nodes([item], check=False)  # without a parent
            if list(left):
                raise SimulatorError(f"{grown.path} is there twice")
            self.moving.append(Variable(item.RequestedNewNodeId, grown, source))

    def _item(self, node: Grown, wanted: Layout, sources: Sources) -> ua.AddNodesItem:
        at = node_id(f"{wanted.folder}/{wanted.name}/{node.path}".rstrip("/"), self.numbers.own)
        parent = self.nodes[node.above] if node.path else self.numbers.node(wanted.entry)
        self.nodes[node.path] = at
        value = ua.Variant()
        if node.kind == "Variable":
            each = Variable(at, node, sources.of(node))
            (self.fixed if each.source.fixed else self.moving).append(each)
            each.last = each.source.compute(self.model.values)
            value = self._said(each).value
        item = grown_node(node, at, parent, self.numbers, value)
        if text := self._description(node):
            item.NodeAttributes.Description = ua.LocalizedText(text, LOCALE)
        return item

    def _description(self, node: Grown) -> str:
        """As in the vendor's folder, where the part is a signal."""
        if node.part is None or node.part.text:
            return "" if node.part is None else node.part.text
        name = node.part.signal
        return next((signal.description for signal in self.model.signals if signal.name == name), "")


async def furnish(server: Server, model: Model, own: int) -> Space | None:
    """Build the tree of the machine's companion specification; None where it follows none. own: its namespace's index."""
    wanted = layout(model)
    if wanted is None:
        return None
    known = book(wanted.tables)
    uris = dict.fromkeys(key.uri for key in known.declared if key.uri != UA)
    index = {UA: 0} | {uri: await server.register_namespace(uri) for uri in uris}
    space = Space(model, server, Numbers(index, own), known)
    with uncollected():
        for uri in uris:
            await _add(server, declared_nodes(known, uri, space.numbers))
        for uri in uris:
            for status in await server.iserver.isession.add_references(
                list(rules(known, uri, space.numbers))
            ):
                status.check()
        await space.grow(wanted)
    space.hide()
    return space


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the garbage collector, which would look through the whole standard address space again and again: 90 ms, not 250."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


async def _add(server: Server, nodes: Iterable[ua.AddNodesItem]) -> None:
    for result in await server.iserver.isession.add_nodes(list(nodes)):
        result.StatusCode.check()
