"""HistoryReadResponse from bytes to values that are still undecoded, each with its time (OPC 10000-4, 5.11.3; OPC 10000-11, 6.4.3).

A value is only measured and its time read: what lies outside of the range that was asked for is left out before anybody decodes it, and
the rest becomes a notification, so that history and present go the same way from bytes to rows.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from adapters.opcua.decode import DATA_CHANGE, SERVICE_FAULT, Message, Part, _response_header
from adapters.opcua.values import (
    EPOCH_TICKS,
    Malformed,
    _data_value_end,
    int32,
    int64,
    node_id,
    octets,
    uint32,
)

HISTORY_RESPONSE: Final = "i=667"  # NodeIds.csv: *_Encoding_DefaultBinary
HISTORY_DATA: Final = "i=658"
_SMALLEST_RESULT, _SMALLEST_VALUE = 11, 1  # bytes
_MOST_TICKS: Final = EPOCH_TICKS + (2**62) // 100


class Past(NamedTuple):
    """A value of the past. at: ns since 1970, 0 if it has no time. cell: the DataValue as it came."""

    at: int
    cell: bytes


class PastOfNode(NamedTuple):
    """What one node's history said. point: where to go on, empty when that was all."""

    status: int
    point: bytes
    values: list[Past]


def decode_history(body: bytes, nodes: int) -> int | list[PastOfNode]:
    """One result for each node that was asked for, or the status of a service that was refused. Raises Malformed."""
    try:
        type_id, at = node_id(body, 0)
        result, at = _response_header(body, at)
        if type_id == SERVICE_FAULT or result >> 31:
            return result
        count, at = int32(body, at)
        if type_id != HISTORY_RESPONSE or count != nodes:
            raise Malformed(f"{count} results in an answer of type {type_id} to a HistoryRead of {nodes}")
        found = []
        for _ in range(count):
            one, at = _node(body, at)
            found.append(one)
    except (struct.error, IndexError) as error:
        raise Malformed(f"the answer is cut short ({error})") from None
    return found


def _node(body: bytes, at: int) -> tuple[PastOfNode, int]:
    status, at = uint32(body, at)
    point, at = octets(body, at)
    type_id, at = node_id(body, at)
    encoding, at = body[at], at + 1
    if not encoding:
        return PastOfNode(status, bytes(point or b""), []), at
    data, at = octets(body, at)
    if encoding != 1 or type_id != HISTORY_DATA:
        raise Malformed(f"history of type {type_id}, which is not what was asked for")
    return PastOfNode(status, bytes(point or b""), _values(bytes(data or b""))), at


def _values(data: bytes) -> list[Past]:
    count, at = int32(data, 0)
    if count * _SMALLEST_VALUE > len(data) - at:
        raise Malformed(f"a history of {count} values in {len(data)} bytes")
    made = []
    for _ in range(count):
        end = _data_value_end(data, at, 0)
        if end > len(data):
            raise Malformed("a value of the history is cut short")
        made.append(Past(_time(data, at, end), data[at:end]))
        at = end
    return made


def _time(data: bytes, at: int, end: int) -> int:
    """Of the source, else of the server: they stand at the end, in this order, each with its picoseconds."""
    mask = data[at]
    server = end - (2 if mask & 32 else 0) - 8
    source = (server if mask & 8 else server + 8) - (2 if mask & 16 else 0) - 8
    for bit, place, fine in ((4, source, 16), (8, server, 32)):
        if mask & bit:
            ticks, behind = int64(data, place)
            picoseconds = int.from_bytes(data[behind : behind + 2], "little") if mask & fine else 0
            if 0 < ticks < _MOST_TICKS:
                return (ticks - EPOCH_TICKS) * 100 + (picoseconds // 100 if picoseconds <= 9999 else 0)
    return 0


def as_notification(cells: Sequence[tuple[int, bytes]]) -> Message:
    """(client handle, DataValue) as a server would have sent them; it has no number."""
    rows = b"".join(struct.pack("<I", handle) + cell for handle, cell in cells)
    body = struct.pack("<i", len(cells)) + rows + struct.pack("<i", -1)
    return Message(0, 0, (Part(DATA_CHANGE, 0, len(body)),), body)
