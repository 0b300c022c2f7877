"""What is below a node, asked for many nodes at a time: Browse, BrowseNext and TranslateBrowsePathsToNodeIds in batches.

A server may need 25 ms per request, so the number of requests follows the depth of what is looked for, never its size. What a
server refuses or says in bytes that break the rules costs the node it is about, and nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from asyncua import ua
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import UaStatusCodeError

from adapters.opcua.batches import in_batches
from adapters.opcua.channel import Channel
from adapters.opcua.errors import status_error
from adapters.opcua.nodeid import canonical, sound
from adapters.opcua.paths import Step

if TYPE_CHECKING:
    from adapters.opcua.subscription import Desk

HIERARCHICAL: Final = 33  # NodeIds.csv: HierarchicalReferences
PROPERTY: Final = 46  # HasProperty
_OBJECT, _VARIABLE = 1, 2
_PER_NODE: Final = 1000
_PER_CALL: Final = 250  # nodes: a slow server answers within the time that any answer may take
_ROUNDS: Final = 1000  # of BrowseNext; more than this is a server that never ends
_UNREADABLE: Final = (ValueError, struct.error, IndexError)


class Look(NamedTuple):
    """What to look for at a node: references of this type and its subtypes, one way or the other, to nodes of these classes (0: any)."""

    reference: int = HIERARCHICAL
    inverse: bool = False
    classes: int = _OBJECT | _VARIABLE


class Child(NamedTuple):
    """A node as its parent names it. node: the server's NodeId; text: the same as a configuration writes it."""

    node: ua.NodeId
    text: str
    namespace: int
    name: str
    variable: bool
    is_property: bool


