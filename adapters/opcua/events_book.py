"""What the events of one entry say: a condition's state as signals of its machine, and lines of text for all other events.

Signals and not a row of many columns: "which alarms were active at ten o'clock" is then the question that it is for every other
signal, and it is answered by the same databases and pages. Their names come from the event alone (`<name>.<SourceName>.<ConditionName>`),
so that they are the same after every restart; two conditions of one name are told apart by a digest of the ConditionId, and
however many a server invents, `most` of them get signals and the rest share one set.

A row's time is the event's own. After a refresh the present state of every condition is stated once more, at the time that the refresh
ended: a lost connection has left these signals without a value, and the events of long ago have been stored long ago. What a
server does not retain any more is neither active nor waits for anybody (OPC 10000-9, 5.5.2): that is stored as a fact.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from adapters.opcua.errors import status_name
from adapters.opcua.events_decode import Field
from adapters.opcua.events_filter import STANDARD
from adapters.opcua.events_rows import EventRows
from adapters.opcua.events_settings import OpcUaEvents
from adapters.opcua.grids import Octets, hexadecimal
from adapters.opcua.values import rfc3339
from pipelines.batch import Flag, Kind
from pipelines.registry import Registry
from pipelines.stage import Gap

REFRESH_STARTS, REFRESH_ENDS, REFRESH_REQUIRED = "i=2787", "i=2788", "i=2789"  # NodeIds.csv: event types
QUEUE_OVERFLOW: Final = "i=3035"
_WORDS: Final = tuple(word for word, _, _ in STANDARD)
_NOTHING: Final = Field(0, None, None)
_LONGEST: Final = (
    70  # characters of a source's or condition's name; with what stands around them a name has 200
)
_OTHERS: Final = "others"
_STATUS: Final = 19
_NONE: Final = ("", "i=0")  # of a NodeId


@dataclass(slots=True)
class State:
    """What was said of a condition last. active, acked: None if it has no such state."""

    active: bool | None = None
    acked: bool | None = None
    severity: int = 0
    message: str = ""
    quality: int = 0


@dataclass(slots=True)
class Said:
    """One event by our words. more: the further fields."""

    at: int
    flags: int
    cells: Mapping[str, Field]
    more: Mapping[str, Field]

    def text(self, word: str) -> str:
        cell = self.cells[word]
        return str(cell.value) if cell.kind is Kind.TEXT and isinstance(cell.value, str) else ""

    def flag(self, word: str) -> bool | None:
        value = self.cells[word].value
        return value if isinstance(value, bool) else None

    @property
    def severity(self) -> int:
        value = self.cells["severity"].value
        return value if isinstance(value, int) and not isinstance(value, bool) else 0

    @property
    def event_id(self) -> str:
        value = self.cells["event_id"].value
        return hexadecimal(value) if isinstance(value, Octets) else ""

    @property
    def conditional(self) -> bool:
        """Whether it is a condition's: each of these has a name, and says whether it is retained."""
        return self.flag("retain") is not None or bool(self.text("condition"))


