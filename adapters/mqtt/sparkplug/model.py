"""What is known of a node and its devices, and what a message says: the nouns of `node.py`, which has the verbs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from adapters.mqtt.sparkplug.layouts import Skim

# doubts, rising; LOSS: messages of this edge connection were lost; BREAK: nobody knows whether it is still the same one
SURE, LOSS, BREAK = 0, 1, 2


class Known(NamedTuple):
    """A metric as its birth told it. alias: None where it has none. unit: its engineering unit, if it told one."""

    name: str
    alias: int | None
    datatype: int
    unit: str = ""


@dataclass(slots=True)
class Entity:
    """The node itself (device "") or a device. by_alias: None for an alias that one birth gave to several metrics."""

    device: str
    alive: bool = False
    dead: bool = False  # said to be, and not born again
    by_name: dict[str, Known] = field(default_factory=dict)
    by_alias: dict[int, Known | None] = field(default_factory=dict)
    doubt: int = SURE
    born_at: int = 0  # ms, the timestamp of its birth
    due: float | None = None  # until when its birth must follow the node's

    def bear(self, metrics: list[Known]) -> None:
        self.by_name = {known.name: known for known in metrics}
        self.by_alias = {}
        for known in metrics:
            if known.alias is not None:
                self.by_alias[known.alias] = None if known.alias in self.by_alias else known

    def forget(self) -> None:
        self.alive, self.dead, self.due = False, True, None
        self.by_name, self.by_alias, self.doubt = {}, {}, SURE  # nothing is known: there is nothing to doubt


@dataclass(slots=True)
class Packet:
    """One message. kind: NBIRTH and so on. payload: of the schema; None where `said` says it all, until somebody asks.

    check: of its bytes. metrics: what a birth says.
    """

    kind: str
    device: str
    payload: Any
    seq: int | None
    time: int  # ms, the payload's timestamp, 0 where it has none
    check: int
    retain: bool = False
    bd_seq: int | None = None
    metrics: list[Known] = field(default_factory=list)
    size: int = 0
    origin: Any = None  # what the host wants to find again
    since: float = 0.0
    progress: int = 0
    said: Skim | None = None


class Act(NamedTuple):
    """What a message turned out to be: BIRTH, DATA, DEATH (without packet: found out by waiting), STRAY."""

    what: str
    entity: Entity
    packet: Packet | None


class Loss(NamedTuple):
    """Messages that never came, 0: nobody knows how many. after: ms, what the one before the hole spoke of, 0 if unknown; before: the one behind it."""

    messages: int
    seq: int
    after: int
    before: Packet


NEAR: Final = 60_000_000_000  # ns that a value is older than its message at most, to count as said with it


def spoken(time: int, times: Iterable[int], *, last: bool = False) -> int:
    """Of what moment a message of this time (ms) with values of these times (ns) speaks, in ms.

    That is the earliest: an edge that gathers, or is late, sends values that are older than the message, and one that
    is lost behind it may have such too. last: the latest, of a birth, which repeats what has long been known.
    """
    sent = time * 1_000_000
    near = [each for each in times if sent - NEAR <= each <= sent]
    return (max(near) if last else min(near)) // 1_000_000 if near else time


def said_in(packet: Packet) -> int:
    """The same of a whole packet."""
    if packet.said is not None:
        return spoken(packet.time, packet.said.times)
    metrics = () if packet.payload is None else packet.payload.metrics
    times = ((metric.timestamp or packet.time) * 1_000_000 for metric in metrics)
    return spoken(packet.time, times, last=packet.kind.endswith("BIRTH"))
