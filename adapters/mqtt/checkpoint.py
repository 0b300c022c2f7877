"""What the source must know after a restart: that the broker keeps a session for us, and the receipt times of late messages.

A value without a time of its own gets the time of receipt. When its acknowledgement is lost with the connection, the
broker sends it again (dup), and a second receipt time would make a second value of it. So the times of the last messages
of that kind are kept, durable together with their values: packet id and checksum find them again, and the identity rule
then drops the repetition. The ring holds as many as can be in flight.
"""

from __future__ import annotations

import struct
import zlib
from collections import OrderedDict
from dataclasses import dataclass, field

import msgspec

from adapters.mqtt.channel import Message

_ENTRY = struct.Struct("<HIq")


class _Stored(msgspec.Struct, array_like=True):
    version: int
    client_id: str
    filters: list[str]
    last: int
    ring: bytes
    dropped: int = -1
    sparkplug: bytes = b""


@dataclass(slots=True)
class Checkpoint:
    """filters: what is subscribed. last: ns, when the connection was last known to live. fresh: nothing was stored yet.

    dropped: the broker's count of dropped messages as last read, -1 if never. sparkplug: see sparkplug/keep.py.
    """

    client_id: str
    filters: list[str] = field(default_factory=list)
    last: int = 0
    fresh: bool = True
    size: int = 1000
    ring: OrderedDict[tuple[int, int], int] = field(default_factory=OrderedDict)
    remembered: int = 0
    dropped: int = -1
    sparkplug: bytes = b""

    def __post_init__(self) -> None:
        self.remembered = len(self.ring)

    def stamp(self, message: Message) -> int:
        """The time that stands for the receipt of a message: of its first receipt, if it is known to be a repetition."""
        if not message.dup:
            return message.at
        return self.ring.get((message.mid, _checksum(message)), message.at)

    def remember(self, message: Message, stamp: int) -> None:
        if message.qos:
            key = (message.mid, _checksum(message))
            self.remembered += 1
            self.ring[key] = stamp
            self.ring.move_to_end(key)
            while len(self.ring) > self.size:
                self.ring.popitem(last=False)

    def forget(self, mark: int) -> None:
        """What was remembered before `remembered` stood at `mark` is not needed any more: the broker has its acknowledgement."""
        while self.ring and self.remembered - len(self.ring) < mark:
            self.ring.popitem(last=False)

    def dump(self) -> bytes:
        ring = b"".join(_ENTRY.pack(mid, check, stamp) for (mid, check), stamp in self.ring.items())
        return msgspec.msgpack.encode(
            _Stored(1, self.client_id, self.filters, self.last, ring, self.dropped, self.sparkplug)
        )


def _checksum(message: Message) -> int:
    return zlib.crc32(message.payload, zlib.crc32(message.topic))


def load(blob: bytes | None, client_id: str, size: int) -> Checkpoint:
    """The stored checkpoint; a blob of another version or shape counts as none: at worst one value is stored twice."""
    if blob is None:
        return Checkpoint(client_id, size=size)
    try:
        stored = msgspec.msgpack.decode(blob, type=_Stored)
    except msgspec.MsgspecError:
        return Checkpoint(client_id, size=size, fresh=False)
    ring = OrderedDict(((mid, check), stamp) for mid, check, stamp in _ENTRY.iter_unpack(stored.ring))
    known = Checkpoint(client_id, stored.filters, stored.last, fresh=False, size=size, ring=ring)
    known.dropped, known.sparkplug = stored.dropped, stored.sparkplug
    return known
