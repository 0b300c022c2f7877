"""Declarations and grown parts as nodes of a server: official ids for the types, the machine's own ids for its instances."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from asyncua import ua

from simulators import units
from simulators.faces.opcua_nodes import node_id
from simulators.faces.spaces.layout import Grown
from simulators.faces.spaces.table import Book, Declared, Key, Name

CLASSES: Final = {
    "Object": (ua.NodeClass.Object, ua.ObjectAttributes),
    "Variable": (ua.NodeClass.Variable, ua.VariableAttributes),
    "Method": (ua.NodeClass.Method, ua.MethodAttributes),
    "ObjectType": (ua.NodeClass.ObjectType, ua.ObjectTypeAttributes),
    "VariableType": (ua.NodeClass.VariableType, ua.VariableTypeAttributes),
    "DataType": (ua.NodeClass.DataType, ua.DataTypeAttributes),
    "ReferenceType": (ua.NodeClass.ReferenceType, ua.ReferenceTypeAttributes),
}
LOCALE: Final = "en"


@dataclass(frozen=True, slots=True)
class Numbers:
    """The indices of the namespaces in one server, and the machine's own namespace."""

    index: Mapping[str, int]
    own: int

    def node(self, key: Key) -> ua.NodeId:
        return node_id(key.id, self.index[key.uri])

    def name(self, name: Name) -> ua.QualifiedName:
        return ua.QualifiedName(name.text, self.index[name.uri] if name.uri else self.own)


def declared_nodes(book: Book, uri: str, numbers: Numbers) -> Iterator[ua.AddNodesItem]:
    """The types of one specification with all that they declare."""
    for each in book.own(uri):
        item = _item(each.kind, numbers.node(each.key), numbers.name(each.name))
        item.ParentNodeId = numbers.node(each.parent) if each.parent is not None else ua.NodeId()
        item.ReferenceTypeId = node_id(each.by)
        if each.kind in ("Object", "Variable") and each.type is not None:
            item.TypeDefinition = numbers.node(each.type)
        attributes = item.NodeAttributes
        if each.kind in ("ObjectType", "VariableType", "DataType", "ReferenceType"):
            attributes.IsAbstract = each.abstract
        if each.kind == "DataType":
            attributes.DataTypeDefinition = _definition(each, book, numbers)
        if each.kind in ("Variable", "VariableType") and each.data is not None:
            attributes.DataType, attributes.ValueRank = numbers.node(each.data), each.rank
            attributes.Value = _declared_value(each, numbers)
        yield item


def rules(book: Book, uri: str, numbers: Numbers) -> Iterator[ua.AddReferencesItem]:
    """What a declaration is: mandatory, optional, one of many; and the interfaces of a type."""
    for each in book.own(uri):
        if each.rule:
            yield reference(numbers.node(each.key), 37, node_id(each.rule), ua.NodeClass.Object)
        for interface in each.has:
            yield reference(numbers.node(each.key), 17603, numbers.node(interface), ua.NodeClass.ObjectType)


def reference(source: ua.NodeId, by: Any, target: ua.NodeId, kind: ua.NodeClass) -> ua.AddReferencesItem:
    """A reference forward."""
    item = ua.AddReferencesItem()
    item.SourceNodeId, item.TargetNodeId, item.TargetNodeClass = source, target, kind
    item.ReferenceTypeId = by if isinstance(by, ua.NodeId) else node_id(by)
    item.IsForward = True
    return item


def grown_node(
    node: Grown, at: ua.NodeId, parent: ua.NodeId, numbers: Numbers, value: ua.Variant
) -> ua.AddNodesItem:
    """A node of the machine. value: of a variable."""
    item = _item(node.kind, at, numbers.name(node.name))
    item.ParentNodeId, item.ReferenceTypeId = parent, node_id(node.by)
    if node.kind != "Method" and node.type is not None:
        item.TypeDefinition = numbers.node(node.type)
    if node.kind == "Variable" and node.data is not None:
        attributes = item.NodeAttributes
        attributes.DataType, attributes.ValueRank = numbers.node(node.data), node.rank
        attributes.Value = value
        attributes.AccessLevel = attributes.UserAccessLevel = ua.AccessLevel.CurrentRead.mask
    if node.kind == "Method":
        item.NodeAttributes.Executable = item.NodeAttributes.UserExecutable = False
    return item


def unit(code: str) -> ua.EUInformation:
    """By the UN/CEFACT code."""
    symbol = ua.LocalizedText(units.SYMBOLS[code])
    return ua.EUInformation(units.NAMESPACE, units.unit_id(code), symbol, symbol)


def _item(kind: str, at: ua.NodeId, name: ua.QualifiedName) -> ua.AddNodesItem:
    node_class, attributes = CLASSES[kind]
    item = ua.AddNodesItem(RequestedNewNodeId=at, BrowseName=name, NodeClass=node_class)
    item.NodeAttributes = attributes()
    item.NodeAttributes.DisplayName = ua.LocalizedText(name.Name)
    return item


def _definition(each: Declared, book: Book, numbers: Numbers) -> Any:
    if each.enum:
        fields = [
            ua.EnumField(Value=number, Name=word, DisplayName=ua.LocalizedText(word))
            for number, word in each.enum
        ]
        return ua.EnumDefinition(Fields=fields)
    if not each.fields:
        return None
    made = [
        ua.StructureField(Name=word, DataType=numbers.node(data), ValueRank=rank)
        for word, data, rank in each.fields
    ]
    encoding = numbers.node(book.encoding(each.key))
    return ua.StructureDefinition(encoding, node_id(22), ua.StructureType.Structure, made)


def _declared_value(each: Declared, numbers: Numbers) -> ua.Variant:
    word, value = each.name.text, each.value
    if value is None:
        return ua.Variant()
    if word == "EnumStrings":
        return ua.Variant([ua.LocalizedText(text) for text in value], ua.VariantType.LocalizedText)
    if word == "EnumValues":
        made: Sequence[Any] = [
            ua.EnumValueType(number, ua.LocalizedText(text), ua.LocalizedText("")) for number, text in value
        ]
        return ua.Variant(list(made), ua.VariantType.ExtensionObject)
    if word == "StateNumber":
        return ua.Variant(int(value), ua.VariantType.UInt32)
    return ua.Variant(arguments(each, numbers), ua.VariantType.ExtensionObject)


def arguments(each: Declared, numbers: Numbers) -> list[ua.Argument]:
    """What a method wants or gives."""
    return [
        ua.Argument(Name=name, DataType=numbers.node(data), ValueRank=rank)
        for name, data, rank in each.value or ()
    ]
