"""The history that a machine keeps of a few variables, read as raw values (HistoryRead, OPC 10000-11, 6.4.3).

A ring per variable: what is older than its length is gone, as in real machines. Our own, because the library's cuts at
NumValuesPerNode without a continuation point, and knows no bounds (decisions/0007, 18). A continuation point is the number of the
next value and needs no memory: who never comes back for it costs nothing.
"""

import struct
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from asyncua import ua
from asyncua.server.address_space import AddressSpace
from asyncua.ua.status_codes import StatusCodes

from simulators.faces.opcua_times import EPOCH, status, timestamp
from simulators.model import Model, Value

KEPT: Final = 10_000  # values per variable: a quarter of an hour at ten a second
MOST: Final = 10_000  # values in one answer
NO_BOUND: Final = 0x80D70000  # BadBoundNotFound
NO_DATA: Final = 0x00A50000  # GoodNoData
_POINT: Final = struct.Struct("<4sQ?")
_MARK: Final = b"hist"


class Kept(NamedTuple):
    """One value. number: counted from the first one ever."""

    at_ns: int
    value: Value
    status: int
    number: int


@dataclass(slots=True)
class Memory:
    """What the machine remembers, whatever server shows it. A value that is older than the newest is put in its place."""

    model: Model
    kept: int = KEPT
    _rings: dict[str, deque[Kept]] = field(default_factory=dict)
    _count: int = 0

    def note(self, names: Iterable[str], at_ns: int, statuses: Mapping[str, int]) -> None:
        """These signals have these values since `at_ns`."""
        for name in self.model.remembered:
            if name in names:
                ring = self._rings.setdefault(name, deque(maxlen=self.kept))
                self._count += 1
                ring.append(Kept(at_ns, self.model.values[name], statuses.get(name, 0), self._count))

    def values(self, name: str) -> list[Kept]:
        """In the order of time; of one time in the order in which they came."""
        return sorted(self._rings.get(name, ()), key=lambda each: (each.at_ns, each.number))


class _Ask(NamedTuple):
    """What is wanted, ns. None: open. backwards: the newest first."""

    begins: int | None
    ends: int | None
    backwards: bool
    most: int
    bounds: bool


@dataclass(frozen=True, slots=True)
class History:
    """nodes: variables that have a history, with their signals' names. space: all nodes that are there now."""

    memory: Memory
    nodes: Mapping[ua.NodeId, tuple[str, ua.VariantType]]
    space: AddressSpace | set[ua.NodeId]

    def read(self, params: ua.HistoryReadParameters) -> list[ua.HistoryReadResult]:
        """The service, for every node by itself."""
        return [self._result(params, each) for each in params.NodesToRead]

    def _result(self, params: ua.HistoryReadParameters, wish: Any) -> ua.HistoryReadResult:
        result = ua.HistoryReadResult()
        details: Any = params.HistoryReadDetails
        if not isinstance(details, ua.ReadRawModifiedDetails) or details.IsReadModified:
            return _refused(result, StatusCodes.BadHistoryOperationUnsupported)
        if wish.NodeId not in self.space:
            return _refused(result, StatusCodes.BadNodeIdUnknown)
        if wish.NodeId not in self.nodes:
            return _refused(result, StatusCodes.BadHistoryOperationUnsupported)
        if params.ReleaseContinuationPoints:
            return result
        ask = _asked(details)
        if ask is None:
            return _refused(result, StatusCodes.BadHistoryOperationInvalid)
        after = _point(wish.ContinuationPoint)
        if wish.ContinuationPoint and after is None:
            return _refused(result, StatusCodes.BadContinuationPointInvalid)
        self._fill(result, wish.NodeId, ask, after)
        return result

    def _fill(self, result: Any, node: ua.NodeId, ask: _Ask, after: int | None) -> None:
        name, kind = self.nodes[node]
        found = _wanted(self.memory.values(name), ask)
        if after is not None:
            places = [place for place, each in enumerate(found) if each.number == after]
            found = found[places[0] + 1 :] if places else _younger(found, after, ask)
        page, rest = found[: ask.most], found[ask.most :]
        values = ua.HistoryData()
        values.DataValues = [_data(each, kind) for each in page]
        result.HistoryData = values
        if rest:
            result.ContinuationPoint = _POINT.pack(_MARK, page[-1].number, ask.backwards)
        elif not page and after is None:
            result.StatusCode = status(NO_DATA)


def _younger(found: list[Kept], after: int, ask: _Ask) -> list[Kept]:
    """The value that the continuation point names has left the ring meanwhile: on with what is left."""
    return [] if ask.backwards else [each for each in found if each.number > after]


def _wanted(values: list[Kept], ask: _Ask) -> list[Kept]:
    """The values of the range, with its bounds if they are asked for; the first bound is the earlier in the direction of reading."""
    times = [each.at_ns for each in values]
    low, high = (ask.ends, ask.begins) if ask.backwards else (ask.begins, ask.ends)
    # The end of the range does not belong to it, on whichever side the end is (OPC 10000-11, 6.4.3.2).
    exclusive_low, exclusive_high = (ask.backwards, not ask.backwards) if low != high else (False, False)
    first = 0 if low is None else (bisect_right if exclusive_low else bisect_left)(times, low)
    last = len(times) if high is None else (bisect_left if exclusive_high else bisect_right)(times, high)
    found = values[first:last]
    if ask.bounds:
        found = [*_below(values, times, low, first), *found, *_above(values, times, high, last)]
    return found[::-1] if ask.backwards else found


def _below(values: list[Kept], times: list[int], low: int | None, first: int) -> list[Kept]:
    if low is None or (first < len(times) and times[first] == low):
        return []
    return [values[first - 1]] if first else [Kept(low, 0, NO_BOUND, 0)]


def _above(values: list[Kept], times: list[int], high: int | None, last: int) -> list[Kept]:
    if high is None or (last and times[last - 1] == high):
        return []
    return [values[last]] if last < len(times) else [Kept(high, 0, NO_BOUND, 0)]


def _asked(details: Any) -> _Ask | None:
    """Two of start, end and number are needed; an end before the start, or no start, means backwards."""
    begins, ends = _ns(details.StartTime), _ns(details.EndTime)
    number = details.NumValuesPerNode
    if (begins is not None) + (ends is not None) + (number > 0) < 2:
        return None
    backwards = begins is None or (ends is not None and ends < begins)
    if begins is None:
        begins, ends = ends, None
    most = min(number or MOST, MOST)
    return _Ask(begins, ends, backwards, most, bool(details.ReturnBounds))


def _ns(moment: Any) -> int | None:
    """None for no time: 1601, which the library reads as its own least or greatest time."""
    if not isinstance(moment, datetime) or not 1602 <= moment.year < 9999:
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    micros: int = (moment - EPOCH) // timedelta(microseconds=1)
    return micros * 1000


def _point(given: bytes | None) -> int | None:
    if not given or len(given) != _POINT.size or not given.startswith(_MARK):
        return None
    number: int = _POINT.unpack(given)[1]
    return number


def _data(each: Kept, kind: ua.VariantType) -> ua.DataValue:
    at: Any = timestamp(each.at_ns)
    if each.status == NO_BOUND:
        return ua.DataValue(StatusCode=status(each.status), SourceTimestamp=at, ServerTimestamp=at)
    value = ua.Variant(each.value, kind)
    return ua.DataValue(value, status(each.status), SourceTimestamp=at, ServerTimestamp=at)


def _refused(result: ua.HistoryReadResult, code: int) -> ua.HistoryReadResult:
    result.StatusCode = status(code)
    return result
