"""What a machine's server has beside values that change: events, a history, settings; put into every server that the machine opens.

The machine's alarms and its history stay when a server goes and another comes.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from asyncua import ua
from asyncua.server.server import Server

from simulators.faces.opcua_alarms import Alarms
from simulators.faces.opcua_events import Events, attach
from simulators.faces.opcua_history import MOST, History, Memory
from simulators.faces.opcua_nodes import node_id
from simulators.faces.opcua_writing import Writing
from simulators.faces.spaces.space import Space
from simulators.model import Model
from simulators.truth import Truth

ACCESS_HISTORY: Final = node_id(
    11193
)  # HistoryServerCapabilities: AccessHistoryDataCapability, MaxReturnDataValues
MOST_RETURNED: Final = node_id(11273)
STATUS: Final = {"bad": 0x808C0000, "uncertain": 0x40930000}  # as the values have it when they are served


@dataclass(slots=True)
class Vivid:
    """Of one machine."""

    model: Model
    truth: Truth
    alarms: Alarms = field(init=False)
    memory: Memory = field(init=False)
    _events: Events | None = None

    def __post_init__(self) -> None:
        self.alarms, self.memory = Alarms(self.model, self.truth), Memory(self.model)

    async def move_in(
        self, server: Server, nodes: Mapping[str, ua.NodeId], index: int, space: Space | None
    ) -> None:
        """Before the server starts. nodes: of the signals, by name."""
        model, live = self.model, getattr(server.iserver, "live", None)
        self._events = await attach(server, self.alarms, index, space)
        if live is None:
            return
        kinds = {signal.name: ua.VariantType[signal.type.value] for signal in model.signals}
        live.events = self._events
        remembered = {nodes[name]: (name, kinds[name]) for name in model.remembered}
        live.history = History(self.memory, remembered, server.iserver.aspace)
        settings = {nodes[each.signal]: each.signal for each in model.settings}
        live.writing = Writing(model, server.iserver.aspace, settings)
        for node, value, kind in (
            (ACCESS_HISTORY, True, ua.VariantType.Boolean),
            (MOST_RETURNED, MOST, ua.VariantType.UInt32),
        ):
            await server.write_attribute_value(node, ua.DataValue(ua.Variant(value, kind)))

    async def look(self, at_ns: int) -> None:
        """The machine has made a step: tell what became of its alarms."""
        if self._events is not None:
            await self._events.look(at_ns)

    def remember(self, names: Collection[str], at_ns: int) -> None:
        """These values were handed over."""
        said: dict[str, Any] = {
            name: STATUS.get(self.model.quality_of(name), 0) for name in self.model.remembered
        }
        self.memory.note(names, at_ns, said)
