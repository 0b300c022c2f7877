"""What a server says of its structure types, asked level by level and for all at once, and made into shapes.

Two ways, as servers are: the attribute DataTypeDefinition (OPC 10000-3, 5.8.3, since 1.04), and type dictionaries
(OPC 10000-5, D.5), which were there before. A type that neither says is not known, and its values are refused by name.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.uaerrors import UaStatusCodeError

from adapters.opcua.browse import Browser, Child, Look
from adapters.opcua.channel import Channel
from adapters.opcua.decode import Found
from adapters.opcua.errors import name_of
from adapters.opcua.grids import Bodies, Body
from adapters.opcua.nodeid import parse_node_id
from adapters.opcua.shapes import Catalogue, Selection
from adapters.opcua.structure_dictionary import Dictionary, standard
from adapters.opcua.structure_make import LEVELS, Known, Maker, Unresolved, base, fields_of, text_of
from adapters.opcua.structures import unfold
from adapters.opcua.traits import Traits
from adapters.opcua.values import Malformed

if TYPE_CHECKING:
    from adapters.opcua.items import Item
    from adapters.opcua.subscription import Desk

log = logging.getLogger("adapters.opcua")
# nodes of any class: python-opcua says DataType of what these references lead to
_ENCODINGS: Final = Look(38, False, 0)  # NodeIds.csv: HasEncoding
_ENCODED: Final = Look(38, True, 0)  # … and back to the DataType
_SUPERTYPE: Final = Look(45, True, 0)  # HasSubtype
_DESCRIBED: Final = Look(39, False, 0)  # HasDescription
_DICTIONARY: Final = Look(47, True, 0)  # HasComponent
_BINARY: Final = "Default Binary"
_MOST_TYPES: Final = 2000
_ROUNDS: Final = 6
_ENUMERATION: Final = "i=29"


class Types:
    """The types of one server, as far as somebody needed them. `catalogue` grows and never shrinks."""

    def __init__(self, channel: Channel, desk: Desk, traits: Traits) -> None:
        self._desk, self._traits = desk, traits
        self._browser = Browser(channel, desk)
        self._maker = Maker()
        self._asked: set[str] = set()
        self.catalogue = Catalogue({k: s for k, s in standard().items() if k.startswith("i=")})

    async def learn(self, items: Sequence[Item], found: Sequence[tuple[str, Found]]) -> None:
        """What these items need. found: DataType (as text, empty if unknown) and present value of each."""
        bodies = [about.value for _, about in found if isinstance(about.value, Body | Bodies)]
        nulls = {kind for kind, about in found if about.value is None and not base(kind)}
        for item in items:
            item.types = self.catalogue
        if bodies or nulls:
            said = {
                kind for kind, about in found if isinstance(about.value, Body | Bodies) and not base(kind)
            }
            await self._patiently(bodies, nulls | said)

    async def catch_up(self) -> None:
        """Ask for the types that came and are not known."""
        if self.catalogue.missing - self._asked:
            await self._patiently((), set())

    async def _patiently(self, bodies: Sequence[Body | Bodies], types: set[str]) -> None:
        """A server that cannot say its types costs these signals, and not the others."""
        try:
            await self._learn(bodies, types)
        except (UaStatusCodeError, TimeoutError) as error:
            log.info("no structure types from this server: %s", name_of(error))

    async def _learn(self, bodies: Sequence[Body | Bodies], types: set[str]) -> None:
        """Until everything in these bodies has a type, or nobody knows it; a body may name types inside of it."""
        for _ in range(_ROUNDS):
            await self._walk(types - self._maker.known.keys())
            await self._name()
            self._build()
            self._missing(bodies)
            wanted = {text for text in self.catalogue.missing if text not in self._asked}
            if not wanted:
                return
            self._asked |= wanted
            types = await self._types_of(sorted(wanted))
        self._build()

    def _missing(self, bodies: Sequence[Body | Bodies]) -> None:
        for body in bodies:
            try:
                unfold(body, self.catalogue, Selection())
            except Malformed:  # it is told when the value comes
                continue
        self.catalogue.missing -= self.catalogue.shapes.keys()

    async def _types_of(self, encodings: Sequence[str]) -> set[str]:
        """The DataTypes that have these encodings; from dictionaries, what has no definition."""
        nodes = [self._node(text) for text in encodings]
        found = await self._browser.around(nodes, _ENCODED)
        types = {
            text: text_of(children[0].node)
            for text, children in zip(encodings, found, strict=True)
            if children
        }
        await self._walk(set(types.values()) - self._maker.known.keys())
        for encoding, kind in types.items():
            self._maker.known[kind].encodings = {**self._maker.known[kind].encodings, _BINARY: encoding}
        without = [text for text in encodings if not self._says(types.get(text, ""))]
        await self._from_dictionaries(without)
        return set(types.values())

    def _says(self, kind: str) -> bool:
        known = self._maker.known.get(kind)
        return known is not None and hasattr(known.definition, "StructureType")

    async def _walk(self, kinds: Iterable[str]) -> None:
        """These types, what they derive from, and what their fields are."""
        wanted = {kind for kind in kinds if not base(kind)}
        for _ in range(LEVELS):
            fresh = sorted(wanted - self._maker.known.keys())[: max(0, _MOST_TYPES - len(self._maker.known))]
            if not fresh:
                return
            nodes = [self._node(kind) for kind in fresh]
            attributes = (AttributeIds.DataTypeDefinition, AttributeIds.IsAbstract, AttributeIds.BrowseName)
            read = await self._traits.read([(node, a) for node in nodes for a in attributes])
            parents = await self._browser.around(nodes, _SUPERTYPE)
            encodings = await self._browser.around(nodes, _ENCODINGS)
            for place, kind in enumerate(fresh):
                definition, abstract, name = read[3 * place : 3 * place + 3]
                parent = text_of(parents[place][0].node) if parents[place] else ""
                self._maker.known[kind] = Known(
                    definition,
                    str(getattr(name, "Name", "")),
                    abstract is True,
                    parent,
                    _by_name(encodings[place]),
                )
                wanted |= {text for text in (parent, *fields_of(definition)) if text and not base(text)}

    async def _name(self) -> None:
        """Names of the values of enumerations."""
        kinds = [k for k, known in self._maker.known.items() if known.parent == _ENUMERATION]
        fresh = [kind for kind in kinds if kind not in self._maker.texts]
        if fresh:
            self._maker.texts |= await self._traits.names(fresh)

    def _build(self) -> None:
        """Shapes of everything that is known well enough, by their encodings."""
        for kind, known in self._maker.known.items():
            try:
                shape = self._maker.shape(kind)
            except (Unresolved, RecursionError):
                continue
            encodings, default = known.encodings, getattr(known.definition, "DefaultEncodingId", None)
            for text in (
                encodings.get(_BINARY, ""),
                text_of(default) if isinstance(default, ua.NodeId) else "",
            ):
                if text and text != "i=0":
                    self.catalogue.shapes[text] = shape

    async def _from_dictionaries(self, encodings: Sequence[str]) -> None:
        """Shapes by the description that an encoding points to: a variable whose value is a name in the dictionary above it."""
        if not encodings:
            return
        below = await self._browser.around([self._node(text) for text in encodings], _DESCRIBED)
        described = [(text, found[0].node) for text, found in zip(encodings, below, strict=True) if found]
        above = await self._browser.around([node for _, node in described], _DICTIONARY)
        placed = [
            (text, node, found[0].node) for (text, node), found in zip(described, above, strict=True) if found
        ]
        sources = list({text_of(source): source for _, _, source in placed}.values())
        nodes = [*(node for _, node, _ in placed), *sources]
        values = await self._traits.read([(node, AttributeIds.Value) for node in nodes])
        read = {
            text_of(node): _dictionary(xml) for node, xml in zip(sources, values[len(placed) :], strict=True)
        }
        for (text, _, source), name in zip(placed, values, strict=False):
            dictionary = read.get(text_of(source))
            shape = dictionary.shape(str(name)) if dictionary is not None else None
            if shape is not None:
                self.catalogue.shapes[text] = shape

    def _node(self, text: str) -> ua.NodeId:
        try:
            return self._desk.node_id(parse_node_id(text)) or ua.NodeId()
        except ValueError:
            return ua.NodeId()


def _dictionary(xml: Any) -> Dictionary | None:
    try:
        return Dictionary(xml) if isinstance(xml, bytes) else None
    except (ValueError, struct.error) as error:
        log.info("%s", error)
        return None


def _by_name(children: Sequence[Child]) -> dict[str, str]:
    return {child.name: text_of(child.node) for child in children}
