"""PublishRequests and the beginnings of their answers as bytes: the only two messages that are counted by the thousand.

Fields in the order of OPC 10000-4, 5.14.5 and 10000-6, 5.2: no object per message, none per value.
"""

import struct
import time
from typing import NamedTuple

from simulators.load.sheet import ua_time

PUBLISH_REQUEST, PUBLISH_RESPONSE, REPUBLISH_RESPONSE = 826, 829, 835
PUBLISH = bytes((1, 0, PUBLISH_REQUEST & 0xFF, PUBLISH_REQUEST >> 8))
"""How the body of a PublishRequest begins."""

_TWO_BYTES, _FOUR_BYTES, _NUMERIC, _GUID = 0, 1, 2, 4
_NODE_ID_SIZES = {_TWO_BYTES: 2, _FOUR_BYTES: 4, _NUMERIC: 7, _GUID: 19}


class Asked(NamedTuple):
    """What stands in a PublishRequest. token: the session's, encoded. acknowledged: (subscription, sequence number)."""

    token: bytes
    handle: int
    acknowledged: tuple[tuple[int, int], ...]


def node_id_end(body: bytes, at: int) -> int:
    """Where the NodeId at `at` ends (OPC 10000-6, 5.2.2.9)."""
    form = body[at] & 0x3F
    if form in _NODE_ID_SIZES:
        return at + _NODE_ID_SIZES[form]
    length = int.from_bytes(body[at + 3 : at + 7], "little", signed=True)
    return at + 7 + max(length, 0)


def token_of(body: bytes) -> bytes:
    """The AuthenticationToken of a request, as it is encoded: behind the type id, in front in the RequestHeader."""
    begin = node_id_end(body, 0)
    return body[begin : node_id_end(body, begin)]


def read_publish(body: bytes) -> Asked:
    """A PublishRequest: type id, RequestHeader, then the acknowledgements."""
    token = token_of(body)
    at = len(PUBLISH) + len(token) + 8
    (handle,) = struct.unpack_from("<I", body, at)
    (audit,) = struct.unpack_from("<i", body, at + 8)
    at += 12 + max(audit, 0) + 4
    at = node_id_end(body, at) + 1  # AdditionalHeader, always empty
    (count,) = struct.unpack_from("<i", body, at)
    numbers = struct.unpack_from(f"<{2 * max(count, 0)}I", body, at + 4)
    return Asked(token, handle, tuple(zip(numbers[::2], numbers[1::2], strict=True)))


def response_head(kind: int, handle: int) -> bytes:
    """Type id and ResponseHeader, good."""
    return struct.pack("<BBHqIIBi3x", 1, 0, kind, ua_time(time.time_ns()), handle, 0, 0, -1)
