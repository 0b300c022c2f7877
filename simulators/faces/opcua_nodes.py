"""The address space of a machine: folders by the vendor's ids, variables with unit and range (OPC UA Part 8, 5.3.2)."""

from collections.abc import Iterator
from typing import Any

from asyncua import ua
from asyncua.ua.object_ids import ObjectIds

from simulators import units
from simulators.faces.opcua_writing import access
from simulators.model import Model, Signal


def node_text(signal: Signal) -> str:
    """The string identifier of a signal's node: the vendor's id, or the name where none is declared."""
    return signal.address or signal.name


def node_id(identifier: Any, index: Any = 0) -> ua.NodeId:
    """A NodeId. The library asks mypy for its own integer and string classes, which nothing of it returns."""
    return ua.NodeId(identifier, index)


def machine_nodes(model: Model, index: int) -> Iterator[ua.AddNodesItem]:
    """All nodes of the machine, parents before children."""
    root = root_name(model)
    yield folder(index, root, root, node_id(ObjectIds.ObjectsFolder), model.title)
    seen: set[str] = set()
    for signal in model.signals:
        parent = root
        path = node_text(signal).split(".")
        for depth in range(1, len(path)):
            above = ".".join(path[:depth])
            if above not in seen:
                seen.add(above)
                yield folder(index, above, path[depth - 1], node_id(parent, index), "")
            parent = above
        yield from signal_nodes(signal, model, index, node_id(parent, index))


def root_name(model: Model) -> str:
    """Identifier and browse name of the machine's own folder."""
    return model.machine[:1].upper() + model.machine[1:]


def signal_nodes(signal: Signal, model: Model, index: int, parent: ua.NodeId) -> Iterator[ua.AddNodesItem]:
    """The variable of a signal and its properties."""
    name = node_text(signal).rpartition(".")[2]
    value: Any = model.values[signal.name]
    variant = ua.Variant(list(value) if signal.length else value, ua.VariantType[signal.type.value])
    item = variable(
        node_id(node_text(signal), index),
        parent,
        ua.QualifiedName(name, index),
        variant,
        signal.description,
    )
    item.TypeDefinition = node_id(_type_of(signal))
    attributes = item.NodeAttributes
    attributes.MinimumSamplingInterval = float(model.period_ms)
    attributes.AccessLevel = attributes.UserAccessLevel = access(model, signal.name)
    attributes.Historizing = signal.name in model.remembered
    yield item
    for name_, value in _properties(signal):
        text = f"{node_text(signal)}.{name_}"
        prop = variable(node_id(text, index), item.RequestedNewNodeId, ua.QualifiedName(name_, 0), value, "")
        prop.ReferenceTypeId = node_id(ObjectIds.HasProperty)
        prop.TypeDefinition = node_id(ObjectIds.PropertyType)
        yield prop


def _type_of(signal: Signal) -> int:
    unit, ranged = bool(signal.unit), signal.high is not None
    if unit and ranged:
        return int(ObjectIds.AnalogUnitRangeType)
    return int(ObjectIds.AnalogUnitType if unit else ObjectIds.BaseDataVariableType)


def _properties(signal: Signal) -> Iterator[tuple[str, ua.Variant]]:
    if signal.unit:
        yield "EngineeringUnits", ua.Variant(_unit(signal.unit), ua.VariantType.ExtensionObject)
    if signal.unit and signal.low is not None and signal.high is not None:
        yield (
            "EURange",
            ua.Variant(ua.Range(float(signal.low), float(signal.high)), ua.VariantType.ExtensionObject),
        )


def _unit(code: str) -> ua.EUInformation:
    symbol = ua.LocalizedText(units.SYMBOLS[code])
    return ua.EUInformation(units.NAMESPACE, units.unit_id(code), symbol, symbol)


def folder(index: int, text: str, name: str, parent: ua.NodeId, description: str) -> ua.AddNodesItem:
    """An object that only organises."""
    item = ua.AddNodesItem(
        ParentNodeId=parent,
        ReferenceTypeId=node_id(ObjectIds.Organizes),
        RequestedNewNodeId=node_id(text, index),
        BrowseName=ua.QualifiedName(name, index),
        NodeClass=ua.NodeClass.Object,
        TypeDefinition=node_id(ObjectIds.FolderType),
    )
    item.NodeAttributes = ua.ObjectAttributes(
        DisplayName=ua.LocalizedText(name), Description=ua.LocalizedText(description), EventNotifier=0
    )
    return item


def variable(
    node: ua.NodeId, parent: ua.NodeId, name: ua.QualifiedName, value: ua.Variant, text: str
) -> ua.AddNodesItem:
    """A variable that can be read; its data type is that of the value."""
    item = ua.AddNodesItem(
        ParentNodeId=parent,
        ReferenceTypeId=node_id(ObjectIds.HasComponent),
        RequestedNewNodeId=node,
        BrowseName=name,
        NodeClass=ua.NodeClass.Variable,
    )
    item.NodeAttributes = ua.VariableAttributes(
        DisplayName=ua.LocalizedText(name.Name),
        Description=ua.LocalizedText(text),
        Value=value,
        DataType=_data_type(value),
        ValueRank=ua.ValueRank.OneDimension if isinstance(value.Value, list) else ua.ValueRank.Scalar,
        AccessLevel=ua.AccessLevel.CurrentRead.mask,
        UserAccessLevel=ua.AccessLevel.CurrentRead.mask,
    )
    return item


def _data_type(value: ua.Variant) -> ua.NodeId:
    if value.VariantType is ua.VariantType.ExtensionObject:
        return node_id(ObjectIds.Range if isinstance(value.Value, ua.Range) else ObjectIds.EUInformation)
    return node_id(value.VariantType.value)
