"""Which events pass a client's filter, and which of their fields it gets (OPC 10000-4, 7.7 and 7.22.3).

Our own, because the library's knows an event by Python attributes: it takes OfType for "exactly this type", lets a field that an
event has not end the whole filter, and asks no select clause for its type (decisions/0007).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from asyncua import ua
from asyncua.server.address_space import AddressSpace
from asyncua.ua.attribute_ids import AttributeIds

from simulators.faces.opcua_nodes import node_id

BASE: Final = node_id(2041)  # BaseEventType
_HAS_SUBTYPE: Final = 45
MOST: Final = 100  # elements of a filter that count: each may stand within the one before

Field = tuple[tuple[int, str], ...]
"""A browse path from the event: namespace indices and names; empty for the condition itself."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it is told. types: its own and all above it. always: whatever the filter says."""

    fields: Mapping[Field, ua.Variant]
    types: frozenset[ua.NodeId]
    always: bool = False


def lineage(space: AddressSpace, kind: ua.NodeId) -> frozenset[ua.NodeId]:
    """A type and the types above it."""
    found, at = {kind}, kind
    while (node := space.get(at)) is not None:
        above = [
            each.NodeId
            for each in node.references
            if not each.IsForward and each.ReferenceTypeId == node_id(_HAS_SUBTYPE)
        ]
        if not above or above[0] in found:
            break
        at = above[0]
        found.add(at)
    return frozenset(found)


def selected(event: Event, clauses: Sequence[Any]) -> list[ua.Variant]:
    """The fields in the order asked for; null for what this event has not."""
    return [_field(event, clause) or ua.Variant() for clause in clauses]


def passes(event: Event, where: ua.ContentFilter | None) -> bool:
    """Whether the filter lets it through. What cannot be said (null) is no yes."""
    elements = where.Elements if where is not None else None
    return event.always or not elements or _Where(event, elements).element(0) is True


def _field(event: Event, clause: Any) -> ua.Variant | None:
    if clause.TypeDefinitionId not in event.types and clause.TypeDefinitionId not in (BASE, ua.NodeId()):
        return None
    if not clause.BrowsePath:
        return event.fields.get(()) if clause.AttributeId == AttributeIds.NodeId else None
    if clause.AttributeId != AttributeIds.Value:
        return None
    return event.fields.get(tuple((name.NamespaceIndex, name.Name) for name in clause.BrowsePath))


@dataclass(frozen=True, slots=True)
class _Where:
    """True, False, or None for neither (OPC 10000-4, 7.7.3). Each element is computed once, however often others refer to it."""

    event: Event
    elements: Sequence[Any]
    _known: dict[int, Any] = field(default_factory=dict)

    def element(self, place: int) -> Any:
        if place not in self._known:
            self._known[place] = None
            self._known[place] = self._computed(place, self.elements[place])
        return self._known[place]

    def _computed(self, place: int, each: Any) -> Any:
        try:
            given = [self._operand(operand, place) for operand in each.FilterOperands]
            if each.FilterOperator == ua.FilterOperator.OfType:
                return given[0] in self.event.types
            rule = _RULES.get(ua.FilterOperator(each.FilterOperator).name)
            return None if rule is None else rule(*given)
        except (TypeError, IndexError, ValueError, AttributeError, re.error):
            return None  # what a client wrote makes no sense

    def _operand(self, operand: Any, place: int) -> Any:
        if isinstance(operand, ua.ElementOperand):
            known = place < operand.Index < min(len(self.elements), MOST)
            return self.element(operand.Index) if known else None  # an element refers to later ones
        if isinstance(operand, ua.LiteralOperand):
            return _plain(operand.Value)
        if isinstance(operand, ua.SimpleAttributeOperand):
            return _plain(_field(self.event, operand))
        return None


def _plain(value: Any) -> Any:
    """A text without its language: that is how filters compare (OPC 10000-4, 7.7.3)."""
    value = value.Value if isinstance(value, ua.Variant) else value
    return value.Text if isinstance(value, ua.LocalizedText) else value


def _known(rule: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *given: None if None in given else rule(*given)


def _and(a: Any, b: Any) -> Any:
    return False if False in (a, b) else (None if None in (a, b) else bool(a and b))


def _or(a: Any, b: Any) -> Any:
    return True if True in (a, b) else (None if None in (a, b) else bool(a or b))


def _like(text: str, pattern: str) -> bool:
    r"""`%` any characters, `_` one, `[]` one of a list, `\\` takes the next as it is (OPC 10000-4, table 119)."""
    made = ""
    for found in re.finditer(r"\\(.)|(%)|(_)|(\[[^\]]*\])|(.)", pattern, re.DOTALL):
        plain, many, one, listed, other = found.groups()
        made += ".*" if many else "." if one else listed or re.escape(plain or other or "")
    return re.fullmatch(made, text, re.DOTALL) is not None


_RULES: Final[Mapping[str, Callable[..., Any]]] = {
    "Equals": _known(lambda a, b: a == b),
    "IsNull": lambda a: a is None,
    "GreaterThan": _known(lambda a, b: a > b),
    "LessThan": _known(lambda a, b: a < b),
    "GreaterThanOrEqual": _known(lambda a, b: a >= b),
    "LessThanOrEqual": _known(lambda a, b: a <= b),
    "Like": _known(_like),
    "Not": _known(lambda a: not a),
    "Between": _known(lambda a, low, high: low <= a <= high),
    "InList": lambda a, *others: None if a is None else a in others,
    "And": _and,
    "Or": _or,
}