class Browser:
    """Asks a connected server. `requests` counts what it took."""

    def __init__(self, channel: Channel, desk: Desk) -> None:
        self._channel, self._desk = channel, desk
        self.requests = 0

    @property
    def namespaces(self) -> Sequence[str]:
        return self._desk.namespaces

    async def children(self, nodes: Sequence[ua.NodeId], reference: int = HIERARCHICAL) -> list[list[Child]]:
        """Objects and variables below each node; none for a node that is not there or cannot be looked at."""
        return await self.around(nodes, Look(reference))

    async def around(self, nodes: Sequence[ua.NodeId], look: Look) -> list[list[Child]]:
        """The same for whatever else references lead to."""

        async def patient(batch: Sequence[ua.NodeId]) -> list[list[Child]]:
            try:
                return await self._browse(batch, look)
            except _UNREADABLE:
                if len(batch) == 1:
                    return [[]]
            return [found for node in batch for found in await patient([node])]

        return await in_batches(nodes, min(self._desk.limits.browse, _PER_CALL), patient)

    async def _browse(self, nodes: Sequence[ua.NodeId], look: Look) -> list[list[Child]]:
        request = ua.BrowseRequest()
        request.Parameters.RequestedMaxReferencesPerNode = _PER_NODE
        request.Parameters.NodesToBrowse = [_wish(node, look) for node in nodes]
        self.requests += 1
        answer = await self._channel.call(request, ua.BrowseResponse)
        results = list(answer.Results or ())
        _same(len(results), len(nodes))
        found = [self._understood(result.References, look) for result in results]
        points = {place: r.ContinuationPoint for place, r in enumerate(results) if r.ContinuationPoint}
        await self._rest(found, points, look)
        starved = [
            n for n, r in enumerate(results) if r.StatusCode.value == StatusCodes.BadNoContinuationPoints
        ]
        for place in starved if len(nodes) > 1 else ():  # now that the others have given theirs back
            found[place] = (await self._browse([nodes[place]], look))[0]
        return found

    async def _rest(self, found: list[list[Child]], points: dict[int, bytes], look: Look) -> None:
        """What did not fit into the first answer, for all nodes of the batch together."""
        for _ in range(_ROUNDS):
            if not points:
                return
            request = ua.BrowseNextRequest()
            request.Parameters.ReleaseContinuationPoints = False
            request.Parameters.ContinuationPoints = list(points.values())
            self.requests += 1
            answer = await self._channel.call(request, ua.BrowseNextResponse)
            results = list(answer.Parameters.Results or ())
            _same(len(results), len(points))
            following: dict[int, bytes] = {}
            for place, result in zip(points, results, strict=True):
                found[place] += self._understood(result.References, look)
                if result.ContinuationPoint:
                    following[place] = result.ContinuationPoint
            points = following

    def _understood(self, references: Any, look: Look) -> list[Child]:
        """An inverse look needs the direction said: some servers send both."""
        taken = [one for one in references or () if not (look.inverse and one.IsForward)]
        return [child for reference in taken for child in self._child(reference)]

    def _child(self, reference: Any) -> Iterator[Child]:
        target = reference.NodeId
        if getattr(target, "ServerIndex", 0):
            return
        node = ua.NodeId(target.Identifier, target.NamespaceIndex, target.NodeIdType)
        text = canonical(
            target.NodeIdType.value, target.Identifier, target.NamespaceIndex, self._desk.namespaces
        )
        kind = reference.ReferenceTypeId
        is_property = (kind.NamespaceIndex, kind.Identifier) == (0, PROPERTY)
        name = reference.BrowseName
        variable = int(reference.NodeClass) == _VARIABLE
        yield Child(node, text, int(name.NamespaceIndex), sound(name.Name), variable, is_property)

    async def translate(
        self, wanted: Sequence[tuple[ua.NodeId, Sequence[Step]]]
    ) -> list[list[ua.NodeId]] | None:
        """The nodes at the end of each path, whose steps all have a name and a namespace. None: the server cannot do it."""
        paths = [self._browse_path(root, steps) for root, steps in wanted]

        async def call(batch: Sequence[ua.BrowsePath]) -> list[list[ua.NodeId]]:
            request = ua.TranslateBrowsePathsToNodeIdsRequest()
            request.Parameters.BrowsePaths = list(batch)
            self.requests += 1
            answer = await self._channel.attempt(request, ua.TranslateBrowsePathsToNodeIdsResponse)
            if isinstance(answer, int):
                raise status_error(answer)
            _same(len(answer.Results), len(batch))
            return [_targets(result) for result in answer.Results]

        try:
            return await in_batches(paths, self._desk.limits.translate, call)
        except (UaStatusCodeError, *_UNREADABLE):
            return None

    def _browse_path(self, root: ua.NodeId, steps: Sequence[Step]) -> ua.BrowsePath:
        path = ua.BrowsePath()
        path.StartingNode = root
        make: Any = ua.NodeId
        for step in steps:
            element: Any = ua.RelativePathElement()
            element.ReferenceTypeId = make(HIERARCHICAL)
            element.IsInverse, element.IncludeSubtypes = False, True
            element.TargetName = ua.QualifiedName(step.name or "", self.index(step) or 0)
            path.RelativePath.Elements.append(element)
        return path

    def index(self, step: Step) -> int | None:
        """The namespace index of a step here and now; None if it says none, -1 if the server does not know its URI."""
        if step.uri is None:
            return step.index
        known = self._desk.namespaces
        return known.index(step.uri) if step.uri in known else -1


def _wish(node: ua.NodeId, look: Look) -> ua.BrowseDescription:
    make: Any = ua.NodeId
    wish = ua.BrowseDescription()
    wish.NodeId = node
    wish.BrowseDirection = ua.BrowseDirection.Inverse if look.inverse else ua.BrowseDirection.Forward
    wish.ReferenceTypeId = make(look.reference)
    wish.IncludeSubtypes = True
    wish.NodeClassMask = look.classes
    wish.ResultMask = 1 | 2 | 4 | 8  # reference type, direction, node class, browse name (OPC 10000-4, 5.9.2)
    return wish


def _targets(result: Any) -> list[ua.NodeId]:
    """Nodes of this server at the end of the whole path (RemainingPathIndex is the largest UInt32)."""
    if not result.StatusCode.is_good():
        return []
    ends = [t.TargetId for t in result.Targets or () if t.RemainingPathIndex == 0xFFFFFFFF]
    return [ua.NodeId(t.Identifier, t.NamespaceIndex, t.NodeIdType) for t in ends]


def _same(got: int, wanted: int) -> None:
    if got != wanted:
        raise status_error(StatusCodes.BadUnexpectedError)