@dataclass(slots=True)
class Book:
    """One entry's. last: ns, the time of its last event. stale: the server asks for a refresh."""

    settings: OpcUaEvents
    machine: str
    tags: Mapping[str, str]
    registry: Registry
    namespaces: Sequence[str] = ()
    last: int = 0
    stale: bool = False
    others: int = 0
    rows: EventRows = field(init=False)
    _states: dict[str, State] = field(default_factory=dict)  # by label
    _labels: dict[str, str] = field(default_factory=dict)  # by what the server calls it
    _known: set[str] | None = None
    _refreshed: set[str] | None = None

    def __post_init__(self) -> None:
        self.rows = EventRows(self.machine, self.tags, self.registry)

    @property
    def active(self) -> int:
        return sum(bool(state.active) for state in self._states.values())

    def take(self, fields: Sequence[Field], received: int) -> Gap | None:
        """One event into `rows`; a gap when it says that events were lost."""
        said = self._understood(fields, received)
        kind = said.text("type")
        if kind == QUEUE_OVERFLOW:
            detail = f"the server's queue was too small for the events of {self.settings.name}"
            return Gap(
                min(self.last or said.at, said.at), said.at, "server_queue_overflow", detail, (self.machine,)
            )
        if kind == REFRESH_STARTS:
            self._refreshed = set()
        elif kind == REFRESH_ENDS:
            self._end_of_refresh(said.at)
        elif kind == REFRESH_REQUIRED:
            self.stale = True
        elif said.conditional:
            self._condition(said)
        elif said.severity >= self.settings.severity:
            self._line(said, self._labelled(self._name(said), said.text("source")))
        self.last = max(self.last, said.at)
        return None

    def _understood(self, fields: Sequence[Field], received: int) -> Said:
        padded = [*fields, *[_NOTHING] * (len(STANDARD) + len(self.settings.fields) - len(fields))]
        cells = dict(zip(_WORDS, padded, strict=False))
        more = dict(zip(self.settings.fields, padded[len(_WORDS) :], strict=True))
        at = cells["time"].ns or cells["received"].ns
        return Said(at or received, 0 if at else int(Flag.TIME_SUBSTITUTED), cells, more)

    def _name(self, said: Said) -> str:
        words = [_clean(said.text("source")), _clean(said.text("condition"))]
        return ".".join(word for word in words if word) or "unnamed"

    def _labelled(self, name: str, identity: str) -> str:
        """The name that its signals have: always the same for the same, as far as the registry remembers."""
        if identity in self._labels:
            return self._labels[identity]
        known = self._all_known()
        digest = hashlib.blake2b(identity.encode("utf-8", "replace"), digest_size=2).hexdigest()
        own = f"{name}~{digest}"
        label = own if own in known or name in self._labels.values() else name
        if label not in known and len(known) >= self.settings.most:
            self.others += 1
            return _OTHERS
        known.add(label)
        self._labels[identity] = label
        return label

    def _all_known(self) -> set[str]:
        """Those that have signals, also from earlier lives."""
        if self._known is None:
            self._known = {label for label in self._stored(".severity") if label != _OTHERS}
        return self._known

    def _stored(self, ending: str) -> set[str]:
        begins = self.settings.name + "."
        names = (point.name for point in self.registry.since(0) if point.machine == self.machine)
        return {
            name[len(begins) : -len(ending)]
            for name in names
            if name.startswith(begins) and name.endswith(ending)
        }

    def _condition(self, said: Said) -> None:
        name = self._name(said)
        identity = self._spaced(said.text("condition_id"))
        label = self._labels.get(identity)
        if label is None and said.severity < self.settings.severity and not self._was_seen(name):
            return
        label = self._labelled(name, identity if identity not in _NONE else name)
        if said.text("branch") not in _NONE:
            self.rows.put(self._signal(label, "previous"), Kind.TEXT, _in_words(said), said.at, said.flags)
            return
        if label != _OTHERS:
            self._changed(label, said)
        self._line(said, label, condition=name)

    def _was_seen(self, name: str) -> bool:
        """In an earlier life, that is: its end is wanted although it is less severe."""
        return name in self._all_known() or any(known.startswith(f"{name}~") for known in self._all_known())

    def _changed(self, label: str, said: Said) -> None:
        before = self._states.get(label, State())
        active = said.flag("active")
        state = State(
            said.flag("retain") if active is None else active,
            said.flag("acked"), said.severity, said.text("message"), _status(said.cells["quality"]),
        )  # fmt: skip
        self._states[label] = state
        if self._refreshed is not None:
            self._refreshed.add(label)
        self._flags(label, state, said.at, said.flags)
        if state.quality >> 30 or before.quality >> 30:
            words = status_name(state.quality) if state.quality else "Good"
            self.rows.put(self._signal(label, "quality"), Kind.TEXT, words, said.at, said.flags)

    def _flags(self, label: str, state: State, at: int, flags: int) -> None:
        for word, value in (("active", state.active), ("acked", state.acked)):
            if value is not None:
                self.rows.put(self._signal(label, word), Kind.FLAG, value, at, flags)

    def _line(self, said: Said, label: str, condition: str = "") -> None:
        """What every event has, and the fields that were asked for."""
        words = said.text("message")
        if label == _OTHERS:
            words = f"{condition or self._name(said)}: {words}"
        at, flags = said.at, said.flags
        self.rows.put(self._signal(label, "severity"), Kind.INTEGER, said.severity, at, flags)
        self.rows.put(self._signal(label, "message"), Kind.TEXT, words, at, flags)
        if said.event_id:
            self.rows.put(self._signal(label, "event_id"), Kind.TEXT, said.event_id, at, flags)
        if not said.conditional:
            self.rows.put(self._signal(label, "type"), Kind.TEXT, self._spaced(said.text("type")), at, flags)
        for name, cell in said.more.items():
            kind, value = _scalar(cell)
            if kind is not None and label != _OTHERS:
                self.rows.put(self._signal(label, name), kind, value, at, flags)

    def _end_of_refresh(self, at: int) -> None:
        """The present state of all conditions; those that the refresh did not bring are over."""
        seen, self._refreshed = self._refreshed, None
        if seen is None:
            return
        for label in sorted(self._states.keys() | self._stored(".active")):
            state, flags = self._states.get(label, State(active=True)), int(Flag.HEARTBEAT)
            if label not in seen:
                flags = flags if state.active is False else int(Flag.TIME_SUBSTITUTED)
                state = State(False, None if state.acked is None else True, state.severity, state.message)
                self._states[label] = state
            self._flags(label, state, at, flags)
            if label in seen:
                self.rows.put(self._signal(label, "severity"), Kind.INTEGER, state.severity, at, flags)
                self.rows.put(self._signal(label, "message"), Kind.TEXT, state.message, at, flags)

    def _signal(self, label: str, word: str) -> str:
        return f"{self.settings.name}.{label}.{word}"

    def _spaced(self, node: str) -> str:
        """A NodeId by the URI of its namespace, which is the same after a restart of the server."""
        match = re.match(r"ns=(\d+);", node)
        index = int(match[1]) if match else 0
        if not match or index >= len(self.namespaces):
            return node
        return f"nsu={self.namespaces[index].replace('%', '%25').replace(';', '%3B')};{node[match.end() :]}"


def _clean(name: str) -> str:
    """As part of a signal's name: no dots, which separate the parts, and nothing that cannot be printed."""
    made = "".join(c if c.isprintable() and c != "." else "_" for c in name.strip())
    if len(made) <= _LONGEST:
        return made
    return (
        made[: _LONGEST - 5]
        + "~"
        + hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=2).hexdigest()
    )


def _scalar(cell: Field) -> tuple[Kind | None, Any]:
    if isinstance(cell.value, Octets):
        return Kind.TEXT, hexadecimal(cell.value)
    if cell.kind is Kind.TEXT and isinstance(cell.value, int):  # a DateTime
        return (Kind.TEXT, rfc3339(cell.value)) if cell.value > 0 else (None, None)
    return (None, None) if cell.kind is Kind.WAVEFORM else (cell.kind, cell.value)


def _status(cell: Field) -> int:
    return int(cell.value) if cell.type == _STATUS and isinstance(cell.value, int) else 0


def _in_words(said: Said) -> str:
    """Of an earlier state of a condition that somebody has still to acknowledge (a branch)."""
    waits = "" if said.flag("acked") else " (not acknowledged)"
    return f"{said.text('message')}{waits}"
