"""The EventFilter of an entry (OPC 10000-4, 7.22.3): which fields a server is to send, and of which events.

Severity alone would be the wrong question: a condition that goes back to normal often has a lower severity than the alarm had, and
a filter would hold back the very event that ends it. So conditions are asked for whatever their severity is, and so are the
events that frame a refresh; the rest is decided here (events_book.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds

from adapters.opcua.browse import Browser
from adapters.opcua.events_settings import OpcUaEvents
from adapters.opcua.nodeid import parse_node_id
from adapters.opcua.paths import parse_path

if TYPE_CHECKING:
    from adapters.opcua.subscription import Desk

_MODEL_CHANGE = 2132  # BaseModelChangeEventType
_BASE, _CONDITION, _ACKNOWLEDGEABLE, _ALARM, _SYSTEM = (
    2041,
    2782,
    2881,
    2915,
    2130,
)  # NodeIds.csv: event types
STANDARD: Final = (
    ("event_id", _BASE, "EventId"),
    ("type", _BASE, "EventType"),
    ("source", _BASE, "SourceName"),
    ("time", _BASE, "Time"),
    ("received", _BASE, "ReceiveTime"),
    ("message", _BASE, "Message"),
    ("severity", _BASE, "Severity"),
    ("condition_id", _CONDITION, ""),
    ("condition", _CONDITION, "ConditionName"),
    ("branch", _CONDITION, "BranchId"),
    ("retain", _CONDITION, "Retain"),
    ("quality", _CONDITION, "Quality"),
    ("acked", _ACKNOWLEDGEABLE, "AckedState/Id"),
    ("active", _ALARM, "ActiveState/Id"),
)
"""(our word, the type that has it, browse names): OPC 10000-5, 6.4.2, and OPC 10000-9, 5.5 to 5.8. No path: the condition itself."""


def event_filter(entry: OpcUaEvents, desk: Desk, browser: Browser, *, where: bool = True) -> ua.EventFilter:
    """where: without, the server sends every event."""
    made = ua.EventFilter()
    made.SelectClauses = [
        _clause(kind, [(0, name) for name in path.split("/") if name]) for _, kind, path in STANDARD
    ]
    for path in entry.fields.values():
        steps = parse_path(path).steps
        made.SelectClauses.append(
            _clause(_BASE, [(max(browser.index(s) or 0, 0), s.name or "") for s in steps])
        )
    if where:
        made.WhereClause.Elements = _elements(entry, desk)
    return made


def selective(entry: OpcUaEvents) -> bool:
    return entry.severity > 0 or entry.only is not None


def changes_filter() -> ua.EventFilter:
    """The type of events that tell of a changed address space, and nothing else (OPC 10000-5, 6.4.31)."""
    made = ua.EventFilter()
    made.SelectClauses = [_clause(_BASE, [(0, "EventType")])]
    made.WhereClause.Elements = [_of_type(_node(_MODEL_CHANGE))]
    return made


def _elements(entry: OpcUaEvents, desk: Desk) -> list[ua.ContentFilterElement]:
    """The first one decides; it speaks of the others by their places (OPC 10000-4, 7.7)."""
    operator = ua.FilterOperator
    if entry.only is not None:
        wanted = desk.node_id(parse_node_id(entry.only)) or ua.NodeId()
        return [_element(operator.Or, _place(1), _place(2)), _of_type(wanted), _of_type(_node(_SYSTEM))]
    if not entry.severity:
        return []
    least = _literal(ua.Variant(entry.severity, ua.VariantType.UInt16))
    return [
        _element(operator.Or, _place(1), _place(2)),
        _element(operator.GreaterThanOrEqual, _clause(_BASE, [(0, "Severity")]), least),
        _element(operator.Or, _place(3), _place(4)),
        _of_type(_node(_CONDITION)),
        _of_type(_node(_SYSTEM)),
    ]


def _clause(kind: int, path: Sequence[tuple[int, str]]) -> ua.SimpleAttributeOperand:
    made = ua.SimpleAttributeOperand()
    made.TypeDefinitionId = _node(kind)
    made.BrowsePath = [ua.QualifiedName(name, index) for index, name in path]
    attribute: Any = AttributeIds.Value if path else AttributeIds.NodeId
    made.AttributeId = attribute
    return made


def _element(operator: ua.FilterOperator, *operands: Any) -> ua.ContentFilterElement:
    made = ua.ContentFilterElement()
    made.FilterOperator, made.FilterOperands = operator, list(operands)
    return made


def _of_type(node: ua.NodeId) -> ua.ContentFilterElement:
    return _element(ua.FilterOperator.OfType, _literal(ua.Variant(node, ua.VariantType.NodeId)))


def _place(index: int) -> ua.ElementOperand:
    make: Any = ua.ElementOperand
    made: ua.ElementOperand = make(Index=index)
    return made


def _literal(value: ua.Variant) -> ua.LiteralOperand:
    make: Any = ua.LiteralOperand
    made: ua.LiteralOperand = make(Value=value)
    return made


def _node(identifier: int) -> ua.NodeId:
    make: Any = ua.NodeId
    made: ua.NodeId = make(identifier)
    return made
