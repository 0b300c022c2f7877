"""Walks a server's address space below Objects: level by level, in batches, within bounds, one request at a time.

A machine's controller has better things to do than to answer us: at most half of its time is asked for, no more than its
own limits per call, and no more than the bounds. Names are claims of a stranger: loops end (every node is visited once),
and an answer that cannot be decoded costs the children of one node, not the walk.
"""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from asyncua import ua
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import (
    BadEncodingLimitsExceeded,
    BadRequestTooLarge,
    BadResponseTooLarge,
    BadTooManyOperations,
)

from adapters.discovery import Progress
from adapters.opcua.channel import Channel
from adapters.opcua.discover_ids import id_text
from adapters.opcua.errors import status_name
from adapters.opcua.nodeid import sound

OBJECTS: Final = 85  # NodeIds.csv: ObjectsFolder
_HIERARCHICAL, _PROPERTY = 33, 46  # HierarchicalReferences, HasProperty
_OBJECT, _VARIABLE = 1, 2
_PER_NODE: Final = 1000  # references in one answer; more come by continuation point
_SKIPPED: Final = frozenset(
    {"i=2253", "i=23470", "i=31915", "i=17594"}
)  # Server, Aliases, Locations, Dictionaries
_LONGEST_REST: Final = 0.5  # s

Thing = TypeVar("Thing")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where the walk ends: nodes, levels below Objects, seconds."""

    nodes: int = 20_000
    depth: int = 24
    seconds: float = 120.0


@dataclass(slots=True)
class Node:
    """A node as its parent names it. id: as a configuration writes it, empty if it cannot be written. type: of its definition."""

    raw: ua.NodeId
    id: str
    name: str
    label: str = ""
    variable: bool = False
    is_property: bool = False
    type: str = ""
    depth: int = 0
    parent: Node | None = field(default=None, repr=False)
    children: list[Node] = field(default_factory=list, repr=False)

    @property
    def path(self) -> tuple[str, ...]:
        """Browse names below Objects."""
        return () if self.parent is None else (*self.parent.path, self.name)

    def below(self) -> Iterator[Node]:
        """Everything beneath, parents first. Not by recursion: the depth is the server's."""
        waiting = self.children[::-1]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += node.children[::-1]


