"""Sparkplug nodes as they were heard: births, data, deaths and STATE of hosts; told from topics, and believed only where the payload fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from adapters.mqtt.channel import Message
from adapters.mqtt.discover_listen import Topic
from adapters.mqtt.sparkplug.model import Known, Packet
from adapters.mqtt.sparkplug.packets import packet_of
from adapters.mqtt.sparkplug.places import check_place

NAMESPACE: Final = "spBv1.0"
_KINDS: Final = ("NBIRTH", "NDEATH", "NDATA", "DBIRTH", "DDEATH", "DDATA")
_COMMANDS: Final = ("NCMD", "DCMD")


@dataclass(slots=True)
class EntitySeen:
    """A node itself or a device. metrics: of its birth, or those that data name. aliased: data without names came."""

    metrics: dict[str, Known] = field(default_factory=dict)
    born: bool = False
    aliased: bool = False
    messages: int = 0
    retained: bool = False


@dataclass(slots=True)
class NodeSeen:
    key: tuple[str, str]
    entities: dict[str, EntitySeen] = field(default_factory=dict)


@dataclass(slots=True)
class Nodes:
    """hosts: the STATE of hosts, by id. others: topics below the namespace that are none of Sparkplug's."""

    nodes: dict[tuple[str, str], NodeSeen] = field(default_factory=dict)
    hosts: dict[str, str] = field(default_factory=dict)
    others: list[Topic] = field(default_factory=list)

    @property
    def silent(self) -> bool:
        """Somebody speaks in aliases of a birth that was not heard."""
        return any(each.aliased and not each.born for node in self.nodes.values() for each in node.entities.values())  # fmt: skip


def sorted_out(topics: Mapping[str, Topic]) -> tuple[Nodes, list[Topic]]:
    """The Sparkplug nodes, and all topics that are none."""
    nodes, rest = Nodes(), []
    for name, topic in topics.items():
        levels = name.split("/")
        if levels[0] == "STATE" and len(levels) == 2 and topic.samples[-1:] in ([b"ONLINE"], [b"OFFLINE"]):
            nodes.hosts[levels[1]] = topic.samples[-1].decode()
        elif levels[0] != NAMESPACE:
            rest.append(topic)
        elif not _sort(nodes, topic, levels[1:]):
            nodes.others.append(topic)
    return nodes, rest


def _sort(nodes: Nodes, topic: Topic, levels: list[str]) -> bool:
    if len(levels) == 2 and levels[0] == "STATE":
        nodes.hosts[levels[1]] = topic.samples[-1][:200].decode("utf-8", "replace") if topic.samples else ""
        return True
    if not 3 <= len(levels) <= 4 or levels[1] not in (*_KINDS, *_COMMANDS):
        return False
    if levels[1] in _COMMANDS:
        return True
    device = levels[3] if len(levels) == 4 else ""
    if (levels[1][0] == "D") != bool(device):
        return False
    packets = list(_packets(topic, levels[1], device))
    if not packets and levels[1][1:] != "DEATH":
        return False
    try:
        check_place("/".join((levels[0], levels[2], *([device] if device else []))))
    except ValueError:
        return False
    key = (levels[0], levels[2])
    node = nodes.nodes.setdefault(key, NodeSeen(key))
    entity = node.entities.setdefault(device, EntitySeen())
    entity.messages += topic.live + topic.retained
    for packet in packets:
        _learn(entity, packet)
    entity.retained |= bool(topic.retained and entity.born)
    return True


def _packets(topic: Topic, kind: str, device: str) -> Iterable[Packet]:
    for sample in topic.samples:
        message = Message(topic.name.encode(), sample, 0, 0, False, False, 0, len(sample))
        packet = packet_of(kind, device, message, 0)
        if isinstance(packet, Packet):
            yield packet


def _learn(entity: EntitySeen, packet: Packet) -> None:
    if packet.kind.endswith("BIRTH"):
        entity.born = True
        entity.metrics.update({known.name: known for known in packet.metrics})
        return
    for metric in packet.payload.metrics if packet.kind.endswith("DATA") else ():
        if isinstance(metric.name, str) and metric.name:
            entity.metrics.setdefault(metric.name, Known(metric.name, None, metric.datatype))
        else:
            entity.aliased = True
