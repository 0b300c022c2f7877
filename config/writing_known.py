"""What a configuration reads already, by address: the same node, or the same place in the same message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from adapters.mqtt.settings import MqttRead
from adapters.opcua.nodeid import NodeAddress, parse_node_id
from adapters.opcua.settings import OpcUaRead
from config.settings import Settings


class Known:
    """Of one source. `owner` answers which machine reads an address.

    namespaces: the server's, so that ns=2 is the same as its URI. paths: how many entries name a path and cannot be compared.
    """

    def __init__(self, settings: Settings | None, source: str, namespaces: Sequence[str] = ()) -> None:
        self._namespaces = namespaces
        readings = settings.readings(source) if settings is not None else []
        self._nodes = {
            self._address(signal.node): reading.machine
            for reading in readings
            if isinstance(reading.read, OpcUaRead)
            for signal in reading.read.signals
            if signal.node
        }
        opcua = (reading.read for reading in readings if isinstance(reading.read, OpcUaRead))
        self.paths = sum(1 for read in opcua for signal in read.signals if signal.path)
        self._topics = [(r.machine, r.read) for r in readings if isinstance(r.read, MqttRead)]
        self._machines = {reading.machine for reading in readings}

    def owner(self, machine: str, keys: Mapping[str, Any], signal: Mapping[str, Any]) -> str:
        """The id of the machine that reads this signal; empty if none does. machine: id of the proposed one."""
        if "node" in signal:
            return self._nodes.get(self._address(signal["node"]), "")
        if "sparkplug" in keys:
            return next(
                (who for who, read in self._topics if read.sparkplug == keys["sparkplug"] and read.adopt), ""
            )
        item = str(signal.get("item", signal["name"]))
        topic = str(keys["topic"]).replace("{machine}", machine).replace("{signal}", item)
        return next((who for who, read in self._topics if _reads(who, read, topic, signal)), "")

    def _address(self, node: str) -> NodeAddress:
        """By number, whichever way it is written; a URI that the server does not know stays one."""
        address = parse_node_id(node)
        if address.uri in self._namespaces:
            return replace(address, uri=None, index=self._namespaces.index(address.uri))
        return address

    def same(self, machine: str) -> str:
        """The machine of that id, if it reads from this source."""
        return machine if machine in self._machines else ""


def _reads(machine: str, read: MqttRead, topic: str, signal: Mapping[str, Any]) -> bool:
    if not read.topic:
        return False
    named = read.template.bound(machine=machine).match(topic)
    if named is None:
        return False
    if read.adopt:
        return True
    if "signal" in named:
        return any(s.address == named["signal"] and s.value == signal.get("value", "") for s in read.signals)
    if read.payload.names:
        return any(s.address == signal.get("item", signal["name"]) for s in read.signals)
    return any(s.value == signal.get("value", "") for s in read.signals)
