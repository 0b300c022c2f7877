"""What a server knows of a variable beyond its value: unit, range, the names of an enumeration's values.

Units and ranges are properties of the variable (OPC 10000-8, 5.3.2), names of values are properties of the variable (multi-state
types) or of its DataType, or stand in the DataType's definition (OPC 10000-3, 8.40 and 8.50). All of it is a gift: a server
that refuses or says nonsense costs a unit or a name, and never a signal.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.uaerrors import UaStatusCodeError

from adapters.labels import NO_RANGE, Range
from adapters.opcua.batches import in_batches
from adapters.opcua.browse import PROPERTY, Browser
from adapters.opcua.channel import Channel
from adapters.opcua.errors import name_of
from adapters.opcua.nodeid import canonical, parse_node_id, sound
from pipelines.units import by_unit_id

if TYPE_CHECKING:
    from adapters.opcua.items import Item
    from adapters.opcua.subscription import Desk

log = logging.getLogger("adapters.opcua")
_UNECE: Final = "http://www.opcfoundation.org/UA/units/un/cefact"
_WANTED: Final = ("EngineeringUnits", "EURange", "EnumStrings", "EnumValues", "FalseState", "TrueState")
_RANGE: Final = ("EURange",)
_NAMES: Final = ("EnumStrings", "EnumValues", "FalseState", "TrueState")
_MOST_NAMES: Final = 1000
_BASE: Final = {f"i={number}" for number in range(1, 30)}
_PLAIN: Final = _BASE - {"i=22", "i=24"}  # types whose values are no structures
_INTEGERS: Final = {f"i={number}" for number in (1, *range(2, 10), 27, 28, 29)}
_UNREADABLE: Final = (ValueError, struct.error, IndexError, TypeError, AttributeError)


class Traits:
    """Asks for many items at a time; what is known of a DataType is asked once per session."""

    def __init__(self, channel: Channel, desk: Desk) -> None:
        self._channel, self._desk = channel, desk
        self._browser = Browser(channel, desk)
        self._types: dict[str, dict[int, str]] = {}

    async def look(self, items: Sequence[Item], data_types: Sequence[str]) -> None:
        """Fill in what the configuration leaves out. data_types: as NodeIds of this server, empty where unknown."""
        asked = [(item, kind) for item, kind in zip(items, data_types, strict=True) if _asks(item, kind)]
        if not asked:
            return
        try:
            await self._fill(asked)
        except (
            UaStatusCodeError,
            TimeoutError,
        ) as error:  # no Browse, or nobody may look around, or it takes too long
            log.info("no units and names from this server: %s", name_of(error))

    async def recall(self, items: Sequence[Item]) -> None:
        """The same for items that are monitored already: their DataTypes have to be asked for first."""
        found = [(item, self._desk.node_id(item.address)) for item in items]
        known = [(item, node) for item, node in found if node is not None]
        kinds = await self.read([(node, AttributeIds.DataType) for _, node in known])
        texts = [_type_text(kind) for kind in kinds]
        await self.look([item for item, _ in known], texts)
        own = [item for (item, _), text in zip(known, texts, strict=True) if text not in _PLAIN]
        abouts = await in_batches(own, max(1, self._desk.limits.read // 3), self._desk.read_batch)
        await self._desk.types.learn(own, [(str(about[0].value or ""), about[2]) for about in abouts])

    async def _fill(self, asked: Sequence[tuple[Item, str]]) -> None:
        nodes = [self._desk.node_id(item.address) or ua.NodeId() for item, _ in asked]
        for (item, _), found in zip(asked, await self._properties(nodes), strict=True):
            item.unit = _unit(found.get("EngineeringUnits"))
            item.range = _range(found)
            item.about = _about(item.range, item.unit)
            item.texts = _texts(found)
        await self.names([kind for item, kind in asked if not item.texts and _named_by_type(item, kind)])
        for item, kind in asked:
            item.texts = item.texts or self._types.get(kind, {})

    async def ranges(self, items: Sequence[Item]) -> None:
        """EURange of these, for those that were not asked for anything else."""
        nodes = [self._desk.node_id(item.address) or ua.NodeId() for item in items]
        for item, found in zip(items, await self._properties(nodes, _RANGE), strict=True):
            item.range = _range(found)

    async def _properties(
        self, nodes: Sequence[ua.NodeId], names: Sequence[str] = _WANTED
    ) -> list[dict[str, Any]]:
        below = await self._browser.children(nodes, PROPERTY)
        wanted = [(n, c.name, c.node) for n, cs in enumerate(below) for c in cs if c.name in names]
        values = await self.read([(node, AttributeIds.Value) for _, _, node in wanted])
        found: list[dict[str, Any]] = [{} for _ in nodes]
        for (place, name, _), value in zip(wanted, values, strict=True):
            found[place].setdefault(name, value)
        return found

    async def names(self, kinds: Sequence[str]) -> dict[str, dict[int, str]]:
        """Names of the values of these DataTypes, where they have any."""
        await self._learn_types(sorted(set(kinds) - self._types.keys()))
        return {kind: self._types[kind] for kind in kinds}

    async def _learn_types(self, kinds: Sequence[str]) -> None:
        nodes = [self._desk.node_id(parse_node_id(kind)) or ua.NodeId() for kind in kinds]
        if not nodes:
            return
        definitions = await self.read([(node, AttributeIds.DataTypeDefinition) for node in nodes])
        properties = await self._properties(nodes)
        for kind, definition, found in zip(kinds, definitions, properties, strict=True):
            self._types[kind] = _texts(found) or _defined(definition)

    async def read(self, wanted: Sequence[tuple[ua.NodeId, Any]]) -> list[Any]:
        """Values; None where there is none, or none that can be read."""

        async def call(batch: Sequence[tuple[ua.NodeId, Any]]) -> list[Any]:
            request = ua.ReadRequest()
            request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Neither
            request.Parameters.NodesToRead = [ua.ReadValueId(NodeId=n, AttributeId=a) for n, a in batch]
            try:
                results = (await self._channel.call(request, ua.ReadResponse)).Results
            except _UNREADABLE:
                return [None] if len(batch) == 1 else [v for one in batch for v in await call([one])]
            if len(results) != len(batch):
                return [None] * len(batch)
            return [r.Value.Value if r.Value is not None else None for r in results]

        return await in_batches(wanted, self._desk.limits.read, call)


def _type_text(kind: Any) -> str:
    if not isinstance(kind, ua.NodeId):
        return ""
    return canonical(kind.NodeIdType.value, kind.Identifier, kind.NamespaceIndex, ())


def _asks(item: Item, data_type: str) -> bool:
    return not item.signal.unit or (item.signal.names and (data_type in _INTEGERS or data_type not in _BASE))


def _named_by_type(item: Item, data_type: str) -> bool:
    return item.signal.names and bool(data_type) and data_type not in _BASE


def _unit(said: Any) -> str:
    """The UNECE code if it is one, else what the server shows (OPC 10000-8, 5.6.3)."""
    if said is None or not hasattr(said, "UnitId"):
        return ""
    known = by_unit_id(int(said.UnitId)) if (said.NamespaceUri or _UNECE) == _UNECE else None
    shown = _words(said.DisplayName)
    return known.code if known is not None else shown if shown.isprintable() else ""


def _range(found: Mapping[str, Any]) -> Range:
    """What a server leaves at 0 to 0, or turns around, is no range (OPC 10000-8, 5.6.2)."""
    limits: Any = found.get("EURange")
    try:
        low, high = float(limits.Low), float(limits.High)
    except (AttributeError, TypeError, ValueError):
        return NO_RANGE
    return (low, high) if isfinite(low) and isfinite(high) and low < high else NO_RANGE


def _about(limits: Range, unit: str) -> str:
    ends = "" if limits == NO_RANGE else f"{limits[0]:g} to {limits[1]:g}"
    return ", ".join(
        words for words in (f"unit {unit}" if unit else "", f"range {ends}" if ends else "") if words
    )


def _texts(found: Mapping[str, Any]) -> dict[int, str]:
    """By value. EnumStrings count from 0, EnumValues say their numbers, a two-state variable has a text for each."""
    if isinstance(values := found.get("EnumValues"), list):
        return _some((v.Value, v.DisplayName) for v in values if hasattr(v, "DisplayName"))
    if isinstance(strings := found.get("EnumStrings"), list):
        return _some(enumerate(strings))
    return _some((n, found[name]) for n, name in enumerate(("FalseState", "TrueState")) if name in found)


def _defined(definition: Any) -> dict[int, str]:
    """An EnumDefinition; a structure has fields, but those have no values."""
    fields = getattr(definition, "Fields", None) or ()
    return _some(
        (f.Value, f.DisplayName if _words(f.DisplayName) else f.Name) for f in fields if hasattr(f, "Value")
    )


def _some(pairs: Iterable[tuple[Any, Any]]) -> dict[int, str]:
    made: dict[int, str] = {}
    for number, text in pairs:
        if len(made) < _MOST_NAMES and (words := _words(text)):
            made[int(number)] = words
    return made


def _words(text: Any) -> str:
    return sound(getattr(text, "Text", text))
