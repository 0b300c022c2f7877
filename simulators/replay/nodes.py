"""The address space of a recording: a folder per machine, a variable per signal; and its values as OPC UA says them."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from asyncua import ua
from asyncua.server.server import Server
from asyncua.ua.object_ids import ObjectIds

from simulators.faces.opcua_nodes import folder, node_id, variable
from simulators.faces.opcua_times import EPOCH
from simulators.model import Type
from simulators.replay.tape import Signal, Tape

NAMESPACE: Final = "urn:shopfloor:replay"
EMPTY: Final[Mapping[Type, Any]] = {Type.BOOLEAN: False, Type.INT64: 0, Type.DOUBLE: 0.0, Type.STRING: ""}
WAITING: Final = 0x80320000  # BadWaitingForInitialData


def node_ids(tape: Tape, index: int) -> dict[Signal, ua.NodeId]:
    return {(machine, name): node_id(f"{machine}/{name}", index) for machine, name in tape.signals}


def nodes(tape: Tape, index: int) -> Iterator[ua.AddNodesItem]:
    """All nodes, parents before children."""
    for machine in tape.machines:
        parent = node_id(ObjectIds.ObjectsFolder)
        yield folder(index, machine, machine, parent, f"Recording {tape.path.name}")
    for (machine, name), kind in tape.signals.items():
        value = ua.Variant(EMPTY[kind], ua.VariantType[kind.value])
        item = variable(
            node_id(f"{machine}/{name}", index),
            node_id(machine, index),
            ua.QualifiedName(name, index),
            value,
            "",
        )
        item.TypeDefinition = node_id(ObjectIds.BaseDataVariableType)
        yield item


async def first_values(server: Server, found: Mapping[Signal, ua.NodeId]) -> None:
    """A signal has no value before the recording says one."""
    for node in found.values():
        status: Any = ua.StatusCode(ua.UInt32(WAITING))
        await server.write_attribute_value(node, ua.DataValue(ua.Variant(), status))


def data_value(value: Any, kind: Type, code: int, t_us: int) -> ua.DataValue:
    """The value with its recorded time as SourceTimestamp and its quality as status code."""
    variant = ua.Variant() if value is None else ua.Variant(value, ua.VariantType[kind.value])
    source: Any = EPOCH + timedelta(microseconds=t_us)
    now: Any = datetime.now(UTC)
    status: Any = ua.StatusCode(ua.UInt32(code))
    return ua.DataValue(variant, status, SourceTimestamp=source, ServerTimestamp=now)
