"""What a client sees of a server: all nodes below Objects with names, types and data types, by namespace URI."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.attribute_ids import AttributeIds

from tests.simulators.spaces.official import UA, Key

HIERARCHICAL = 33
SERVER = 2253


@dataclass(slots=True)
class Seen:
    """A node, and what is below it. type: its type definition. by: the reference from above, of the base specification."""

    id: ua.NodeId
    name: tuple[str, str]
    kind: str
    by: int
    type: Key | None
    path: str
    children: dict[tuple[str, str], Seen] = field(default_factory=dict)
    data: Key | None = None
    rank: int | None = None
    value: Any = None
    status: int = 0

    def at(self, path: str) -> Seen:
        """What is there, by plain names."""
        found = self
        for word in path.split("/"):
            found = next(each for each in found.children.values() if each.name[1] == word)
        return found

    def below(self) -> list[Seen]:
        """This and everything under it."""
        return [self, *(each for child in self.children.values() for each in child.below())]


async def look(client: Client) -> Seen:
    """Browse everything below Objects but the server's own object, and read all variables."""
    uris = await client.get_namespace_array()
    root = Seen(client.nodes.objects.nodeid, (UA, "Objects"), "Object", 0, Key(UA, 61), "")
    level, known = [root], {root.id}
    while level:
        found = []
        for seen, result in zip(level, await _browse(client, [each.id for each in level]), strict=True):
            for each in result.References:
                if each.NodeId.Identifier == SERVER or each.NodeId in known:
                    continue
                known.add(each.NodeId)
                child = _child(seen, each, uris)
                seen.children[child.name] = child
                found.append(child)
        level = found
    await _read(client, [each for each in root.below() if each.kind == "Variable"], uris)
    return root


def _key(node: ua.NodeId, uris: list[str]) -> Key | None:
    return (
        Key(uris[int(node.NamespaceIndex)], int(node.Identifier))
        if isinstance(node.Identifier, int)
        else None
    )


def _child(above: Seen, each: Any, uris: list[str]) -> Seen:
    name = (uris[each.BrowseName.NamespaceIndex], each.BrowseName.Name)
    kind = _key(each.TypeDefinition, uris) if each.TypeDefinition.Identifier else None
    by = each.ReferenceTypeId.Identifier if each.ReferenceTypeId.NamespaceIndex == 0 else 0
    path = f"{above.path}/{each.BrowseName.Name}".strip("/")
    return Seen(each.NodeId, name, ua.NodeClass(each.NodeClass).name, by, kind, path)


async def _browse(client: Client, nodes: list[ua.NodeId]) -> list[Any]:
    wishes = []
    for node in nodes:
        wish = ua.BrowseDescription()
        wish.NodeId, wish.BrowseDirection = node, ua.BrowseDirection.Forward
        wish.ReferenceTypeId, wish.IncludeSubtypes = ua.NodeId.from_string(f"i={HIERARCHICAL}"), True
        wish.ResultMask = ua.BrowseResultMask.All
        wishes.append(wish)
    parameters = ua.BrowseParameters()
    parameters.NodesToBrowse = wishes
    return list(await client.uaclient.browse(parameters))


async def _read(client: Client, variables: list[Seen], uris: list[str]) -> None:
    for attribute in (AttributeIds.DataType, AttributeIds.ValueRank, AttributeIds.Value):
        said = await client.uaclient.read_attributes([each.id for each in variables], attribute)
        for each, data in zip(variables, said, strict=True):
            value: Any = data.Value.Value if data.Value is not None else None
            if attribute is AttributeIds.DataType:
                each.data = _key(value, uris)
            elif attribute is AttributeIds.ValueRank:
                each.rank = int(value)
            else:
                each.value, each.status = value, data.StatusCode.value if data.StatusCode else 0
