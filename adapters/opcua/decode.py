"""PublishResponses from bytes to columns, in the field order of OPC 10000-6 section 5.2.2.17.

The library's decoder is not used here: it reads SourcePicoseconds behind ServerTimestamp (README, upstream faults), cuts
time stamps to microseconds, and makes a dozen objects per value. Here a scan of alike items is taken as one table
(`blocks.py`); of other items only the places are found (`layouts.py`), and the fields of everything that came since the last
hand-over are fetched together (`gather.py`). What has no fixed size is decoded with patience (`values.py`).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

from adapters.opcua.blocks import Block, runs
from adapters.opcua.gather import Loose, Piece
from adapters.opcua.grids import Bodies, Body, Grid, Octets, Unsupported
from adapters.opcua.layouts import WORTHWHILE, Layouts, Places, Where
from adapters.opcua.patient import Patient, Taken, data_value
from adapters.opcua.values import (
    Malformed,
    diagnostic_info,
    extension_object,
    int32,
    int64,
    node_id,
    octets,
    uint32,
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


class Group(NamedTuple):
    """Items of one kind that were decoded one field at a time.

    rows: (handle, value, status, source ticks, its picoseconds, server ticks, its picoseconds), 0 for what is not there.
    order: how many items of all kinds came before each.
    """

    rows: list[tuple[Any, ...]]
    order: list[int]


class Special(NamedTuple):
    """An item whose value becomes what its signal chooses: `row` and `order` as in Group. raw: its bytes."""

    handle: int
    row: list[Any]
    order: int
    raw: bytes = b""


@dataclass(slots=True)
class Rows:
    """What the decoder has found so far, from as many notifications as one likes.

    layouts: what is known from earlier ones. count: items seen. blocks, pieces, loose, groups: the items, by how they were found;
    a group's key is its kind. arrivals: (count before, receive time) per notification. strange: (handle, reason, raw). special:
    what only the configuration can decide.
    """

    layouts: Layouts = field(default_factory=Layouts)
    count: int = 0
    blocks: list[Block] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    loose: Loose = field(default_factory=Loose)
    groups: dict[Kind | None, Group] = field(default_factory=dict)
    arrivals: list[tuple[int, int]] = field(default_factory=list)
    strange: list[tuple[int, str, bytes]] = field(default_factory=list)
    special: list[Special] = field(default_factory=list)
    owners: int = 0  # items whose elements these are

    def keep(self, handle: int, kind: Kind | None, row: list[Any], order: int) -> None:
        group = self.groups.setdefault(kind, Group([], []))
        group.rows.append((handle, *row))
        group.order.append(order)


def decode_items(buffer: bytes, start: int, end: int, rows: Rows, received: int) -> None:
    """Every monitored item of a DataChangeNotification (OPC 10000-4, 7.25.2) into `rows`.

    Raises Malformed when the bytes break the rules; what was decoded up to there stays in `rows`.
    """
    rows.arrivals.append((rows.count, received))
    try:
        count, at = int32(buffer, start)
        if count * _SMALLEST_ITEM > end - at:
            raise Malformed(f"a notification of {count} values in {end - at} bytes")
        blocks, at = runs(buffer, at, end, count, rows.count)
    except (struct.error, IndexError) as error:
        raise Malformed(f"the notification is cut short ({error})") from None
    alike = sum(len(block.records) for block in blocks)
    rows.blocks += blocks
    rows.count += alike
    if count > alike:
        _decode_others(Where(buffer, at, end), count - alike, rows)
    elif at > end:
        raise Malformed("the values reach beyond the end of their notification")


def _decode_others(where: Where, count: int, rows: Rows) -> None:
    """Items of any layout: their places are found, what has to be decoded with patience is; the rest can wait."""
    patient = Patient(where.buffer)
    if count < WORTHWHILE:
        return _loose(where, count, rows, patient)
    places, broken = rows.layouts.recall(where, count, patient), ""
    if places is None:
        found: list[int] = []
        walked = rows.layouts.walk(where, count, patient, found)
        places, broken = Places(np.array(found, np.int64), walked.end), walked.broken
        if not broken:
            rows.layouts.remember(where.buffer, places, walked.elastic)
    skip = _put(patient.taken, len(places.starts), rows)
    order = np.delete(np.arange(len(places.starts)), skip)
    if len(order):
        rows.pieces.append(Piece(where.buffer, places.starts[order], order + rows.count))
    return _counted(len(places.starts), broken, rows)


def _loose(where: Where, count: int, rows: Rows, patient: Patient) -> None:
    loose, before = rows.loose, len(rows.loose.starts)
    walked = rows.layouts.walk(where, count, patient, loose.starts)
    whole = len(loose.starts) - before
    loose.buffers.append(where.buffer)
    loose.counts.append(whole)
    loose.firsts.append(rows.count)
    if patient.taken:
        loose.skip += [before + item for item in _put(patient.taken, whole, rows)]
    _counted(whole, walked.broken, rows)


def _counted(whole: int, broken: str, rows: Rows) -> None:
    rows.count += whole
    if broken:
        raise Malformed(broken)


def _put(taken: Sequence[Taken], whole: int, rows: Rows) -> list[int]:
    """Keep what was decoded with patience; which of the `whole` items that were."""
    kept = [one for one in taken if one.item < whole]
    for one in kept:
        if isinstance(one.row[0], Grid | Octets | Body | Bodies):
            rows.special.append(Special(one.handle, one.row, rows.count + one.item, one.raw))
        elif isinstance(one.row[0], Unsupported):
            rows.strange.append((one.handle, one.row[0].reason, one.raw))
        else:
            rows.keep(one.handle, one.kind, one.row, rows.count + one.item)
    return [one.item for one in kept]


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
            kind, row, at = data_value(body, at)
            results.append(Found(kind, row[0], row[1]))
    except (struct.error, IndexError) as error:
        raise Malformed(f"the answer is cut short ({error})") from None
    return results


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
