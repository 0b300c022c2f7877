"""What a variable is and does: type, rank, rights, value, unit, and how often it changes while we look for a moment.

By repeated reads and not by a subscription: a weak controller keeps neither queues nor items for a visitor, and the reads
take at most half of its time. What changes more often than we read is told as "at least".
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds

from adapters.discovery import Progress
from adapters.opcua.channel import Channel
from adapters.opcua.decode import Found, decode_read
from adapters.opcua.discover_browse import Node, Rest, in_batches
from adapters.opcua.errors import status_name
from adapters.opcua.grids import Unsupported
from adapters.opcua.kinds import NotReadable, native_kind, structured
from adapters.opcua.nodeid import sound
from adapters.opcua.settings import OpcUaSignal
from adapters.opcua.shapes import Catalogue
from pipelines.batch import Kind
from pipelines.units import Unit, by_unit_id, unit_of

_ASKED: Final = (
    AttributeIds.DataType,
    AttributeIds.ValueRank,
    AttributeIds.UserAccessLevel,
    AttributeIds.MinimumSamplingInterval,
    AttributeIds.Value,
    AttributeIds.Description,
)
_SUBSCRIBABLE: Final = 1  # EventNotifier bit SubscribeToEvents
_READABLE: Final = 1  # AccessLevel bit CurrentRead (OPC 10000-3, 8.57)
_PACE: Final = 0.25  # s between two looks at the same value, at least
_WATCHED: Final = 2000  # values that are looked at repeatedly, at most
_STEPS: Final = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_SHOWN: Final = 60
_PLAIN: Final = OpcUaSignal(name="x", node="i=0")  # as a signal is that says nothing of its own


@dataclass(slots=True)
class About:
    """What is known of a variable. why: why it is not stored, empty if it can be. changes: in `seconds` of `looks` looks."""

    node: Node
    data_type: str = ""
    rank: int = -1
    readable: bool = True
    least: float = 0.0  # s; MinimumSamplingInterval
    kind: Kind | None = None
    value: Any = None
    quality: int = 0
    why: str = ""
    fields: str = ""  # of a structure, in words
    description: str = ""
    unit: Unit | None = None
    unit_words: str = ""
    range: tuple[float, float] | None = None
    changes: int = 0
    looks: int = 0
    seconds: float = 0.0
    _last: Any = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """The value for people, short."""
        if self.fields:
            return f"fields {self.fields}"
        if isinstance(self.value, Unsupported) or self.value is None:
            return "" if self.quality < 0x40000000 else status_name(self.quality)
        if isinstance(self.value, np.ndarray):
            return (
                f"[{', '.join(f'{cell:g}' for cell in self.value[:3])}{', …' if len(self.value) > 3 else ''}]"
            )
        text = f"{self.value:.6g}" if isinstance(self.value, float) else str(self.value)
        return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"

    @property
    def rate(self) -> float | None:
        """Changes per second; None if it was not watched."""
        return self.changes / self.seconds if self.looks > 1 and self.seconds else None

    @property
    def at_least(self) -> bool:
        """Whether it changed at nearly every look, and so perhaps more often."""
        return self.looks > 2 and self.changes >= 0.8 * (self.looks - 1)

    @property
    def every(self) -> float:
        """Seconds for the sampling interval: half of what was seen between changes; a second for what is slow or unseen."""
        wanted = 1.0
        if self.at_least:
            wanted = _PACE
        elif self.changes:
            wanted = max(_PACE, min(1.0, self.seconds / self.changes / 2))
        wanted = next(step for step in reversed(_STEPS) if step <= wanted)
        return next((step for step in _STEPS if step >= max(wanted, self.least)), math.ceil(self.least))

    def look(self, found: Found) -> None:
        """Another value of it."""
        value = found.value.tobytes() if isinstance(found.value, np.ndarray) else found.value
        seen = (found.quality, None if isinstance(value, Unsupported) else value)
        self.changes += self.looks > 0 and seen != self._last
        self._last, self.looks = seen, self.looks + 1


class Reader:
    """Reads in batches of what the server takes in one call."""

    def __init__(self, channel: Channel, most: int) -> None:
        self._channel, self._most = channel, max(1, most)

    async def describe(self, nodes: Sequence[Node], progress: Progress) -> list[About]:
        """What each variable is, in order."""
        made: list[About] = []
        size = max(1, self._most // len(_ASKED))
        for start in range(0, len(nodes), size):
            batch = nodes[start : start + size]
            async with Rest():
                found = await in_batches(batch, size, self._described)
            made += [_about(node, cells) for node, cells in zip(batch, found, strict=True)]
            progress("reading", len(made), len(nodes))
        return made

    async def _described(self, nodes: Sequence[Node]) -> list[list[Found]]:
        found = await self._found([(node.raw, attribute) for node in nodes for attribute in _ASKED])
        return [found[at : at + len(_ASKED)] for at in range(0, len(found), len(_ASKED))]

    async def _found(self, asked: Sequence[tuple[Any, AttributeIds]]) -> list[Found]:
        found: list[Found] = []
        for start in range(0, len(asked), self._most):
            part = asked[start : start + self._most]
            answer = decode_read(await self._channel.call_raw(_request(part)))
            if len(answer) != len(part):
                raise ValueError("an answer with another number of results")
            found += answer
        return found

    async def watch(self, abouts: Sequence[About], seconds: float, progress: Progress) -> None:
        """Look at these again and again; at most `_WATCHED` of them, for at least `seconds`."""
        watched = list(abouts[:_WATCHED])
        loop = asyncio.get_running_loop()
        began, now = loop.time(), 0.0
        while watched and now < seconds:
            round_began = loop.time()
            for start in range(0, len(watched), self._most):
                await self._again(watched[start : start + self._most])
            now = loop.time() - began
            for about in watched:
                about.seconds = now
            progress("watching", min(int(now * 10), int(seconds * 10)), int(seconds * 10))
            await asyncio.sleep(max(_PACE - (loop.time() - round_began), loop.time() - round_began))
            now = loop.time() - began

    async def _again(self, batch: Sequence[About]) -> None:
        async def read(part: Sequence[About]) -> list[Found]:
            return await self._found([(about.node.raw, AttributeIds.Value) for about in part])

        for about, found in zip(batch, await in_batches(batch, len(batch), read), strict=True):
            if found is not None:
                about.look(found)

    async def structures(self, nodes: Sequence[Node]) -> list[Any]:
        """Values of standard structures, such as EUInformation; None for what is not there or cannot be decoded."""

        async def read(part: Sequence[Node]) -> list[Any]:
            request = _request([(node.raw, AttributeIds.Value) for node in part])
            answer = await self._channel.call(request, ua.ReadResponse)
            return [cell.Value.Value if cell.Value is not None else None for cell in answer.Results]

        return await self._each(nodes, read)

    async def browse_names(self, raws: Sequence[ua.NodeId]) -> list[str]:
        """What types call themselves; empty where that cannot be read."""

        async def read(part: Sequence[ua.NodeId]) -> list[Found]:
            return await self._found([(raw, AttributeIds.BrowseName) for raw in part])

        found: list[Found | None] = await self._each(raws, read)
        texts = [cell.value if cell is not None and isinstance(cell.value, str) else "" for cell in found]
        return [text.partition(":")[2] or text for text in texts]

    async def notifiers(self, raws: Sequence[ua.NodeId]) -> list[bool]:
        """Whether one may subscribe to the events of each (EventNotifier, OPC 10000-3, 8.59)."""

        async def read(part: Sequence[ua.NodeId]) -> list[Found]:
            return await self._found([(raw, AttributeIds.EventNotifier) for raw in part])

        found: list[Found | None] = await self._each(raws, read)
        bits = [cell.value if cell is not None else None for cell in found]
        return [isinstance(bit, int) and bool(bit & _SUBSCRIBABLE) for bit in bits]

    async def _each(self, things: Sequence[Any], read: Any) -> list[Any]:
        results: list[Any] = []
        for start in range(0, len(things), self._most):
            async with Rest():
                results += await in_batches(things[start : start + self._most], self._most, read)
        return results


def _request(asked: Sequence[tuple[Any, AttributeIds]]) -> ua.ReadRequest:
    request = ua.ReadRequest()
    request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Neither
    request.Parameters.NodesToRead = [ua.ReadValueId(NodeId=node, AttributeId=which) for node, which in asked]
    return request


def _about(node: Node, cells: Sequence[Found] | None) -> About:
    if cells is None:
        return About(node, why="the server's answer cannot be decoded")
    data_type, rank, access, least, value, description = cells
    about = About(node, str(data_type.value or ""))
    about.rank = rank.value if isinstance(rank.value, int) else -1
    about.description = description.value if isinstance(description.value, str) else ""
    about.readable = not isinstance(access.value, int) or bool(access.value & _READABLE)
    about.least = least.value / 1000 if isinstance(least.value, float) and 0 < least.value < 1e9 else 0.0
    about.value, about.quality = value.value, value.quality
    about.look(value)
    try:
        about.kind = native_kind(data_type.value, rank.value, value.kind, value.value)
    except NotReadable as reason:
        about.why = str(reason)
    about.why = about.why or _hindrance(about)
    return about


def _hindrance(about: About) -> str:
    denied = status_name(about.quality) in ("BadUserAccessDenied", "BadNotReadable")
    if denied or not about.readable:
        return "this user may not read it"
    if about.kind is None:
        return "it has no value now, and its type is not told"
    return "" if about.node.id else "no configuration can name this node (namespace without a URI of its own)"


def nameless(fields: str) -> str:
    """Fields in words, without the name that stands for the signal's."""
    return re.sub(rf"(?<![.\w]){_PLAIN.name}(?=[.\[])", "", fields)


def unfolded(about: About, catalogue: Catalogue) -> None:
    """What is in a structure, or why nothing is known of it."""
    try:
        about.fields = nameless(structured(_PLAIN, about.value, catalogue))
        about.why = ""
    except NotReadable as reason:
        about.why = str(reason)
    if not about.why and not about.readable:
        about.why = _hindrance(about)


def measure(about: About, properties: dict[str, Any]) -> None:
    """Unit and range from EngineeringUnits and EURange (OPC 10000-8, 5.6)."""
    wanted, span = properties.get("EngineeringUnits"), properties.get("EURange")
    if isinstance(wanted, ua.EUInformation):
        about.unit_words = sound(wanted.DisplayName.Text)
        about.unit = by_unit_id(int(wanted.UnitId)) or unit_of(about.unit_words)
    if isinstance(span, ua.Range) and math.isfinite(span.Low) and math.isfinite(span.High):
        about.range = (float(span.Low), float(span.High))
