"""The alarms of one machine as conditions: active or not, acknowledged or not, as OPC 10000-9 has them; each change is in the truth.

They outlive the server: one that comes back tells what is so, with the time of its return for what changed meanwhile.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from asyncua import ua

from simulators.clock import MILLISECOND, SECOND
from simulators.faces.opcua_filter import Event, Field
from simulators.faces.opcua_nodes import node_id
from simulators.faces.opcua_times import timestamp
from simulators.live import Alarm
from simulators.model import Model
from simulators.truth import Truth

PROCESS: Final = (node_id(11164), "ProcessConditionClassType")


@dataclass(frozen=True, slots=True)
class Condition:
    """How an alarm stands. at_ns: of its last change. number: how often it changed. event: the id of that change."""

    alarm: Alarm
    active: bool = False
    acked: bool = True
    at_ns: int = 0
    active_ns: int = 0
    acked_ns: int = 0
    number: int = 0
    event: bytes = b""
    comment: str = ""
    user: str = ""

    @property
    def retain(self) -> bool:
        """Whether it still concerns anybody (OPC 10000-9, 5.5.2)."""
        return self.active or not self.acked


@dataclass(slots=True)
class Alarms:
    """All conditions of one machine. now_ns: the machine's time.

    Whatever is said of a condition has a time of its own: two states at one instant would be two facts of which nobody knows the later.
    """

    model: Model
    truth: Truth
    now_ns: int = 0
    _refreshed_ns: int = 0
    _conditions: dict[str, Condition] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._conditions = {alarm.name: Condition(alarm) for alarm in self.model.alarms}

    def look(self, at_ns: int) -> list[Condition]:
        """The changes since the last look, in the order in which they are declared."""
        self.now_ns = at_ns
        on = self.model.alarming()
        changed = [each for each in self._conditions.values() if each.active != (each.alarm.name in on)]
        return [self._turned(each, at_ns) for each in changed]

    def retained(self) -> list[Condition]:
        """What a refresh tells; and that it was told is in the truth, with how everything stands."""
        return [each for each in self._conditions.values() if each.retain]

    def refreshed(self) -> int:
        """Somebody is told the present state of everything; the time of that, ns."""
        changed = [each for each in self._conditions.values() if each.number]
        t = self._behind(self.now_ns, *(each.at_ns for each in changed))
        self._refreshed_ns, rows = t, [_state(each) for each in changed]
        self.truth.rows([{"kind": "refresh", "machine": self.model.machine, "t": t, "conditions": rows}])
        return t

    def find(self, name: str) -> Condition | None:
        return self._conditions.get(name)

    def acknowledge(self, name: str, user: str, comment: str) -> Condition:
        """Somebody has seen it."""
        before = self._conditions[name]
        at_ns = self._behind(self.now_ns, before.at_ns)
        return self._note(
            replace(before, acked=True, acked_ns=at_ns, comment=comment, user=user), at_ns, "acknowledged"
        )

    def _turned(self, before: Condition, at_ns: int) -> Condition:
        at_ns = self._behind(at_ns, before.at_ns)
        if before.active:
            return self._note(replace(before, active=False, active_ns=at_ns), at_ns, "inactive")
        on = replace(before, active=True, acked=False, active_ns=at_ns, acked_ns=at_ns, comment="", user="")
        return self._note(on, at_ns, "active")

    def _behind(self, at_ns: int, *said: int) -> int:
        """This time, or the next after what was said before; a clock that jumped back has other times anyway."""
        last = max((*said, self._refreshed_ns))
        return at_ns if last - at_ns > SECOND else max(at_ns, last + MILLISECOND)

    def _note(self, made: Condition, at_ns: int, change: str) -> Condition:
        name, number = made.alarm.name, made.number + 1
        said = f"{self.model.machine}/{name}/{number}/{at_ns}"
        event = hashlib.blake2b(said.encode(), digest_size=16).digest()
        made = replace(made, at_ns=at_ns, number=number, event=event)
        self._conditions[name] = made
        by = {"by": made.user, "comment": made.comment} if change == "acknowledged" else {}
        row = {"kind": "alarm", "event": change, "machine": self.model.machine, "t": at_ns, **_state(made)}
        self.truth.rows([{**row, "event_id": event.hex(), **by}])
        return made


def _state(each: Condition) -> dict[str, Any]:
    alarm = each.alarm
    return {
        "source": alarm.source, "condition": alarm.name, "active": each.active, "acked": each.acked,
        "retain": each.retain, "severity": alarm.severity, "message": alarm.message,
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Words:
    """What conditions of one machine are called in one server. kind: their type. code: the browse name of the control's number."""

    index: int
    kind: ua.NodeId
    types: frozenset[ua.NodeId]
    code: tuple[int, str] | None = None

    def condition_id(self, name: str) -> ua.NodeId:
        """Conditions have no nodes of their own, which the standard leaves to the server; methods are called on this id."""
        return node_id(f"Alarms.{name}", self.index)

    def event(self, each: Condition, source: ua.NodeId) -> Event:
        """The event that tells how it stands (OPC 10000-9, 5.5 to 5.8)."""
        fields: dict[Field, ua.Variant] = {}
        for path, value in (*self._base(each, source), *self._condition(each), *self._alarm(each)):
            fields[tuple((0, name) for name in path.split("/")) if path else ()] = value
        if self.code is not None:
            fields[(self.code,)] = _string(each.alarm.code)
        return Event(fields, self.types)

    def _base(self, each: Condition, source: ua.NodeId) -> Iterator[tuple[str, ua.Variant]]:
        yield from base(self.kind, each.event, each.at_ns, each.alarm.severity, each.alarm.message)
        yield "SourceNode", _node(source)
        yield "SourceName", _string(each.alarm.source)

    def _condition(self, each: Condition) -> Iterator[tuple[str, ua.Variant]]:
        time = _time(each.at_ns)
        yield "", _node(self.condition_id(each.alarm.name))
        yield "ConditionClassId", _node(PROCESS[0])
        yield "ConditionClassName", _text(PROCESS[1])
        yield "ConditionName", _string(each.alarm.name)
        yield "BranchId", _node(ua.NodeId())
        yield "Retain", _flag(each.retain)
        yield from _two("EnabledState", True, ("Enabled", "Disabled"))
        yield "Quality", ua.Variant(ua.StatusCode(), ua.VariantType.StatusCode)
        yield "Quality/SourceTimestamp", time
        yield "LastSeverity", ua.Variant(each.alarm.severity, ua.VariantType.UInt16)
        yield "LastSeverity/SourceTimestamp", time
        yield "Comment", _text(each.comment)
        yield "Comment/SourceTimestamp", time
        yield "ClientUserId", _string(each.user)

    def _alarm(self, each: Condition) -> Iterator[tuple[str, ua.Variant]]:
        yield from _two("AckedState", each.acked, ("Acknowledged", "Unacknowledged"))
        yield "AckedState/TransitionTime", _time(each.acked_ns)
        yield from _two("ActiveState", each.active, ("Active", "Inactive"))
        yield "ActiveState/TransitionTime", _time(each.active_ns)
        yield "InputNode", _node(ua.NodeId())
        yield "SuppressedOrShelved", _flag(False)
        yield "NormalState", _node(ua.NodeId())


