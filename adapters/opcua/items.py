"""What we want from a server, item by item, and what became of it: the list that is ours, whatever the server forgets.

An item that fails stays on the list, is reported by name, and is tried again; it never takes another one down.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from adapters.labels import NO_RANGE, Range
from adapters.opcua.columns import Columns
from adapters.opcua.events import Events
from adapters.opcua.history import History
from adapters.opcua.nodeid import NodeAddress, parse_node_id
from adapters.opcua.paths import BrowsePath, Step, parse_path
from adapters.opcua.settings import OpcUaRead, OpcUaSignal
from adapters.opcua.shapes import Catalogue
from adapters.opcua.vanished import Vanished
from adapters.settings import Reading, intern
from pipelines import quality as q
from pipelines.batch import Kind
from pipelines.registry import KindConflict, Registry

MARK: Final = 8
OBJECTS: Final = "i=85"  # NodeIds.csv: ObjectsFolder
NOWHERE: Final = NodeAddress(None, 0, "i", 0)


@dataclass(slots=True)
class Item:
    """One wanted signal. `failure` says why it is not live, in words; `status` is the server's code, if there was one.

    at_server: its MonitoredItemId there, 0 if it has none or nobody knows. gone: a handle that the subscription has had for a
    signal of an earlier configuration; the name is not known any more. path: the browse names it was found by. barred: why it is not
    asked for at all, such as a path that leads nowhere. homeless: it stands for a trouble and never gets a point. sought: a search brought it.
    resolved: its node, as a configuration would write it, where a search knows it. spread: its elements have points, it has none.
    unit, texts, about, range: what the server says of unit (None: not asked), names of its values, the rest for people, and EURange.
    types: of structures. fields: what is in the present one, for people.
    """

    handle: int
    machine: str
    tags: Mapping[str, str]
    signal: OpcUaSignal
    address: NodeAddress
    live: bool = False
    failure: str = ""
    status: int = q.GOOD
    revised: str = ""
    at_server: int = 0
    gone: bool = False
    path: str = ""
    barred: str = ""
    homeless: bool = False
    sought: bool = False
    resolved: str = ""
    spread: bool = False
    unit: str | None = None
    texts: Mapping[int, str] = field(default_factory=dict)
    about: str = ""
    range: Range = NO_RANGE
    types: Catalogue | None = None
    fields: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        """The same for the same finding of a later search; a signal with a plain path is itself wherever it leads."""
        where = self.signal.where if self.homeless or (self.path and self.signal.path is None) else ""
        return self.machine, self.signal.name, where, "homeless" if self.homeless else ""

    def mark(self, hold: float) -> bytes:
        """Eight bytes that differ when anything differs that the server was asked for: what is monitored, how, as what."""
        signal = self.signal
        asked = (
            self.machine,
            signal.name,
            self.resolved or signal.where,
            signal.every,
            signal.queue_for(hold),
            *(["poll"] if signal.polled else []),
        )
        return hashlib.blake2b(repr(asked).encode(), digest_size=MARK).digest()

    @property
    def name(self) -> str:
        if self.gone:
            return "a signal that is no longer configured"
        where = f"{self.path} → {self.resolved}" if self.resolved else self.signal.where
        return f"{self.machine}/{self.signal.name} ({where})"

    def fail(self, failure: str, status: int = q.BAD) -> None:
        self.live, self.failure, self.status, self.at_server = False, failure, status, 0

    def succeed(self, at_server: int) -> None:
        self.live, self.failure, self.status, self.at_server = True, "", q.GOOD, at_server


@dataclass(frozen=True, slots=True)
class Wish:
    """A signal that has to be looked for: from `root` along `steps`. many: it is a pattern."""

    machine: str
    tags: Mapping[str, str]
    signal: OpcUaSignal
    root: NodeAddress
    steps: tuple[Step, ...]

    @property
    def many(self) -> bool:
        return self.signal.wildcards > 0

    @property
    def translatable(self) -> bool:
        return BrowsePath(self.steps).translatable


@dataclass(slots=True)
class Items:
    """All items of a source for one session, by client handle. wishes: what has to be looked for."""

    all: Sequence[Item]
    registry: Registry
    wishes: Sequence[Wish] = ()
    named: set[int] = field(default_factory=set)  # handles of those whose values have names
    events: Events = field(default_factory=Events)
    history: History = field(default_factory=History)
    vanished: Vanished = field(default_factory=Vanished)
    columns: Columns = field(init=False)

    def __post_init__(self) -> None:
        self.columns = Columns.of(len(self.all))

    @property
    def failed(self) -> list[Item]:
        return [item for item in self.all if item.failure and not item.gone]

    @property
    def wanted(self) -> list[Item]:
        return [item for item in self.all if not item.gone]

    @property
    def subscribes(self) -> bool:
        """Whether anything needs a subscription: signals that are not polled, or events."""
        return bool(self.events.entries) or self.monitors

    @property
    def monitors(self) -> bool:
        """Whether values come by subscription: then these tell how far we have come."""
        return not all(signal.polled for signal in self.signals)

    @property
    def signals(self) -> Iterator[OpcUaSignal]:
        """What is asked for, found or not."""
        yield from (item.signal for item in self.all)
        yield from (wish.signal for wish in self.wishes)

    @property
    def live(self) -> int:
        return sum(item.live and not item.gone for item in self.all)

    def arrange(self, items: Sequence[Item]) -> None:
        """These from now on, by these handles; before the first value only."""
        self.all, self.columns = items, Columns.of(len(items))
        self.named.clear()
        for handle, item in enumerate(items):
            item.handle = handle

    def extend(self, items: Sequence[Item]) -> None:
        """These as well, behind the others, at any time."""
        for handle, item in enumerate(items, len(self.all)):
            item.handle = handle
        self.all = [*self.all, *items]
        self.columns.grow(len(items))

    def adopt(self, item: Item, native: Kind) -> bool:
        """Give the item its point, when the wire brings `native`. False (and the item has failed) if that cannot be."""
        if item.gone or item.homeless or item.spread:
            return False
        try:
            point = intern(self.registry, item.machine, item.tags, self._with_unit(item), native)
        except KindConflict as conflict:
            item.fail(str(conflict))
            return False
        if item.texts and item.signal.names:
            self.named.add(item.handle)
        self.columns.points[item.handle] = point
        self.columns.wire[item.handle] = native
        return True

    def _with_unit(self, item: Item) -> OpcUaSignal:
        """The signal with the server's unit where it has none itself; as long as nobody asked the server, the one it had."""
        if item.signal.unit:
            return item.signal
        known = self.registry.latest(item.machine, item.signal.name) if item.unit is None else None
        unit = item.unit or ("" if known is None else self.registry[known].unit)
        return item.signal.model_copy(update={"unit": unit}) if unit else item.signal

    def adopt_known(self, item: Item) -> bool:
        """Give the item its point without having seen a value: possible if it was configured or seen before."""
        kind = self.registry.kind_of(item.machine, item.signal.name)
        if kind is None and item.signal.kind is not None:
            kind = Kind[item.signal.kind.upper()]
        return kind is not None and self.adopt(item, kind)

    def adopt_arrivals(self, handles: Any, kind: Kind) -> set[int]:
        """Points for items whose kind was unknown until their first value; the handles for which that is impossible."""
        new = dict.fromkeys(handles[self.columns.points[handles] < 0].tolist())
        return {handle for handle in new if not self.adopt(self.all[handle], kind)}

    def machines_of(self, handles: Iterable[int]) -> tuple[str, ...]:
        return tuple(sorted({self.all[handle].machine for handle in handles}))


def items_of(readings: Sequence[Reading]) -> list[Item]:
    """The items of a source whose nodes are known, in the order of the configuration; client handles count from 0."""
    wanted = [(r, s) for r in readings if isinstance(r.read, OpcUaRead) for s in r.read.signals]
    return [
        Item(handle, reading.machine, reading.tags, signal, parse_node_id(signal.node or ""))
        for handle, (reading, signal) in enumerate((r, s) for r, s in wanted if s.node is not None)
    ]


def wishes_of(readings: Sequence[Reading]) -> list[Wish]:
    """The signals of a source that have to be looked for."""
    return [
        _wish(reading, reading.read.root, signal)
        for reading in readings
        if isinstance(reading.read, OpcUaRead)
        for signal in reading.read.signals
        if signal.path is not None
    ]


def _wish(reading: Reading, root: str | None, signal: OpcUaSignal) -> Wish:
    """A root that is a path is the first part of the path."""
    said, steps = signal.root or root or OBJECTS, signal.browse_path.steps
    try:
        address = parse_node_id(said)
    except ValueError:
        address, steps = parse_node_id(OBJECTS), (*parse_path(said).steps, *steps)
    return Wish(reading.machine, reading.tags, signal, address, steps)
