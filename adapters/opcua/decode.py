"""PublishResponses from bytes to columns, in the field order of OPC 10000-6 section 5.2.2.17.

The library's decoder is not used here: it reads SourcePicoseconds behind ServerTimestamp (README, upstream faults), cuts
time stamps to microseconds, and makes a dozen objects per value. Here one precompiled struct takes a whole monitored
item at once, chosen by the two bytes that say which fields there are and which type the value has; rows gather by that
choice and become numpy columns together (`columns.py`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple

from adapters.opcua.blocks import FIELDS, VALUE, Block, runs
from adapters.opcua.values import (
    KINDS,
    SCALARS,
    Malformed,
    Unsupported,
    diagnostic_info,
    extension_object,
    int32,
    int64,
    node_id,
    octets,
    uint32,
    variant,
)
from pipelines.batch import Kind

SERVICE_FAULT: Final = "i=397"  # encoding ids of OPC 10000-6 (NodeIds.csv), *_Encoding_DefaultBinary
PUBLISH_RESPONSE: Final = "i=829"
REPUBLISH_RESPONSE: Final = "i=835"
READ_RESPONSE: Final = "i=634"
DATA_CHANGE: Final = "i=811"
STATUS_CHANGE: Final = "i=820"

_SMALLEST_ITEM: Final = 5


class Part(NamedTuple):
    """One NotificationData: its type, and where its body lies in the message."""

    type_id: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Message:
    """A NotificationMessage (OPC 10000-4, 7.26), its values still undecoded. A keep-alive has no parts."""

    sequence: int
    publish_time: int  # ticks of 100 ns since 1601
    parts: tuple[Part, ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Published:
    """What came back for a request; `message` is None when `result` is bad. `available`: what could be republished."""

    result: int
    subscription: int = 0
    available: tuple[int, ...] = ()
    message: Message | None = None


class Layout(NamedTuple):
    """How a monitored item is laid out: `columns` are the places of status, times and the like in an unpacked row."""

    kind: Kind | None
    columns: dict[int, int]


class Group(NamedTuple):
    """Rows of one layout, and how many items of all layouts came before each."""

    layout: Layout
    rows: list[tuple[Any, ...]]
    order: list[int]


Entry = tuple[
    Callable[[bytes, int], tuple[Any, ...]] | None, int, Callable[[Any], None], Callable[[int], None]
]
PATIENT: Final = dict(zip((VALUE, *(bit for bit, _ in FIELDS)), range(1, 7), strict=True))


@dataclass(slots=True)
class Rows:
    """What the decoder has found so far, from as many notifications as one likes.

    count: items seen. arrivals: (count before, receive time) per notification. strange: (handle, reason, raw).
    """

    count: int = 0
    groups: dict[int, Group] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    arrivals: list[tuple[int, int]] = field(default_factory=list)
    strange: list[tuple[int, str, bytes]] = field(default_factory=list)
    entries: dict[int, Entry] = field(default_factory=dict)

    def entry(self, key: int) -> Entry:
        """How to unpack items whose mask and type bytes are `key`, remembered."""
        unpack, size, layout = layout_of(key)
        group = self.groups.setdefault(key, Group(layout, [], []))
        made = (unpack, size, group.rows.append, group.order.append)
        self.entries[key] = made
        return made

    def patient(self, kind: Kind | None) -> Group:
        """The group of rows that were decoded one field at a time."""
        return self.groups.setdefault(-1 - (kind or 0), Group(Layout(kind, PATIENT), [], []))


@lru_cache(maxsize=4096)
def layout_of(key: int) -> tuple[Callable[[bytes, int], tuple[Any, ...]] | None, int, Layout]:
    """(unpack, size, layout) for a mask (low byte) and type (high byte); unpack is None where patience is needed."""
    mask, kind = key & 0xFF, key >> 8
    if mask & 0xC0 or (mask & VALUE and kind and kind not in SCALARS):
        return None, 0, Layout(None, PATIENT)
    has_value = bool(mask & VALUE) and kind != 0
    form = ("<Ixx" if mask & VALUE else "<Ix") + (SCALARS[kind] if has_value else "")
    columns = {VALUE: 1} if has_value else {}
    for bit, letter in FIELDS:
        if mask & bit:
            columns[bit] = 1 + len(columns)
            form += letter
    compiled = struct.Struct(form)
    return compiled.unpack_from, compiled.size, Layout(KINDS[kind] if has_value else None, columns)


def decode_items(buffer: bytes, start: int, end: int, rows: Rows, received: int) -> None:
    """Every monitored item of a DataChangeNotification (OPC 10000-4, 7.25.2) into `rows`.

    Raises Malformed when the bytes break the rules; what was decoded up to there stays in `rows`.
    """
    rows.arrivals.append((rows.count, received))
    try:
        _decode_items(buffer, start, end, rows)
    except (struct.error, IndexError) as error:
        raise Malformed(f"the notification is cut short ({error})") from None


def _decode_items(buffer: bytes, start: int, end: int, rows: Rows) -> None:
    count, at = int32(buffer, start)
    if count * _SMALLEST_ITEM > end - at:
        raise Malformed(f"a notification of {count} values in {end - at} bytes")
    blocks, at = runs(buffer, at, end, count, rows.count)
    rows.blocks += blocks
    alike = sum(len(block.records) for block in blocks)
    entries, order = rows.entries, rows.count + alike
    try:
        for _ in range(count - alike):
            key = buffer[at + 4] | buffer[at + 5] << 8
            entry = entries.get(key)
            if entry is None:
                entry = rows.entry(key)
            unpack, size, add_row, add_order = entry
            if unpack is None:
                at = _decode_patiently(buffer, at, rows, order)
            else:
                add_row(unpack(buffer, at))
                add_order(order)
                at += size
            order += 1
    finally:
        rows.count = order
    if at > end:
        raise Malformed("the values reach beyond the end of their notification")


class Found(NamedTuple):
    """One result of a Read: kind is None for no value, for `Unsupported`, and for types that have no kind."""

    kind: Kind | None
    value: Any
    quality: int


def decode_read(body: bytes) -> list[Found]:
    """The results of a ReadResponse (OPC 10000-4, 5.11.2). Raises Malformed."""
    try:
        type_id, at = node_id(body, 0)
        _, at = _response_header(body, at)
        if type_id != READ_RESPONSE:
            raise Malformed(f"an answer of type {type_id} to a Read request")
        count, at, results = _length(body, at), at + 4, []
        for _ in range(count):
            kind, row, at = _data_value(body, at)
            results.append(Found(kind, row[0], row[1]))
    except (struct.error, IndexError) as error:
        raise Malformed(f"the answer is cut short ({error})") from None
    return results


def _data_value(buffer: bytes, at: int) -> tuple[Kind | None, list[Any], int]:
    """(kind, [value, status, source ticks, its picoseconds, server ticks, its picoseconds], end) of a DataValue."""
    mask, at = buffer[at], at + 1
    kind: Kind | None = None
    row: list[Any] = [None, 0, 0, 0, 0, 0]
    if mask & 0xC0:
        raise Malformed(f"unknown fields in a value (encoding mask 0x{mask:02x})")
    if mask & VALUE:
        kind, row[0], at = variant(buffer, at)
    tail, places = _tail(mask)
    for place, cell in zip(places, tail.unpack_from(buffer, at), strict=True):
        row[place] = cell
    return kind, row, at + tail.size


@lru_cache(maxsize=64)
def _tail(mask: int) -> tuple[struct.Struct, tuple[int, ...]]:
    """What follows the value, and where in a row it belongs."""
    fields = [(place, letter) for place, (bit, letter) in enumerate(FIELDS, 1) if mask & bit]
    return struct.Struct("<" + "".join(letter for _, letter in fields)), tuple(place for place, _ in fields)


def _decode_patiently(buffer: bytes, start: int, rows: Rows, order: int) -> int:
    handle, at = uint32(buffer, start)
    kind, row, at = _data_value(buffer, at)
    if isinstance(row[0], Unsupported):
        rows.strange.append((handle, row[0].reason, bytes(buffer[start : min(at, start + 65536)])))
        return at
    group = rows.patient(kind)
    group.rows.append((handle, *row))
    group.order.append(order)
    return at


def decode_response(body: bytes) -> Published:
    """A PublishResponse or a ServiceFault (OPC 10000-4, 5.14.5). Raises Malformed."""
    try:
        type_id, at = node_id(body, 0)
        result, at = _response_header(body, at)
        if type_id == SERVICE_FAULT or result >> 31:
            return Published(result)
        if type_id == REPUBLISH_RESPONSE:
            return Published(result, message=_message(body, at)[0])
        if type_id != PUBLISH_RESPONSE:
            raise Malformed(f"an answer of type {type_id} to a Publish request")
        return _published(body, at, result)
    except (struct.error, IndexError) as error:
        raise Malformed(f"the answer is cut short ({error})") from None


def _response_header(body: bytes, at: int) -> tuple[int, int]:
    result, at = uint32(body, at + 12)  # behind Timestamp and RequestHandle (OPC 10000-4, 7.34)
    _, at = diagnostic_info(body, at)
    strings, at = _length(body, at), at + 4
    for _ in range(strings):
        _, at = octets(body, at)
    _, at = extension_object(body, at)
    return result, at


def _published(body: bytes, at: int, result: int) -> Published:
    subscription, at = uint32(body, at)
    known = _length(body, at)
    available = struct.unpack_from(f"<{known}I", body, at + 4)
    message, _ = _message(body, at + 4 + 4 * known + 1)  # 1: MoreNotifications
    return Published(result, subscription, available, message)


def _message(body: bytes, at: int) -> tuple[Message, int]:
    sequence, at = uint32(body, at)
    publish_time, at = int64(body, at)
    parts, count = [], _length(body, at)
    at += 4
    for _ in range(count):
        part, at = _part(body, at)
        parts.append(part)
    return Message(sequence, publish_time, tuple(parts), body), at


def _part(body: bytes, at: int) -> tuple[Part, int]:
    type_id, at = node_id(body, at)
    encoding, at = body[at], at + 1
    if encoding != 1:
        raise Malformed(f"a notification of type {type_id} without a binary body")
    length, at = int32(body, at)
    if not 0 <= length <= len(body) - at:
        raise Malformed(f"a notification of {length} bytes in a message that has {len(body) - at} left")
    return Part(type_id, at, at + length), at + length


def _length(body: bytes, at: int) -> int:
    """The length of an array, which no honest message has larger than its own bytes."""
    length, at = int32(body, at)
    if length > len(body) - at:
        raise Malformed(f"an array of {length} elements in a message that has {len(body) - at} bytes left")
    return max(length, 0)