def base(
    kind: ua.NodeId, event: bytes, at_ns: int, severity: int, message: str
) -> Iterator[tuple[str, ua.Variant]]:
    """What every event has (OPC 10000-5, 6.4.2)."""
    yield "EventId", ua.Variant(event, ua.VariantType.ByteString)
    yield "EventType", _node(kind)
    yield "Time", _time(at_ns)
    yield "ReceiveTime", _time(at_ns)
    yield "Message", _text(message)
    yield "Severity", ua.Variant(severity, ua.VariantType.UInt16)


def _two(name: str, state: bool, words: tuple[str, str]) -> Iterator[tuple[str, ua.Variant]]:
    yield name, _text(words[0] if state else words[1])
    yield f"{name}/Id", _flag(state)


def _time(at_ns: int) -> ua.Variant:
    return ua.Variant(timestamp(at_ns), ua.VariantType.DateTime)


def _node(node: ua.NodeId) -> ua.Variant:
    return ua.Variant(node, ua.VariantType.NodeId)


def _string(text: str) -> ua.Variant:
    return ua.Variant(text, ua.VariantType.String)


def _text(text: str) -> ua.Variant:
    return ua.Variant(ua.LocalizedText(text), ua.VariantType.LocalizedText)


def _flag(value: bool) -> ua.Variant:
    return ua.Variant(value, ua.VariantType.Boolean)