async def in_batches(
    things: Sequence[Thing], size: int, call: Callable[[Sequence[Thing]], Awaitable[Sequence[Result]]]
) -> list[Result | None]:
    """Results in order. What is too much for the server is asked by halves; what cannot be decoded is None in the end."""
    results: list[Result | None] = []
    while len(results) < len(things):
        batch = things[len(results) : len(results) + size]
        try:
            results += await call(batch)
        except (BadTooManyOperations, BadResponseTooLarge, BadEncodingLimitsExceeded, BadRequestTooLarge):
            if len(batch) == 1:
                raise
            size = len(batch) // 2
        except (ValueError, struct.error, IndexError):
            if len(batch) > 1:
                results += await in_batches(batch, len(batch) // 2, call)
            else:
                results.append(None)
    return results


class Rest:
    """Leaves the server alone for as long as it has worked for us."""

    def __init__(self) -> None:
        self._began = 0.0

    async def __aenter__(self) -> None:
        self._began = asyncio.get_running_loop().time()

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(min(asyncio.get_running_loop().time() - self._began, _LONGEST_REST))


class Walk:
    """One walk. `unread`: what could not be looked at, and why; `cut`: which bound ended it, empty if none did."""

    def __init__(self, channel: Channel, namespaces: Sequence[str], size: int, bounds: Bounds) -> None:
        self._channel, self._namespaces, self._size, self._bounds = channel, namespaces, size, bounds
        self._seen: set[ua.NodeId] = set()
        self._end = math.inf
        self.unread: list[tuple[Node, str]] = []
        self.cut = ""

    async def run(self, progress: Progress) -> Node:
        """The Objects folder with what is below it. Raises what the channel raises."""
        make: Any = ua.NodeId
        root = Node(make(OBJECTS), f"i={OBJECTS}", "Objects")
        self._seen = {root.raw}
        level = [root]
        self._end = asyncio.get_running_loop().time() + self._bounds.seconds
        while level and not self.cut:
            following: list[Node] = []
            for start in range(0, len(level), self._size):
                async with Rest():
                    following += await self._batch(level[start : start + self._size])
                progress("looking around", len(self._seen), 0)
                if self._late() or self.cut:
                    break
            level = following
        return root

    def _late(self) -> bool:
        late = asyncio.get_running_loop().time() > self._end
        if late:
            self.cut = self.cut or f"after {self._bounds.seconds:g} s"
        return late

    async def _batch(self, nodes: Sequence[Node]) -> list[Node]:
        found = await in_batches(nodes, self._size, self._browse)
        new: list[Node] = []
        for node, references in zip(nodes, found, strict=True):
            if references is None:
                self.unread.append((node, "the server's answer cannot be decoded"))
            else:
                new += self._adopted(node, references)
        return [node for node in new if self._deeper(node)]

    def _deeper(self, node: Node) -> bool:
        if node.depth >= self._bounds.depth:
            self.unread.append((node, f"more than {self._bounds.depth} levels deep"))
            return False
        return not node.is_property

    def _adopted(self, parent: Node, references: Sequence[ua.ReferenceDescription]) -> list[Node]:
        new = []
        for reference in references:
            raw = self._local(reference.NodeId)
            if raw is None or raw in self._seen:
                continue
            if len(self._seen) >= self._bounds.nodes:
                self.cut = f"after {self._bounds.nodes} nodes"
                break
            self._seen.add(raw)
            if (node := self._node(parent, raw, reference)).id not in _SKIPPED:
                new.append(node)
        parent.children += new
        return new

    def _local(self, target: Any) -> ua.NodeId | None:
        """The node, if it is on this server. The library gives an ExpandedNodeId only where there is more to say."""
        make: Any = ua.NodeId
        uri = getattr(target, "NamespaceUri", None)
        if getattr(target, "ServerIndex", 0) or (uri and uri not in self._namespaces):
            return None
        made: ua.NodeId = make(
            target.Identifier, self._namespaces.index(uri) if uri else target.NamespaceIndex
        )
        return made

    def _node(self, parent: Node, raw: ua.NodeId, reference: Any) -> Node:
        definition = reference.TypeDefinition
        return Node(
            raw,
            id_text(raw, self._namespaces),
            sound(reference.BrowseName.Name) or "?",
            sound(reference.DisplayName.Text),
            int(reference.NodeClass) == _VARIABLE,
            reference.ReferenceTypeId.NamespaceIndex == 0
            and reference.ReferenceTypeId.Identifier == _PROPERTY,
            id_text(definition, self._namespaces) if definition.Identifier else "",
            parent.depth + 1,
            parent,
        )

    async def _browse(self, nodes: Sequence[Node]) -> list[list[ua.ReferenceDescription]]:
        request = ua.BrowseRequest()
        request.Parameters.RequestedMaxReferencesPerNode = _PER_NODE
        request.Parameters.NodesToBrowse = [_wish(node.raw) for node in nodes]
        answer = await self._channel.call(request, ua.BrowseResponse)
        if len(answer.Results) != len(nodes):
            raise ValueError("an answer with another number of results")
        found: list[list[ua.ReferenceDescription]] = []
        for place, (node, result) in enumerate(zip(nodes, answer.Results, strict=True)):
            if result.StatusCode.value == StatusCodes.BadNoContinuationPoints and len(nodes) > 1:
                later = await in_batches(nodes[place:], 1, self._browse)
                return [*found, *(references or [] for references in later)]
            if not result.StatusCode.is_good():
                self.unread.append((node, status_name(result.StatusCode.value)))
            found.append(await self._all(result))
        return found

    async def _all(self, result: Any) -> list[ua.ReferenceDescription]:
        """With what comes by continuation points; they are given back where the walk has enough."""
        references = list(result.References or ())
        point = result.ContinuationPoint
        while point:
            enough = len(self._seen) + len(references) > self._bounds.nodes or self._late()
            request = ua.BrowseNextRequest()
            request.Parameters.ReleaseContinuationPoints = enough
            request.Parameters.ContinuationPoints = [point]
            answer = await self._channel.call(request, ua.BrowseNextResponse)
            (more,) = answer.Parameters.Results or (None,)
            if enough or more is None or not more.References:
                break
            references += more.References
            point = more.ContinuationPoint
        return references


def _wish(node: ua.NodeId) -> ua.BrowseDescription:
    make: Any = ua.NodeId
    wish = ua.BrowseDescription()
    wish.NodeId = node
    wish.BrowseDirection = ua.BrowseDirection.Forward
    wish.ReferenceTypeId = make(_HIERARCHICAL)
    wish.IncludeSubtypes = True
    wish.NodeClassMask = _OBJECT | _VARIABLE
    wish.ResultMask = 63  # everything (OPC 10000-4, 5.9.2)
    return wish
