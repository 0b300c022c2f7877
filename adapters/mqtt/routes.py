"""Which read entries a topic belongs to, and which point each of its values is.

A topic is looked up once and remembered: millions of messages come over few topics. A topic that no entry matches (left
over in a persistent session after the configuration changed) is refused into the quarantine, because the broker was told to keep it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from adapters.base import Bench
from adapters.mqtt.adopted import Adopted
from adapters.mqtt.binding import Binding
from adapters.mqtt.channel import Message
from adapters.mqtt.payloads.chosen import Reader
from adapters.mqtt.settings import MqttRead, MqttSignal
from adapters.mqtt.sheet import Sheet
from adapters.mqtt.sparkplug.host import Host, Policy
from adapters.mqtt.sparkplug.seat import Place
from adapters.mqtt.topics import Template
from adapters.settings import Reading
from pipelines.registry import Registry

REMEMBERED = 10_000  # topics; beyond it the memory starts anew


class Route:
    """One read entry, compiled."""

    def __init__(self, reading: Reading, registry: Registry, adopted: Adopted) -> None:
        self.read: MqttRead = reading.read
        self.machine, self.tags = reading.machine, reading.tags
        self.template: Template = self.read.template.bound(machine=reading.machine)
        self.registry, self.adopted = registry, adopted
        self.by_address: dict[str, MqttSignal] = {signal.address: signal for signal in self.read.signals}
        self.named = "signal" in self.template.names
        self.reader = Reader(self.read)

    @property
    def filters(self) -> Sequence[str]:
        """What to subscribe: the listed signals one by one where the topic names them, so that nothing else comes."""
        if not self.named or self.read.adopt:
            return (self.template.filter,)
        return tuple(self.template.bound(signal=signal.address).filter for signal in self.read.signals)

    def filter_of(self, segment: str) -> str:
        """Which of the filters a topic with this {signal} segment came by."""
        bound = self.named and not self.read.adopt
        return self.template.bound(signal=segment).filter if bound else self.template.filter

    def bind(self, topic: str) -> Binding | None:
        """This route for one topic, or None."""
        segments = self.template.match(topic)
        if segments is None:
            return None
        segment = segments.pop("signal", "")
        listed = self.by_address.get(segment)
        if self.named and listed is None and not self.read.adopt:
            return None
        signals = ([listed] if listed else []) if self.named else list(self.read.signals)
        return Binding(self, segments, segment, signals, self.reader.decoder(signals))


class Bound(NamedTuple):
    """A topic as it was resolved once. sole: the binding, if it is the only one that wants it. told: who else does.

    alone: the place, if nobody but Sparkplug wants it.
    """

    where: str
    bindings: tuple[Binding, ...]
    sole: Binding | None = None
    told: Callable[[Message], None] | None = None
    place: Place | None = None
    alone: Place | None = None


LISTENING = Policy("spBv1.0", 2.0, rebirth=False, asked={})


class Routes:
    """All read entries of one source. heard: told the filter of every topic that is met for the first time."""

    def __init__(
        self,
        readings: Sequence[Reading],
        bench: Bench,
        adopted: Adopted,
        heard: Callable[[str], None] = lambda _filter: None,
        policy: Policy = LISTENING,
    ) -> None:
        self._routes = [Route(each, bench.registry, adopted) for each in readings if each.read.topic]
        nodes = [reading for reading in readings if reading.read.sparkplug]
        self._clock = bench.clock
        self.host = Host(nodes, bench.registry, adopted, policy) if nodes else None
        self._bound: dict[bytes, Bound] = {}
        self._heard = heard
        self._watched: dict[bytes, Callable[[Message], None]] = {}

    @property
    def filters(self) -> dict[str, int]:
        """Every filter once, with the highest QoS that an entry asks for."""
        asked: dict[str, int] = {}
        for route in self._routes:
            for name in route.filters:
                asked[name] = max(asked.get(name, 0), route.read.qos)
        if self.host is not None:
            asked.update(dict.fromkeys(self.host.filters, 1))
        return asked

    @property
    def redelivers(self) -> bool:
        """Sparkplug is published with QoS 0, whatever is subscribed (3.0, 5.1 and 6.4)."""
        return self.host is None and all(qos > 0 for qos in self.filters.values())

    def watch(self, topic: str, told: Callable[[Message], None]) -> None:
        """Messages of this topic are told; no read entry needs to want them."""
        self._watched[topic.encode()] = told
        self._bound.clear()

    def read_quickly(self, message: Message, sheet: Sheet) -> bool:
        """True if the shortest way could read the message. It never needs the time of receipt."""
        bound = self._bound.get(message.topic)
        if bound is None or message.retain:
            return False
        if bound.sole is None:
            host, place, whole = self.host, bound.alone, len(message.payload) == message.size
            return (
                host is not None and place is not None and whole and host.read_quickly(place, message, sheet)
            )
        quick = bound.sole.quick
        payload = message.payload
        return quick is not None and len(payload) == message.size and quick.read(payload, sheet) > 0

    def read(self, message: Message, stamp: int, sheet: Sheet) -> bool:
        """Adds what the message says to the sheet; True if a row took the time of receipt."""
        bound = self._bound.get(message.topic) or self._bind(message.topic)
        if bound.told is not None:
            bound.told(message)
            if not bound.bindings and bound.place is None:
                return False
        problem = _problem(message, bound)
        if problem:
            sheet.decoded += 1
            sheet.refuse(bound.where, Counter([problem]), message.payload, stamp)
            return False
        used = False
        if bound.place is not None and self.host is not None:
            used = self.host.read(bound.place, message, stamp, sheet, self._clock.monotonic())
        for binding in bound.bindings:
            used |= binding.read(message, bound.where, stamp, sheet)
        return used

    def _bind(self, topic: bytes) -> Bound:
        if len(self._bound) >= REMEMBERED:
            self._bound.clear()
        where = topic.decode("utf-8", "backslashreplace")
        found: list[Binding] = []
        if where.encode("utf-8", "replace") == topic:
            for route in self._routes:
                binding = route.bind(where)
                if binding is not None:
                    found.append(binding)
                    self._heard(route.filter_of(binding.segment))
        place = self.host.place(where) if self.host is not None else None
        if place is not None and self.host is not None:
            self._heard(self.host.filter_of(place))
        told = self._watched.get(topic)
        sole = found[0] if len(found) == 1 and told is None and place is None else None
        alone = None if found or told is not None else place
        self._bound[topic] = bound = Bound(where, tuple(found), sole, told, place, alone)
        return bound


def _problem(message: Message, bound: Bound) -> str:
    where, wanted = bound.where, bool(bound.bindings or bound.place)
    if message.size > len(message.payload):
        return f"a message of {message.size} bytes is larger than max_packet: raise it, or send less at once"
    if not wanted and where.encode("utf-8", "replace") != message.topic:
        return "the topic is not UTF-8: nothing can be matched with it"
    return (
        ""
        if wanted
        else "no read entry matches this topic (the broker kept it from an earlier configuration)"
    )
