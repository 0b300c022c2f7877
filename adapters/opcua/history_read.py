"""HistoryRead of raw values: who has a history, and all values of some nodes between two times, a piece at a time.

Own decoder, own bounds: a continuation point that leads nowhere is given back after a few empty answers. Between two requests there is a
pause as long as the last answer took, so that a machine is never busy with its past for more than half of its time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds

from adapters.clock import Clock
from adapters.opcua.batches import in_batches
from adapters.opcua.channel import Channel
from adapters.opcua.errors import status_name
from adapters.opcua.history_decode import Past, PastOfNode, decode_history

PER_CALL: Final = 20  # nodes
PER_NODE: Final = 1000  # values
_READABLE: Final = 0x04  # AccessLevel: HistoryRead (OPC 10000-3, 8.57)
_MOST_EMPTY: Final = 5  # answers in a row that bring nothing but a continuation point
_LEAST_PAUSE: Final = 0.02  # s
_NOTHING: Final = ("BadNoData",)
_LIMIT: Final = 12165  # NodeIds.csv: MaxNodesPerHistoryReadData


class Piece(NamedTuple):
    """Some values of the node at `place`. failure: why there is no more of it, empty at its good end and before."""

    place: int
    values: list[Past]
    failure: str = ""


async def remembered(channel: Channel, nodes: Sequence[ua.NodeId], most: int) -> list[bool]:
    """Whether this user may read the history of each node, as the server says."""

    async def call(batch: Sequence[ua.NodeId]) -> list[bool]:
        request = ua.ReadRequest()
        request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Neither
        request.Parameters.NodesToRead = [
            ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.UserAccessLevel) for node in batch
        ]
        results = (await channel.call(request, ua.ReadResponse)).Results
        if len(results) != len(batch):
            return [False] * len(batch)
        levels = [result.Value.Value if result.Value is not None else None for result in results]
        return [isinstance(level, int) and bool(level & _READABLE) for level in levels]

    return await in_batches(nodes, most, call)


class Reader:
    """Reads for one connection. size: nodes in one call, fewer once the server has said that it was too many."""

    def __init__(self, channel: Channel, clock: Clock, size: int = PER_CALL) -> None:
        self._channel, self._clock, self.size = channel, clock, size

    async def read(self, nodes: Sequence[ua.NodeId], begins: int, ends: int) -> AsyncIterator[Piece]:
        """All values with begins ≤ time ≤ ends (ns), in the order of time for every node. Raises what the channel raises."""
        places = [_Place(number, begins) for number in range(len(nodes))]
        empty = 0
        while places:
            now = [place for place in places if place.begins == places[0].begins][: self.size]
            found = await self._call([(nodes[p.number], p.point) for p in now], now[0].begins, ends)
            if isinstance(found, int):
                if status_name(found) == "BadTooManyOperations" and self.size > 1:
                    self.size = max(1, len(now) // 2)
                    continue
                for place in places:
                    yield Piece(place.number, [], status_name(found))
                return
            for place, one in zip(now, found, strict=True):
                yield place.take(one)
            places = [place for place in places if not place.done]
            empty = 0 if any(one.values for one in found) else empty + 1
            if empty >= _MOST_EMPTY and places:
                await self._release([(nodes[p.number], p.point) for p in places if p.point])
                for place in places:
                    yield Piece(place.number, [], "continuation points that lead nowhere")
                return

    async def _call(
        self, wanted: Sequence[tuple[ua.NodeId, bytes]], begins: int, ends: int, *, release: bool = False
    ) -> int | list[PastOfNode]:
        asked = self._clock.monotonic()
        answer = await self._channel.attempt_raw(_request(wanted, begins, ends, release))
        await self._clock.sleep(max(_LEAST_PAUSE, self._clock.monotonic() - asked))
        return [] if release else decode_history(answer, len(wanted))

    async def _release(self, points: Sequence[tuple[ua.NodeId, bytes]]) -> None:
        await self._call(points, 0, 0, release=True)


async def limit(channel: Channel) -> int:
    """Nodes per call that the server takes."""
    request = ua.ReadRequest()
    make: Any = ua.NodeId
    request.Parameters.NodesToRead = [ua.ReadValueId(NodeId=make(_LIMIT), AttributeId=AttributeIds.Value)]
    results = (await channel.call(request, ua.ReadResponse)).Results
    value = results[0].Value.Value if len(results) == 1 and results[0].Value is not None else None
    return min(PER_CALL, value) if isinstance(value, int) and value > 0 else PER_CALL


@dataclass(slots=True)
class _Place:
    """How far one node is. last: the values of the newest time so far."""

    number: int
    begins: int
    point: bytes = b""
    done: bool = False
    last: list[Past] = field(default_factory=list)

    def take(self, one: PastOfNode) -> Piece:
        if one.status >> 31:
            self.done = True
            name = status_name(one.status)
            return Piece(self.number, [], "" if name in _NOTHING else name)
        newest = self.last[-1].at if self.last else 0
        fresh = [
            v for v in one.values if not v.at or v.at > newest or (v.at == newest and v not in self.last)
        ]
        self.point = one.point
        full = len(one.values) >= PER_NODE and not one.point
        if full and fresh and fresh[-1].at:
            self.begins = fresh[-1].at  # a server that cuts without a word (asyncua's): on from there
            self.last = [v for v in [*self.last, *fresh] if v.at == self.begins]
        else:
            self.done = not one.point
        stuck = full and not fresh
        return Piece(self.number, fresh, f"more than {PER_NODE} values at one time" if stuck else "")


def _request(
    wanted: Sequence[tuple[ua.NodeId, bytes]], begins: int, ends: int, release: bool
) -> ua.HistoryReadRequest:
    details: Any = ua.ReadRawModifiedDetails()
    details.IsReadModified, details.ReturnBounds = False, False
    details.StartTime, details.EndTime = _moment(begins // 1000), _moment(ends // 1000 + 1)
    details.NumValuesPerNode = PER_NODE
    request = ua.HistoryReadRequest()
    request.Parameters.HistoryReadDetails = details
    request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
    request.Parameters.ReleaseContinuationPoints = release
    request.Parameters.NodesToRead = [_node(node, point) for node, point in wanted]
    return request


def _moment(micros: int) -> dt.datetime:
    """The library's times have microseconds: the range is asked for a little too wide."""
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=micros)


def _node(node: ua.NodeId, point: bytes) -> ua.HistoryReadValueId:
    made: Any = ua.HistoryReadValueId()
    made.NodeId, made.ContinuationPoint = node, point or None
    return made  # type: ignore[no-any-return]
