"""One read entry on one edge node or device: metrics to rows of points.

A metric is known by its name, or by an alias that a birth of this very entity gave; nothing else tells what a value is, so everything
else is refused by name. Housekeeping (`bdSeq`, `Node Control/…`, `Device Control/…`) and metrics that the edge calls
transient are taken only where they are listed.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from adapters.mqtt.adopted import TOO_MANY, Adopted
from adapters.mqtt.binding import LONGEST_NAME
from adapters.mqtt.settings import MqttRead, MqttSignal
from adapters.mqtt.sheet import Cell, Sheet
from adapters.mqtt.sparkplug.flatten import Leaf, leaves
from adapters.mqtt.sparkplug.lanes import Lanes, Track
from adapters.mqtt.sparkplug.layouts import Layout, Skim
from adapters.mqtt.sparkplug.meaning import Mark, Plan, Sense, aliased, named, sort, type_name
from adapters.mqtt.sparkplug.model import Entity, Known, Packet
from adapters.mqtt.sparkplug.packets import LATEST_MS, metrics_of
from adapters.mqtt.sparkplug.properties import quality_of
from adapters.mqtt.sparkplug.values import DATASET, NAMES, READERS, TEMPLATE, Reader, Unreadable
from adapters.settings import Reading, SignalSettings, intern
from pipelines import quality as q
from pipelines.batch import Flag, Kind
from pipelines.registry import KindConflict, Registry

LATEST: Final = LATEST_MS * 10**6
HISTORICAL: Final = int(Flag.HISTORICAL)
REMEMBERED: Final = 20_000  # metrics of an entity whose place is known without looking
HOUSEKEEPING: Final = ("bdSeq", "Node Control/", "Device Control/")


class Taker:
    """A read entry with one entity of a node."""

    def __init__(self, reading: Reading, registry: Registry, adopted: Adopted, device: str, tags: dict[str, str]) -> None:  # fmt: skip
        self.read: MqttRead = reading.read
        self.machine, self.tags = reading.machine, {**reading.tags, **tags}
        self._registry, self._adopted = registry, adopted
        self._chosen = bool(tags)
        self._listed: dict[str, MqttSignal] = {signal.address: signal for signal in self.read.signals}
        self._plans: dict[Known, Plan | None] = {}
        self._lanes = Lanes()
        self.points: dict[int, Kind] = {}
        self.reasons: Counter[str] = Counter()
        self.unknown = False  # the last message had a metric that no birth explains
        self.voided: list[
            int
        ] = []  # the times of its values that were set aside because of a doubt; ns, 0: none of its own

    def born(self) -> None:
        """A birth may change types and units."""
        self._plans.clear()

    def died(self) -> dict[int, Kind]:
        """The points that had values and have none from now on."""
        points, self.points = self.points, {}
        self._plans.clear()
        return points

    def prime(self, entity: Entity) -> None:
        """After a restart: the points of what was born before it."""
        for known in entity.by_name.values():
            if known.datatype not in (DATASET, TEMPLATE):
                self._plan(Leaf(known.name, known.datatype, None), known)

    def take(self, entity: Entity, packet: Packet, sense: Sense) -> None:
        """Adds what the message says about this entity to the sheet."""
        self.unknown = False
        self.voided.clear()
        quick = packet.said if not (sense.void or sense.doubtful or sense.stamps.flags) else None
        if quick is not None and self._lanes.take(entity, quick, sense.sheet):
            return
        self._take(entity, packet, sense)
        if quick is not None:
            self._lanes.lay(entity, quick, self._plans)

    def quick(self, entity: Entity, said: Skim, sheet: Sheet) -> bool:
        """Adds all of a message that is not doubted, or nothing: then it is to be taken."""
        return self._lanes.take(entity, said, sheet)

    def track(self, entity: Entity, layout: Layout) -> Track | None:
        """Where all of a message of this layout goes that is not doubted."""
        return self._lanes.track(entity, layout)

    def _take(self, entity: Entity, packet: Packet, sense: Sense) -> None:
        """The careful way."""
        self.reasons.clear()
        by_name, by_alias, plans = entity.by_name, entity.by_alias, self._plans
        for metric in metrics_of(packet):
            name = metric.name
            if name:
                known = None if metric.HasField("alias") else by_name.get(name)
            else:
                known = by_alias.get(metric.alias) if metric.HasField("alias") else None
            if known is None or metric.datatype not in (0, known.datatype):
                self._odd(entity, metric, sense)
                continue
            plan = plans.get(known, False)
            if not plan or metric.is_null or metric.properties or sense.void:
                if plan is not None:
                    self._one(known, metric, sense)
                continue
            try:
                value = plan.reader.take(metric)  # type: ignore[union-attr] # True is no plan
            except Unreadable as why:
                self._refuse(f"{known.name}: {why}", sense)
                continue
            quality = q.UNCERTAIN if sense.doubtful and not name else q.GOOD
            flags = sense.stamps.flags | HISTORICAL if metric.is_historical else sense.stamps.flags
            at = (metric.timestamp or sense.time) * 1_000_000
            self._add(plan, Cell(plan.point, at, value, quality, flags), sense)  # type: ignore[union-attr, arg-type]
        if self.reasons:
            sense.sheet.refuse(sense.where, self.reasons, sense.raw, sense.stamps.base)

    def _refuse(self, reason: str, sense: Sense) -> None:
        sense.sheet.decoded += 1
        self.reasons[reason] += 1

    def _add(self, plan: Plan, cell: Cell, sense: Sense) -> None:
        """cell: as the wire has it; its time may be none."""
        sense.sheet.decoded += 1
        group, kind = 0, plan.reader.kind
        if plan.by_receipt or not 0 < cell.at < LATEST:
            receipt = sense.stamps.next(plan.point)
            if not 0 < cell.at < LATEST:
                cell = cell._replace(at=receipt, flags=cell.flags | Flag.TIME_SUBSTITUTED)
            group = sense.stamps.base if plan.by_receipt else 0
        if kind is not plan.kind:
            if cell.flags & Flag.NO_VALUE:
                kind = plan.kind
            elif plan.kind is Kind.NUMBER and kind in (Kind.INTEGER, Kind.UNSIGNED):
                kind, cell = Kind.NUMBER, cell._replace(value=float(cell.value))
        sense.sheet.row(kind, cell, group)

    def _odd(self, entity: Entity, metric: Any, sense: Sense) -> None:
        """A metric that is not simply what its birth said."""
        known = self._meant(entity, metric, sense)
        self.unknown |= not isinstance(known, Known)
        if isinstance(known, Known):
            self._one(known, metric, sense)
        elif self.read.adopt or self._could_be_listed(metric):
            self._refuse(known, sense)

    def _could_be_listed(self, metric: Any) -> bool:
        name = metric.name
        return not isinstance(name, str) or not name or name in self._listed

    def _meant(self, entity: Entity, metric: Any, sense: Sense) -> Known | str:
        """What the metric is, or why nobody can know."""
        name, datatype = metric.name, metric.datatype
        if not isinstance(name, str):
            return "a metric's name that is not UTF-8"
        known = named(entity, metric, sense) if name else aliased(entity, metric, sense)
        if isinstance(known, str) or not datatype or datatype == known.datatype:
            return known
        if sort(datatype) != sort(known.datatype):
            return f"'{known.name[:80]}' is {type_name(datatype)} where its birth said {type_name(known.datatype)}"
        return known._replace(datatype=datatype)

    def _one(self, known: Known, metric: Any, sense: Sense) -> None:
        """The careful way for one metric."""
        if sense.void and not metric.name:
            self.unknown = True
            if self._wanted(known.name):
                self._refuse(sense.void, sense)
                at = (metric.timestamp or sense.time) * 1_000_000
                self.voided.append(at if at < LATEST else 0)
            return
        said = quality_of(metric.properties) if metric.properties else q.GOOD
        quality = max(said, q.UNCERTAIN if sense.doubtful and not metric.name else q.GOOD)
        flags = sense.stamps.flags | (HISTORICAL if metric.is_historical else 0)
        mark = Mark((metric.timestamp or sense.time) * 1_000_000, quality, flags)
        if known.datatype not in (DATASET, TEMPLATE):
            self._leaf(Leaf(known.name, known.datatype, metric), known, mark, sense)
        elif not metric.is_null and self._wanted_inside(known.name, transient=metric.is_transient):
            self._structure(known, metric, mark, sense)

    def _structure(self, known: Known, metric: Any, mark: Mark, sense: Sense) -> None:
        try:
            found = list(leaves(known.name, metric, known.datatype))
        except Unreadable as why:
            self._refuse(f"{known.name[:80]}: {why}", sense)
            return
        for leaf in found:
            self._leaf(leaf, known, mark, sense)

    def _leaf(self, leaf: Leaf, known: Known, mark: Mark, sense: Sense) -> None:
        plan = self._plan(leaf, known)
        if isinstance(plan, str):
            self._refuse(plan, sense)
        if not isinstance(plan, Plan):
            return
        at, quality, flags = mark
        try:
            value = _value(leaf.message, plan)
        except Unreadable as why:
            self._refuse(f"{leaf.path}: {why}", sense)
            return
        if value is None:
            value, flags, quality = plan.kind.empty, flags | Flag.NO_VALUE, quality or q.BAD_NO_DATA
        self._add(plan, Cell(plan.point, at, value, quality, int(flags)), sense)

    def _wanted(self, name: str, *, transient: bool = False) -> bool:
        if name in self._listed:
            return True
        return self.read.adopt and not transient and not name.startswith(HOUSEKEEPING)

    def _wanted_inside(self, name: str, *, transient: bool) -> bool:
        return self._wanted(name, transient=transient) or any(
            each.startswith(f"{name}/") for each in self._listed
        )

    def _plan(self, leaf: Leaf, known: Known) -> Plan | str | None:
        """Where it goes; None: nobody wants it; a str: why it cannot be stored."""
        name = leaf.path
        if not self._wanted(name, transient=bool(getattr(leaf.message, "is_transient", False))):
            self._remember(leaf, known, None)
            return None
        reader = READERS.get(leaf.datatype)
        if reader is None:
            return f"{name[:80]}: there is no data type {NAMES.get(leaf.datatype, leaf.datatype)}"
        made = self._made(name, reader, known)
        if isinstance(made, Plan):
            self._remember(leaf, known, made)
        return made

    def _remember(self, leaf: Leaf, known: Known, plan: Plan | None) -> None:
        """Only what is one value of its birth's type, and not transient: the rest is looked at each time."""
        if leaf.path != known.name or leaf.datatype != known.datatype or len(self._plans) >= REMEMBERED:
            return
        listing = plan is not None and plan.reader.kind is Kind.WAVEFORM is not plan.kind
        if not listing and not getattr(leaf.message, "is_transient", False):
            self._plans[known] = plan

    def _made(self, name: str, reader: Reader, known: Known) -> Plan | str:
        signal: SignalSettings | None = self._listed.get(name)
        if signal is None:
            if len(name) > LONGEST_NAME:
                return f"a metric's name of more than {LONGEST_NAME} characters: list the signal"
            signal = SignalSettings(name=name, unit=known.unit)
        chosen = self._chosen or not isinstance(signal, MqttSignal)
        if chosen and not self._adopted.admit(self.machine, signal.name, self.tags, signal.unit):
            return TOO_MANY
        try:
            point = intern(self._registry, self.machine, self.tags, signal, reader.kind)
        except KindConflict as conflict:
            return str(conflict)
        kind = self._registry[point].kind
        self.points[point] = kind
        return Plan(point, kind, signal.time == "receive", reader)


def _value(message: Any, plan: Plan) -> Any:
    """None: there is none. Raises Unreadable."""
    if message is None:
        return None
    if getattr(message, "is_null", False):
        if message.WhichOneof("value") is not None:
            raise Unreadable("is_null and a value")
        return None
    if plan.reader.kind is Kind.WAVEFORM is not plan.kind:
        raise Unreadable(f"a list where a {plan.kind.name.lower()} was expected (kind: waveform takes lists)")
    return plan.reader.take(message)
