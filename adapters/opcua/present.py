"""The present values of all items, read: for a loss that nothing can repair, at a server that cannot send its data again.

What comes back is made into a notification as the server would have sent it, so that there is one way from bytes to rows. It
has no sequence number and is not acknowledged. It may overtake values that still wait in the server's queues; those come
later under their own times.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds

from adapters.opcua.channel import Channel
from adapters.opcua.decode import DATA_CHANGE, READ_RESPONSE, Message, Part, _response_header
from adapters.opcua.items import Item
from adapters.opcua.subscription import Desk
from adapters.opcua.values import Malformed, _data_value_end, int32, node_id


async def present_values(channel: Channel, desk: Desk, items: Sequence[Item]) -> list[Message]:
    """One message per call that the server takes. Raises what a call raises, and Malformed."""
    messages = []
    for at in range(0, len(items), desk.limits.read):
        batch = [item for item in items[at : at + desk.limits.read] if desk.node_id(item.address) is not None]
        if batch:
            answer = await channel.call_raw(read_values(desk, batch))
            messages.append(as_notification(answer, [item.handle for item in batch]))
    return messages


def read_values(desk: Desk, items: Sequence[Item]) -> ua.ReadRequest:
    """The request for the values of these items, both times with them."""
    request = ua.ReadRequest()
    request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
    nodes: list[Any] = [desk.node_id(item.address) for item in items]
    request.Parameters.NodesToRead = [
        ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.Value) for node in nodes
    ]
    return request


def as_notification(answer: bytes, handles: Sequence[int]) -> Message:
    """A ReadResponse as the DataChangeNotification of these items. Raises Malformed."""
    return notification(handles, cells_of(answer, len(handles)))


def notification(handles: Sequence[int], cells: Sequence[bytes]) -> Message:
    """These encoded DataValues as the DataChangeNotification of these items."""
    rows = b"".join(struct.pack("<I", handle) + cell for handle, cell in zip(handles, cells, strict=True))
    body = struct.pack("<i", len(handles)) + rows + struct.pack("<i", -1)
    return Message(0, 0, (Part(DATA_CHANGE, 0, len(body)),), body)


def cells_of(answer: bytes, wanted: int) -> list[bytes]:
    """The encoded DataValues of a ReadResponse. Raises Malformed."""
    try:
        return _cells(answer, wanted)
    except (struct.error, IndexError) as error:
        raise Malformed(f"the answer is cut short ({error})") from None


def _cells(answer: bytes, wanted: int) -> list[bytes]:
    type_id, at = node_id(answer, 0)
    _, at = _response_header(answer, at)
    count, at = int32(answer, at)
    if type_id != READ_RESPONSE or count != wanted:
        raise Malformed(f"{count} values in an answer of type {type_id} to a Read of {wanted}")
    cells = []
    for _ in range(count):
        end = _data_value_end(answer, at, 0)
        if end > len(answer):
            raise Malformed("the answer is cut short")
        cells.append(answer[at:end])
        at = end
    return cells
