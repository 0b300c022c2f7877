"""EventNotificationList from bytes to fields (OPC 10000-4, 7.25.3): bounded by what was asked for, whatever a sender declares."""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple

from adapters.opcua.values import EPOCH_TICKS, Malformed, int32, int64, uint32, variant
from pipelines.batch import Kind

EVENTS: Final = "i=916"  # NodeIds.csv: EventNotificationList_Encoding_DefaultBinary
_SMALLEST: Final = 8  # bytes of an event: its handle, and the length of an array
_TIME, _STATUS = 13, 19
_MOST_TICKS: Final = EPOCH_TICKS + (2**62) // 100


class Field(NamedTuple):
    """kind: of the value, None for a null and whatever is no single number, text or flag. type: its built-in type."""

    type: int
    kind: Kind | None
    value: Any

    @property
    def ns(self) -> int:
        """A DateTime as ns since 1970, 0 if there is none."""
        fits = self.type == _TIME and 0 < self.value < _MOST_TICKS
        return (self.value - EPOCH_TICKS) * 100 if fits else 0


class Event(NamedTuple):
    """handle: of the monitored item. fields: as many as it carried, in the order of the select clauses."""

    handle: int
    fields: list[Field]


def decode_events(buffer: bytes, start: int, end: int, most: int) -> list[Event]:
    """The events of one notification; none may have more than `most` fields. Raises Malformed."""
    try:
        count, at = int32(buffer, start)
        if count * _SMALLEST > end - at:
            raise Malformed(f"a notification of {count} events in {end - at} bytes")
        events = []
        for _ in range(count):
            event, at = _event(buffer, at, most)
            if at > end:
                raise Malformed("the events reach beyond the end of their notification")
            events.append(event)
    except (struct.error, IndexError) as error:
        raise Malformed(f"the events are cut short ({error})") from None
    return events


def _event(buffer: bytes, at: int, most: int) -> tuple[Event, int]:
    handle, at = uint32(buffer, at)
    count, at = int32(buffer, at)
    if count > most:
        raise Malformed(f"an event of {count} fields, where {most} were asked for")
    fields = []
    for _ in range(count):
        field, at = _field(buffer, at)
        fields.append(field)
    return Event(handle, fields), at


def _field(buffer: bytes, at: int) -> tuple[Field, int]:
    """A status code in place of a value says that there is none (OPC 10000-9, 5.5.2)."""
    type_id = buffer[at]
    if type_id == _TIME:
        ticks, at = int64(buffer, at + 1)
        return Field(type_id, Kind.TEXT, ticks), at
    kind, value, at = variant(buffer, at)
    return Field(type_id, None if type_id == _STATUS else kind, value), at
