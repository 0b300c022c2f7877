"""Events of a scripted server (OPC 10000-4, 7.22.3 and 7.25.3; OPC 10000-9, 5.5): what was selected, and conditions that are retained.

An event is its fields by browse path (`ActiveState/Id`; the empty path is the condition itself), each an encoder value.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tests.opcua import encoder as enc
from tests.opcua.encoder import Null, Scalar, Value
from tests.opcua.scripted import codes
from tests.opcua.scripted.codec.wire import Extension, ItemWish, NodeId, Reader, node_bytes
from tests.opcua.scripted.subscription import Monitored, Subscription

if TYPE_CHECKING:
    from tests.opcua.scripted.machine import Machine

EVENT_NOTIFIER, EVENTS, CONDITION_REFRESH = 12, 916, 3875
_EVENT_FILTER: Final = 727
REFRESH_START, REFRESH_END, REFRESH_REQUIRED, OVERFLOW = 2787, 2788, 2789, 3035
Fields = Mapping[str, Value | bytes]


@dataclass
class EventItem:
    """Who listens: selected is a browse path per field. operators: of the where clause."""

    subscription: int
    handle: int
    node: NodeId
    selected: Sequence[str]
    operators: Sequence[int]


@dataclass
class Alarms:
    """retained: what a refresh tells, by any name. refuse: statuses that the next event items get. refresh: of the method.

    unknown: nodes of namespace 0 that nobody can listen to.
    """

    items: dict[int, EventItem] = field(default_factory=dict)
    retained: dict[str, Fields] = field(default_factory=dict)
    refuse: list[int] = field(default_factory=list)
    unknown: set[int | str | bytes] = field(default_factory=set)
    refresh: int = 0
    refreshes: int = 0
    framed: bool = True

    def monitor(self, machine: Machine, subscription: Subscription, wish: ItemWish) -> bytes:
        """A MonitoredItemCreateResult."""
        code = self.refuse.pop(0) if self.refuse else codes.GOOD
        code = codes.NODE_ID_UNKNOWN if wish.node.identifier in self.unknown else code
        number = 0
        if not code:
            number = machine.next_id()
            subscription.items[number] = Monitored(number, wish.handle, "", 0.0, wish.queue)
            selected, operators = _filter(wish.filter)
            self.items[number] = EventItem(subscription.id, wish.handle, wish.node, selected, operators)
        return struct.pack("<IIdI", code, number, 0.0, wish.queue) + b"\0\0\0"

    def tell(self, machine: Machine, *events: Fields) -> None:
        """These events, to every item that is still there, in one notification for each subscription."""
        for subscription in machine.subscriptions.values():
            items = [self.items[n] for n in subscription.items if n in self.items]
            bodies = [_event(item, event) for event in events for item in items]
            if bodies:
                machine.notify(subscription, EVENTS, struct.pack("<i", len(bodies)) + b"".join(bodies))

    def refreshed(self, machine: Machine) -> int:
        """ConditionRefresh: the method's status."""
        self.refreshes += 1
        if self.refresh:
            return self.refresh
        frame = [system(REFRESH_START)], [system(REFRESH_END)]
        begin, end = frame if self.framed else ([], [])
        self.tell(machine, *begin, *self.retained.values(), *end)
        return codes.GOOD


def _filter(extension: Extension) -> tuple[list[str], list[int]]:
    if extension.type_id.identifier != _EVENT_FILTER:
        return [], []
    reader = Reader(extension.body)
    selected = reader.many(lambda: _clause(reader))
    return selected, reader.many(lambda: _operator(reader))


def _clause(reader: Reader) -> str:
    reader.node()
    path = reader.many(reader.qualified_name)
    attribute = reader.u32()
    reader.string()
    assert attribute == (13 if path else 1)
    return "/".join(f"{index}:{name}" if index else str(name) for index, name in path)


def _operator(reader: Reader) -> int:
    operator = reader.u32()
    reader.many(reader.extension)
    return operator


def _event(item: EventItem, event: Fields) -> bytes:
    cells = [event.get(path, Null()) for path in item.selected]
    encoded = [cell if isinstance(cell, bytes) else enc.variant(cell) for cell in cells]
    return struct.pack("<Ii", item.handle, len(encoded)) + b"".join(encoded)


def node(namespace: int, identifier: int | str) -> bytes:
    """A Variant with a NodeId."""
    return b"\x11" + node_bytes(NodeId(namespace, identifier))


NOW: Final = 1_700_000_100_000_000_000


def system(kind: int, at: int = NOW) -> Fields:
    return {
        "EventType": node(0, kind),
        "Time": Scalar(13, enc.ticks(at)),
        "Severity": Scalar(5, 100),
        "EventId": Scalar(15, b"s"),
    }


def simple(source: str, message: str, severity: int, at: int, event_id: bytes = b"e") -> Fields:
    """An event that is no condition's."""
    return {
        "EventId": Scalar(15, event_id),
        "EventType": node(2, 77),
        "SourceName": Scalar(12, source),
        "Time": Scalar(13, enc.ticks(at)),
        "Message": Scalar(21, ("en", message)),
        "Severity": Scalar(5, severity),
    }


def alarm(
    source: str,
    name: str,
    at: int,
    *,
    active: bool,
    acked: bool = False,
    severity: int = 700,
    message: str = "",
    event_id: bytes = b"a",
    condition: str = "",
) -> Fields:
    """An alarm's event. condition: the ConditionId's identifier."""
    return {
        **simple(source, message or name, severity, at, event_id),
        "": node(2, condition or f"{source}.{name}"),
        "ConditionName": Scalar(12, name),
        "Retain": Scalar(1, active or not acked),
        "AckedState/Id": Scalar(1, acked),
        "ActiveState/Id": Scalar(1, active),
    }
